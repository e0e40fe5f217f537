# Rows of a CSR matrix picked and put in a new order, without an index array as large as the data.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

ctypedef fused Index:
    int32_t
    uint64_t


def gather(const int64_t[::1] rows, const int64_t[::1] indptr, const Index[::1] indices, const float[::1] values,
           const int64_t[::1] new_indptr, Index[::1] new_indices, float[::1] new_values):
    """Copy the non-zeros of the given rows to the places of new_indptr; values and new_values may be None."""
    cdef int64_t n = rows.shape[0], i, size, origin, target
    cdef bint valued = values is not None
    if new_indptr[n] == 0:
        return
    with nogil:
        for i in range(n):
            origin, target = indptr[rows[i]], new_indptr[i]
            size = new_indptr[i + 1] - target
            if size:
                memcpy(&new_indices[target], &indices[origin], size * sizeof(Index))
                if valued:
                    memcpy(&new_values[target], &values[origin], size * sizeof(float))

# Rows of a CSR matrix picked and put in a new order, without an index array as large as the data.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

import numpy as np

ctypedef fused Index:
    int32_t
    uint64_t


cdef inline uint64_t mixed(uint64_t z) noexcept nogil:
    """Return bits that all depend on all bits of z (the finalizer of SplitMix64: Steele, Lea, Flood 2014)."""
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


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


def add_counts(const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] weights, double[::1] counts):
    """Add the weight of each row, 1 where weights is None, to the counts of its features."""
    cdef int64_t row, j
    cdef double weight = 1
    with nogil:
        for row in range(indptr.shape[0] - 1):
            if weights is not None:
                weight = weights[row]
            for j in range(indptr[row], indptr[row + 1]):
                counts[indices[j]] += weight


def add_sums(const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] values, const float[::1] weights,
             double[:, ::1] sums):
    """Add the weight of each row, that times value, and that times value squared, to the three sums of its features.

    sums: (features, 5), of which the last two become the least and the largest value. Values of 0 count nowhere.
    """
    cdef int64_t row, j
    cdef double weight = 1, x
    with nogil:
        for row in range(indptr.shape[0] - 1):
            if weights is not None:
                weight = weights[row]
            for j in range(indptr[row], indptr[row + 1]):
                x = values[j]
                if x != 0:
                    sums[indices[j], 0] += weight
                    sums[indices[j], 1] += weight * x
                    sums[indices[j], 2] += weight * x * x
                    if x < sums[indices[j], 3]:
                        sums[indices[j], 3] = x
                    if x > sums[indices[j], 4]:
                        sums[indices[j], 4] = x


def hashes(const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] values, uint64_t seed):
    """Return a hash of each row's features, uint64 (rows,): rows of the same ones, in any order, have the same.

    values: None where all are 1. Values of 0 do not count.
    """
    out = np.empty(indptr.shape[0] - 1, np.uint64)
    cdef uint64_t[::1] result = out
    cdef int64_t row, j
    cdef uint64_t total, bits
    cdef uint32_t word
    cdef float x = 1
    with nogil:
        for row in range(result.shape[0]):
            total = 0
            for j in range(indptr[row], indptr[row + 1]):
                if values is not None:
                    x = values[j]
                if x != 0:
                    memcpy(&word, &x, sizeof(float))
                    bits = <uint64_t>word << 32 | <uint32_t>indices[j]
                    total += mixed(bits + <uint64_t>0x9E3779B97F4A7C15)
            result[row] = mixed(mixed(total) + seed)
    return out

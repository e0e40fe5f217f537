"""Rows as libsvm text, without the GIL."""
import numpy as np

from libc.stdint cimport int32_t, int64_t

from fmcore.io._format cimport LONGEST, format_float32

cdef enum:
    LONGEST_INDEX = 10


cdef inline char* put_index(char* at, int32_t value) noexcept nogil:
    cdef char[LONGEST_INDEX] reversed_digits
    cdef int count = 0
    while value > 9:
        reversed_digits[count] = c'0' + value % 10
        value //= 10
        count += 1
    at[0] = c'0' + value
    while count > 0:
        count -= 1
        at += 1
        at[0] = reversed_digits[count]
    return at + 1


cdef inline char* put_number(char* at, float x) noexcept nogil:
    if x == 1:  # most values, and most labels
        at[0] = c'1'
        return at + 1
    return at + format_float32(x, at)


def write(const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] values,
          const float[::1] labels, const float[::1] weights):
    """Return rows as lines label[:weight] index:value ... (bytes), each number the shortest that keeps its float32.

    indptr: int64 (rows + 1,). indices: int32 (non-zeros,), 0 or more. values: float32 (non-zeros,) or None.
    labels: float32 (rows,). weights: float32 (rows,) or None. The caller has seen to it that all numbers are finite.
    """
    cdef bint ones = values is None, weighted = weights is not None
    cdef Py_ssize_t rows = labels.shape[0], row, item
    most = rows * (2 * LONGEST + 2) + indices.shape[0] * (LONGEST_INDEX + (1 if ones else LONGEST) + 2)
    cdef char[::1] out = np.empty(most + 1, np.int8)
    cdef char* at = &out[0]
    with nogil:
        for row in range(rows):
            at = put_number(at, labels[row])
            if weighted:
                at[0] = c':'
                at = put_number(at + 1, weights[row])
            for item in range(indptr[row], indptr[row + 1]):
                at[0] = c' '
                at = put_index(at + 1, indices[item])
                at[0] = c':'
                at = put_number(at + 1, 1 if ones else values[item])
            at[0] = c'\n'
            at += 1
    return out.base[:at - &out[0]].tobytes()

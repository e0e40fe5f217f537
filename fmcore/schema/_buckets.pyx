"""The bucket of each number of a column, found by a binary search without branches."""
import numpy as np


cdef inline Py_ssize_t at_most(const float* edges, Py_ssize_t size, float number) noexcept nogil:
    """Return how many ascending edges are at most a number; size: how many there are, one or more."""
    cdef Py_ssize_t first = 0, half
    while size > 1:
        half = size >> 1
        first += half * (edges[first + half - 1] <= number)
        size -= half
    return first + (edges[first] <= number)


def places(const float[::1] numbers, const float[::1] edges, int first, int missing):
    """Return for each number `first` and how many edges are at most it, int32 (rows,).

    numbers: float32 (rows,); edges: float32, ascending; without any, each number has -1. missing: what NaN has instead.
    """
    cdef Py_ssize_t i, rows = numbers.shape[0], size = edges.shape[0]
    cdef int[::1] found = np.empty(rows, np.int32)
    with nogil:
        for i in range(rows):
            if numbers[i] != numbers[i]:
                found[i] = missing
            elif size:
                found[i] = first + <int>at_most(&edges[0], size, numbers[i])
            else:
                found[i] = -1
    return found.base

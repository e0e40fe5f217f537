# All that a table has of some features, brought out of it as rows without padding, or into it.
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

import numpy as np

cdef extern from *:
    """
    #define FETCH(address) __builtin_prefetch(address)
    """
    void FETCH(const void *address) noexcept nogil

cdef enum:
    AHEAD = 8   # features, whose memory is fetched before it is needed
    FEW = 1 << 15  # features that one thread has moved before a second one has begun
    LINE = 16   # floats
    TAKE = 0
    PUT = 1
    ADD = 2
    SUBTRACT = 3

HOWS = {"take": TAKE, "put": PUT, "add": ADD, "subtract": SUBTRACT}


cdef struct Place:         # a table, as fmcore.backends.cpu.Table has it
    float *linear
    float *factors
    int64_t columns        # of linear
    int64_t parts          # of factors: the weights, then each slot
    int64_t width          # of a part, padding included
    int64_t k


cdef inline void piece(int how, float *row, float *here, int64_t n) noexcept nogil:
    """Copy n floats of a row from or to the table, add them to it, or take them from what is there."""
    cdef int64_t j
    if how == TAKE:
        memcpy(row, here, n * sizeof(float))
    elif how == PUT:
        memcpy(here, row, n * sizeof(float))
    elif how == ADD:
        for j in range(n):
            here[j] += row[j]
    else:
        for j in range(n):
            row[j] = here[j] - row[j]


cdef inline void fetch(const Place *p, int64_t feature) noexcept nogil:
    cdef float *at = p.factors + feature * p.parts * p.width
    cdef const float *end = at + p.parts * p.width
    FETCH(p.linear + feature * p.columns)
    while at < end:
        FETCH(at)
        at += LINE


cdef inline void one(int how, const Place *p, int64_t feature, float *row) noexcept nogil:
    cdef int64_t part
    piece(how, row, p.linear + feature * p.columns, p.columns)
    for part in range(p.parts):
        piece(how, row + p.columns + part * p.k, p.factors + (feature * p.parts + part) * p.width, p.k)


def move(how, const int32_t[::1] features, const float[:, ::1] rows, float[:, ::1] linear, float[:, ::1] factors, *,
         int64_t width, int64_t k, int threads):
    """Do as HOWS[how] says with the row of each feature, of which each comes once at the most.

    rows: (features, columns of linear + parts k), written to by "take" (the table's) and "subtract" (the table's less
    what was there); "put" and "add" change the table.
    """
    cdef int what = HOWS[how]
    cdef int64_t n = features.shape[0], j, size
    cdef Place p
    if n == 0:
        return
    p.linear, p.factors = &linear[0, 0], &factors[0, 0]
    p.columns, p.parts, p.width, p.k = linear.shape[1], factors.shape[1] // width, width, k
    size = p.columns + p.parts * k
    cdef float *first = <float *>&rows[0, 0]
    if rows.shape[0] != n or rows.shape[1] != size or np.max(features) >= linear.shape[0] or np.min(features) < 0:
        raise ValueError(f"rows of {rows.shape[0]} x {rows.shape[1]} for {n} features of {size} numbers")
    for j in prange(n, nogil=True, num_threads=threads if n > FEW else 1, schedule="static"):
        if j + AHEAD < n:
            fetch(&p, features[j + AHEAD])
        one(what, &p, features[j], first + j * size)

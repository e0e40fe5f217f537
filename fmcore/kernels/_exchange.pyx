# Work between two rounds of several workers: copies of rows out of a table and into it, features found and numbered.
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

import numpy as np

cdef extern from *:
    """
    #define FETCH(address) __builtin_prefetch(address)
    #include <stdint.h>
    static inline void add_floats(float *__restrict__ to, const float *__restrict__ more, int64_t n) {
        for (int64_t j = 0; j < n; j++)
            to[j] += more[j];
    }
    static inline void differ(float *__restrict__ to, const float *__restrict__ now, const float *__restrict__ before,
                              int64_t n) {
        for (int64_t j = 0; j < n; j++)
            to[j] = now[j] - before[j];
    }
    """
    void FETCH(const void *address) noexcept nogil
    void add_floats(float *to, const float *more, int64_t n) noexcept nogil
    void differ(float *to, const float *now, const float *before, int64_t n) noexcept nogil

cdef enum:
    PREFETCH = 8    # features between a prefetch and its use
    FEW = 1 << 15   # features that one thread has copied before a second one has started
    LINE = 16       # floats of a cache line
    TAKE = 0
    PUT = 1
    ADD = 2
    LESS = 3

HOWS = {"take": TAKE, "put": PUT, "add": ADD, "less": LESS}


cdef struct Place:         # a table, laid out as in fmcore.kernels.cpu.Table
    float *linear
    float *factors
    int64_t columns        # of linear
    int64_t parts          # of factors: the weights, then each slot
    int64_t width          # of a part, padding included
    int64_t k


cdef inline void piece(int how, float *row, const float *before, float *here, int64_t n) noexcept nogil:
    """Copy n floats of a row from or to the table, add them to it, or return the table's minus those before."""
    if how == TAKE:
        memcpy(row, here, n * sizeof(float))
    elif how == PUT:
        memcpy(here, row, n * sizeof(float))
    elif how == ADD:
        add_floats(here, row, n)
    else:
        differ(row, here, before, n)


cdef inline void fetch(const Place *p, int64_t feature) noexcept nogil:
    cdef float *at = p.factors + feature * p.parts * p.width
    cdef const float *end = at + p.parts * p.width
    FETCH(p.linear + feature * p.columns)
    while at < end:
        FETCH(at)
        at += LINE


cdef inline void one(int how, const Place *p, int64_t feature, float *row, const float *before) noexcept nogil:
    cdef int64_t part, at = p.columns
    piece(how, row, before, p.linear + feature * p.columns, p.columns)
    for part in range(p.parts):
        piece(how, row + at, before + at, p.factors + (feature * p.parts + part) * p.width, p.k)
        at += p.k


def move(how, const int32_t[::1] features, const float[:, ::1] rows, float[:, ::1] linear, float[:, ::1] factors, *,
         int64_t width, int64_t k, int threads, const float[:, ::1] before=None):
    """Copy, add or subtract the row of each feature; how: one of HOWS. No feature may come twice.

    rows: (features, columns of linear + parts k), written by "take" (the table's) and "less" (the table's minus those
    of `before`); "put" and "add" change the table.
    """
    cdef int what = HOWS[how]
    cdef int64_t n = features.shape[0], j, size
    cdef Place p
    if n == 0:
        return
    p.linear, p.factors = &linear[0, 0], &factors[0, 0]
    p.columns, p.parts, p.width, p.k = linear.shape[1], factors.shape[1] // width, width, k
    size = p.columns + p.parts * k
    if p.width == k:  # without padding, all parts are contiguous
        p.width, p.k, p.parts = p.parts * k, p.parts * k, 1
    if rows.shape[0] != n or rows.shape[1] != size or np.max(features) >= linear.shape[0] or np.min(features) < 0:
        raise ValueError(f"rows of {rows.shape[0]} x {rows.shape[1]} for {n} features of {size} numbers")
    cdef float *first = <float *>&rows[0, 0]
    cdef const float *old = first if before is None else &before[0, 0]
    for j in prange(n, nogil=True, num_threads=threads if n > FEW else 1, schedule="static"):
        if j + PREFETCH < n:
            fetch(&p, features[j + PREFETCH])
        one(what, &p, features[j], first + j * size, old + j * size)


def mark(const int64_t[::1] indptr, const int32_t[::1] indices, const int64_t[::1] starts, const int64_t[::1] order,
         uint8_t[::1] seen, int threads):
    """Set `seen` to 1 for each feature in the mini-batches of `order`."""
    cdef int64_t j, i
    for j in prange(order.shape[0], nogil=True, num_threads=threads, schedule="static"):
        for i in range(indptr[starts[order[j]]], indptr[starts[order[j] + 1]]):
            seen[indices[i]] = 1


def renumber(const int64_t[::1] bounds, const int64_t[::1] order, const int32_t[::1] old, const int32_t[::1] places,
             int threads):
    """Return int32, as long as `old`: places[old[j]] for j from bounds[m] to bounds[m + 1], m of `order`.

    Other numbers of it are arbitrary.
    """
    new = np.empty(old.shape[0], np.int32)
    cdef int32_t[::1] at = new
    cdef int64_t j, i
    for j in prange(order.shape[0], nogil=True, num_threads=threads, schedule="static"):
        for i in range(bounds[order[j]], bounds[order[j] + 1]):
            at[i] = places[old[i]]
    return new

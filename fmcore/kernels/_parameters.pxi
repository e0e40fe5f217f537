# The kernels, one source for every build: score rows, prepare a block, train on it.
#
# Parameters lie in rows: k weights followed by k numbers for each slot of optimizer state. A feature's factors and
# their state are one such row, so that one touch of memory brings them all; k is num_factors rounded up to LANES while
# training (the padding stays 0). A model mapped from a file has rows of num_factors without state.
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport expf, fabsf, log1pf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

import numpy as np


cdef extern from "lanes.h" nogil:
    ctypedef struct lanes:
        pass
    lanes lanes_zero()
    lanes lanes_load(const float *origin)
    void lanes_store(float *target, lanes v)
    lanes lanes_add(lanes a, lanes b)
    lanes lanes_subtract(lanes a, lanes b)
    lanes lanes_multiply(lanes a, lanes b)
    lanes lanes_scale(lanes a, float x)
    float lanes_sum(lanes v)

cdef extern from "team.h" nogil:
    ctypedef struct team_share:
        pass
    ctypedef struct team_work:
        int members
    ctypedef struct team_member:
        int number
        int64_t phase
        int share
        int64_t done
    int has_openmp()
    void team_open(team_work *work, int64_t phases, int members, team_share *shares)
    void team_close(team_work *work)
    bint team_claim(team_work *work, team_member *me)

cdef extern from "rules.h" nogil:
    ctypedef struct rate:
        int rule
        float lr
        float wd
        float clip
        float eps
        float share
    ctypedef struct factor_row:
        float *factors
        float *gradients
    double lr_correction(int rule, int64_t t)
    void move_factors(const rate *by, const factor_row *row, int f, lanes gradient)
    void move_rest(const rate *by, const factor_row *row)
    void move_scattered(const rate *by, float **rows, const float *gradients, int count)

cdef extern from "factors.h" nogil:
    enum:
        LINE
        NEAR
    ctypedef struct parameters:
        float *bias
        float *linear
        float *factors
        int k
        int linear_step
        int factors_step
    ctypedef struct row_part:
        const int32_t *indices
        const float *values
        int64_t count
        const int32_t *stop
    ctypedef struct pair_list:
        const void *rows
        const float *values
        int wide
    float *linear_at(const parameters *p, int64_t feature)
    float *factors_at(const parameters *p, int64_t feature)
    factor_row factor_row_at(const parameters *p, int64_t feature, float *gradients)
    float score_part(const parameters *p, const row_part *row, float *sums)
    void fetch_state(const parameters *p, const int32_t *indices, int64_t count)
    void fetch_feature(const parameters *p, int64_t feature)
    void fetch_sums(const parameters *p, const float *sums, int64_t rows)
    void fetch_sums_to_write(const parameters *p, const float *sums)
    float step_shared(const rate *by, const factor_row *to, const float *gradients, const float *sums, int64_t first,
                      int64_t last, const pair_list *pairs)
    float step_lone(const rate *by, const factor_row *to, float gradient, const float *sums, float x)

cdef enum:
    LANES = 8   # as lanes.h
    STEP = 8    # pairs that take as long as the optimizer's step for one feature


cdef struct Rows:        # CSR
    const int64_t *indptr
    const int32_t *indices
    const float *values  # NULL: every value is 1


cdef parameters parameters_of(const float[::1] bias, const float[:, ::1] linear, const float[:, ::1] factors,
                              int k) noexcept:
    cdef parameters p
    p.bias, p.linear, p.factors = <float *>&bias[0], <float *>&linear[0, 0], <float *>&factors[0, 0]
    p.k, p.linear_step, p.factors_step = k, <int>linear.shape[1], <int>factors.shape[1]
    return p


cdef const float *pointer(const float[::1] array) noexcept:
    """NULL for None and for nothing."""
    if array is None or array.shape[0] == 0:
        return NULL
    return &array[0]


cdef Rows rows_of(const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] values) noexcept:
    cdef Rows rows
    rows.indptr = &indptr[0]
    rows.indices = &indices[0] if indices.shape[0] else NULL
    rows.values = pointer(values)
    return rows

# The kernels, one source for every build: score rows, group a mini-batch by feature, train on a block.
#
# Parameters lie in rows: `width` weights followed by `width` numbers for each slot of optimizer state. A feature's
# factors and their state are one such row, so that one touch of memory brings them all; width is num_factors rounded
# up to LANES while training (the padding stays 0), and num_factors itself for a model mapped from a file.
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport expf, fabsf, log1pf, sqrtf
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np


cdef extern from "lanes.h" nogil:
    ctypedef struct lanes:
        pass
    lanes lanes_zero()
    lanes lanes_load(const float *origin)
    lanes lanes_load_part(const float *origin, int count)
    void lanes_store(float *target, lanes v)
    lanes lanes_add(lanes a, lanes b)
    lanes lanes_subtract(lanes a, lanes b)
    lanes lanes_multiply(lanes a, lanes b)
    lanes lanes_scale(lanes a, float x)
    float lanes_sum(lanes v)

cdef extern from "team.h" nogil:
    ctypedef struct team_barrier:
        int arrived
        int round
    int team_size()
    int has_openmp()
    void team_wait(team_barrier *barrier, int team)

cdef extern from "rules.h" nogil:
    ctypedef struct rate:
        int rule
        float lr
        float wd
        float clip
        float eps
    void move_block(const rate *by, float *row, int apart, lanes gradient)
    void move_scattered(const rate *by, float **rows, const float *gradients, int count)

cdef extern from * nogil:
    void prefetch "__builtin_prefetch"(const void *address) noexcept

cdef enum:
    LANES = 8   # as lanes.h
    NEAR = 12   # features between a prefetch and its step
    AHEAD = 48  # non-zeros between a prefetch and its use: about one row of click data


# ---------------------------------------------------------------------------------------------------- parameters
cdef struct Parameters:
    float *bias          # one weight and its slots
    float *linear        # a row of width 1 for each feature
    float *factors       # a row of width k for each feature
    Py_ssize_t linear_stride
    Py_ssize_t factors_stride
    int k


cdef struct Rows:        # CSR
    const int64_t *indptr
    const int32_t *indices
    const float *values  # NULL: every value is 1


cdef Parameters parameters(const float[::1] bias, const float[:, ::1] linear, const float[:, ::1] factors,
                           int k) noexcept:
    cdef Parameters p
    p.bias, p.linear, p.factors = <float *>&bias[0], <float *>&linear[0, 0], <float *>&factors[0, 0]
    p.linear_stride, p.factors_stride, p.k = linear.shape[1], factors.shape[1], k
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


# ------------------------------------------------------------------------------------------------------- score
cdef inline void prefetch_floats(const float *first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t line
    for line in range(0, count, 16):  # 64 bytes, a cache line
        prefetch(first + line)


cdef inline lanes block_of(const float *factors, int count) noexcept nogil:
    return lanes_load(factors) if count == LANES else lanes_load_part(factors, count)


cdef inline float interactions(const Parameters *p, const Rows *rows, int64_t first, int64_t last, int start,
                               int count, float *sums) noexcept nogil:
    """1/2 sum_f [(sum_i v_if x_i)^2 - sum_i v_if^2 x_i^2] over factors start .. start + count (at most LANES);
    sums receives sum_i v_if x_i, which the gradient needs (Rendle 2010, Factorization Machines, lemma 3.1)."""
    cdef lanes total = lanes_zero(), squares = lanes_zero(), v
    cdef int64_t j
    for j in range(first, last):
        v = block_of(p.factors + rows.indices[j] * p.factors_stride + start, count)
        if rows.values != NULL:
            v = lanes_scale(v, rows.values[j])
        total = lanes_add(total, v)
        squares = lanes_add(squares, lanes_multiply(v, v))
    lanes_store(sums, total)
    return 0.5 * lanes_sum(lanes_subtract(lanes_multiply(total, total), squares))


cdef inline float score_row(const Parameters *p, const Rows *rows, int64_t row, int64_t end,
                            float *sums) noexcept nogil:
    """y(x) of one row; `end` bounds the non-zeros that may be prefetched."""
    cdef int64_t first = rows.indptr[row], last = rows.indptr[row + 1], j, ahead
    cdef float linear = 0, score = p.bias[0]
    cdef int part, start
    for j in range(first, last):
        ahead = rows.indices[min(j + AHEAD, end - 1)]
        prefetch(p.linear + ahead * p.linear_stride)
        prefetch_floats(p.factors + ahead * p.factors_stride, p.k)
        linear += p.linear[rows.indices[j] * p.linear_stride] * (1 if rows.values == NULL else rows.values[j])
    score += linear
    for part in range(p.k // LANES):
        start = part * LANES
        score += interactions(p, rows, first, last, start, LANES, sums + start)
    start = p.k // LANES * LANES
    if start < p.k:
        score += interactions(p, rows, first, last, start, p.k - start, sums + start)
    return score


cdef void score_rows(const Parameters *p, const Rows *rows, int64_t first, int64_t last, float *scores,
                     float *sums) noexcept nogil:
    cdef int64_t row, end = rows.indptr[last]
    for row in range(first, last):
        scores[row] = score_row(p, rows, row, end, sums)


def score(batch, const float[::1] bias, const float[:, ::1] linear, const float[:, ::1] factors, int k, int threads):
    """Raw scores, float32 (rows,), of a Batch whose indices are all below linear.shape[0]."""
    cdef float[::1] scores = np.empty(len(batch), np.float32)
    cdef int64_t n = scores.shape[0], part, size
    cdef int width = (k + LANES - 1) // LANES * LANES
    cdef float[:, ::1] sums = np.empty((threads, width), np.float32)
    cdef Rows rows = rows_of(batch.indptr, batch.indices, batch.values)
    if n == 0:
        return np.asarray(scores)
    if len(batch.indices) == 0:  # a model without a single feature still scores empty rows
        scores[:] = bias[0]
        return np.asarray(scores)
    cdef Parameters p = parameters(bias, linear, factors, k)
    size = (n + threads - 1) // threads
    for part in prange(threads, nogil=True, num_threads=threads, schedule="static", chunksize=1):
        score_rows(&p, &rows, min(part * size, n), min((part + 1) * size, n), &scores[0], &sums[part, 0])
    return np.asarray(scores)


# ------------------------------------------------------------------------------------------------------- group
cdef struct Pair:
    uint32_t feature
    uint32_t position  # of the non-zero within its mini-batch


cdef Pair *sort_by_feature(Pair *pairs, Pair *spare, int64_t n, int bits, uint32_t *counts) noexcept nogil:
    """Stable radix sort by feature; returns whichever buffer the result ended in."""
    cdef int passes = (bits + 10) // 11, digit, shift, turn
    cdef int64_t j
    cdef uint32_t total, here
    cdef Pair *other
    if passes == 0:
        return pairs
    digit = (bits + passes - 1) // passes
    for turn in range(passes):
        shift = turn * digit
        memset(counts, 0, sizeof(uint32_t) << digit)
        for j in range(n):
            counts[(pairs[j].feature >> shift) & ((1 << digit) - 1)] += 1
        total = 0
        for j in range(1 << digit):
            here = counts[j]
            counts[j] = total
            total += here
        for j in range(n):
            here = (pairs[j].feature >> shift) & ((1 << digit) - 1)
            spare[counts[here]] = pairs[j]
            counts[here] += 1
        other = pairs
        pairs = spare
        spare = other
    return pairs


cdef int64_t group_mini_batch(const Rows *rows, int64_t first, int64_t last, int bits, Pair *pairs, Pair *spare,
                              int32_t *row_of, uint32_t *counts, int32_t *features, int32_t *ends,
                              int32_t *pair_rows, float *pair_values) noexcept nogil:
    """Write the distinct features of rows first .. last, the ends of their pairs, and the pairs; return how many."""
    cdef int64_t begin = rows.indptr[first], n = rows.indptr[last] - begin, row, j, distinct = 0
    cdef Pair *done
    for row in range(first, last):
        for j in range(rows.indptr[row] - begin, rows.indptr[row + 1] - begin):
            row_of[j] = <int32_t>(row - first)
            pairs[j].feature = <uint32_t>rows.indices[begin + j]
            pairs[j].position = <uint32_t>j
    done = sort_by_feature(pairs, spare, n, bits, counts)
    for j in range(n):
        if j == 0 or done[j].feature != done[j - 1].feature:
            features[begin + distinct] = <int32_t>done[j].feature
            distinct += 1
        ends[begin + distinct - 1] = <int32_t>(begin + j + 1)
        pair_rows[begin + j] = row_of[done[j].position]
        if pair_values != NULL:
            pair_values[begin + j] = rows.values[begin + done[j].position]
    return distinct


def group(batch, const int64_t[::1] starts, int threads):
    """Group the non-zeros of every mini-batch (rows starts[m] .. starts[m + 1]) by feature.

    Returns (bounds int64 (mini-batches + 1,), features int32, ends int32, rows int32 (non-zeros,), values float32
    (non-zeros,) or None): mini-batch m has the features bounds[m] .. bounds[m + 1], in rising order; the pairs of
    feature u end at ends[u], where those of u + 1 begin; a pair is a row, counted within its mini-batch, and a value.
    """
    cdef int64_t batches = starts.shape[0] - 1, n = len(batch.indices), m, largest = 0
    cdef Rows rows = rows_of(batch.indptr, batch.indices, batch.values)
    cdef int32_t[::1] features = np.empty(n + 1, np.int32), ends = np.empty(n + 1, np.int32)
    cdef int32_t[::1] pair_rows = np.empty(n + 1, np.int32)
    cdef float[::1] pair_values = None if batch.values is None else np.empty(n + 1, np.float32)
    cdef int64_t[::1] distinct = np.zeros(batches + 1, np.int64)
    cdef int bits = int(batch.indices.max()).bit_length() if n else 0
    cdef float *values_out = NULL if pair_values is None else &pair_values[0]
    cdef char *scratch
    cdef Pair *pairs
    for m in range(batches):
        largest = max(largest, rows.indptr[starts[m + 1]] - rows.indptr[starts[m]])
    cdef int64_t scratch_size = largest * (2 * sizeof(Pair) + sizeof(int32_t)) + (sizeof(uint32_t) << 11)
    cdef char[:, ::1] scratches = np.empty((threads, scratch_size), np.int8)
    for m in prange(batches, nogil=True, num_threads=threads, schedule="dynamic", chunksize=16):
        scratch = &scratches[threadid(), 0]
        pairs = <Pair *>scratch
        distinct[m + 1] = group_mini_batch(
            &rows, starts[m], starts[m + 1], bits, pairs, pairs + largest, <int32_t *>(pairs + 2 * largest),
            <uint32_t *>(pairs + 2 * largest) + largest, &features[0], &ends[0], &pair_rows[0], values_out)
    bounds = np.cumsum(distinct)
    pick = np.asarray(batch.indptr)[np.asarray(starts)[:batches]] - bounds[:batches]
    pick = np.repeat(pick, np.diff(bounds)) + np.arange(bounds[batches])
    return (bounds, np.asarray(features)[pick], np.asarray(ends)[pick], np.asarray(pair_rows),
            None if batch.values is None else np.asarray(pair_values))


# ------------------------------------------------------------------------------------------------------- train
cdef struct Job:
    Parameters parameters
    Rows rows
    rate bias_rate
    rate linear_rate
    rate factors_rate
    float rescale               # 0: one over the rows of the mini-batch
    int logistic                # else squared loss
    const float *labels
    const float *weights        # NULL: every weight is 1
    const int64_t *starts
    const int64_t *order
    int64_t batches
    const int64_t *bounds       # see `group`
    const int32_t *features
    const int32_t *ends
    const int32_t *pair_rows
    const float *pair_values
    float *scores
    float *losses
    float *sums                 # of the rows of one mini-batch, k each
    float *gradients            # of the rows of one mini-batch, with respect to the raw score
    team_barrier barrier


cdef inline float squared_loss(float score, float label, float *loss) noexcept nogil:
    """Squared error; the gradient is that of half of it."""
    cdef float error = score - label
    loss[0] = error * error
    return error


cdef inline float log_loss(float score, float label, float *loss) noexcept nogil:
    """log(1 + e^-s) for label 1, log(1 + e^s) for 0, without overflow at either end; the gradient is sigmoid(s) - y."""
    cdef float small = expf(-fabsf(score))
    cdef float positive = 1 / (1 + small) if score >= 0 else small / (1 + small)
    cdef float wrong = score * (1 - 2 * label)  # how far on the wrong side
    loss[0] = log1pf(small) + (wrong if wrong > 0 else 0)
    return positive - label


cdef inline int64_t row_at(const int64_t *indptr, int64_t first, int64_t last, int64_t target) noexcept nogil:
    """The first row of first .. last that begins at or after `target`."""
    cdef int64_t middle
    while first < last:
        middle = (first + last) // 2
        if indptr[middle] < target:
            first = middle + 1
        else:
            last = middle
    return first


cdef inline int64_t feature_at(const int32_t *ends, int64_t first, int64_t last, int64_t target) noexcept nogil:
    """The first feature of first .. last whose pairs end after `target`."""
    cdef int64_t middle
    while first < last:
        middle = (first + last) // 2
        if ends[middle] <= target:
            first = middle + 1
        else:
            last = middle
    return first


cdef void forward(Job *job, int64_t m, int member, int team) noexcept nogil:
    """Scores, losses and score gradients of this member's rows of mini-batch m."""
    cdef int64_t first = job.starts[m], last = job.starts[m + 1], row, low, high
    cdef const int64_t *indptr = job.rows.indptr
    cdef int64_t begin = indptr[first], size = indptr[last] - begin
    cdef float rescale = job.rescale if job.rescale > 0 else 1 / <float>(last - first)
    cdef float score, weight, gradient
    cdef float loss = 0
    low = first if member == 0 else row_at(indptr, first, last, begin + size * member // team)
    high = last if member == team - 1 else row_at(indptr, first, last, begin + size * (member + 1) // team)
    for row in range(low, high):
        score = score_row(&job.parameters, &job.rows, row, begin + size, job.sums + (row - first) * job.parameters.k)
        weight = 1 if job.weights == NULL else job.weights[row]
        if job.logistic:
            gradient = log_loss(score, job.labels[row], &loss)
        else:
            gradient = squared_loss(score, job.labels[row], &loss)
        job.scores[row] = score
        job.losses[row] = weight * loss
        job.gradients[row - first] = rescale * weight * gradient


cdef inline float move_factors(Job *job, int64_t u, int64_t begin) noexcept nogil:
    """One optimizer step for the factors of feature u, its pairs summed in row order (Rendle 2010, equation 4); returns
    the gradient of its linear weight."""
    cdef Parameters *p = &job.parameters
    cdef int64_t j, end = job.ends[u], i = job.features[u]
    cdef float *factors = p.factors + i * p.factors_stride
    cdef float x, c, linear = 0, square = 0
    cdef int part
    cdef lanes total = lanes_zero()
    for j in range(begin, end):
        x = 1 if job.pair_values == NULL else job.pair_values[j]
        c = job.gradients[job.pair_rows[j]] * x
        linear += c
        square += c * x
        total = lanes_add(total, lanes_scale(lanes_load(job.sums + job.pair_rows[j] * p.k), c))
    move_block(&job.factors_rate, factors, p.k, lanes_subtract(total, lanes_scale(lanes_load(factors), square)))
    for part in range(1, p.k // LANES):
        factors += LANES
        total = lanes_zero()
        for j in range(begin, end):
            c = job.gradients[job.pair_rows[j]] * (1 if job.pair_values == NULL else job.pair_values[j])
            total = lanes_add(total, lanes_scale(lanes_load(job.sums + job.pair_rows[j] * p.k + part * LANES), c))
        move_block(&job.factors_rate, factors, p.k, lanes_subtract(total, lanes_scale(lanes_load(factors), square)))
    return linear


cdef void backward(Job *job, int64_t m, int member, int team) noexcept nogil:
    """Steps for this member's features of mini-batch m; the first member also moves the bias."""
    cdef int64_t first = job.bounds[m], last = job.bounds[m + 1], u, low, high, ahead
    cdef int64_t begin = job.rows.indptr[job.starts[m]], size = job.rows.indptr[job.starts[m + 1]] - begin
    cdef Parameters *p = &job.parameters
    cdef float *rows[LANES]
    cdef float[LANES] gradients
    cdef int waiting = 0  # linear weights whose gradient is known, moved LANES at a time
    if member == 0:
        move_bias(job, job.starts[m + 1] - job.starts[m])
    low = first if member == 0 else feature_at(job.ends, first, last, begin + size * member // team)
    high = last if member == team - 1 else feature_at(job.ends, first, last, begin + size * (member + 1) // team)
    for u in range(low, high):
        ahead = job.features[min(u + NEAR, high - 1)]
        prefetch(p.linear + ahead * p.linear_stride)
        prefetch_floats(p.factors + ahead * p.factors_stride, p.factors_stride)
        rows[waiting] = p.linear + job.features[u] * p.linear_stride
        gradients[waiting] = move_factors(job, u, begin if u == first else job.ends[u - 1])
        waiting += 1
        if waiting == LANES or u == high - 1:
            move_scattered(&job.linear_rate, rows, gradients, waiting)
            waiting = 0


cdef inline void move_bias(Job *job, int64_t rows) noexcept nogil:
    cdef float gradient = 0
    cdef int64_t row
    for row in range(rows):
        gradient += job.gradients[row]
    move_scattered(&job.bias_rate, &job.parameters.bias, &gradient, 1)


cdef void train_member(Job *job, int member, int team) noexcept nogil:
    cdef int64_t turn
    for turn in range(job.batches):
        forward(job, job.order[turn], member, team)
        team_wait(&job.barrier, team)
        backward(job, job.order[turn], member, team)
        team_wait(&job.barrier, team)


cdef void train_team(Job *job, int threads) noexcept nogil:
    with nogil, parallel(num_threads=threads):
        train_member(job, threadid(), team_size())


cdef rate rate_of(settings, group) except *:
    cdef rate by
    by.rule = settings.rule
    by.lr, by.wd = group
    by.clip, by.eps = settings.clip, settings.eps
    return by


def train(block, const int64_t[::1] order, table, settings, int threads):
    """One pass over a block's mini-batches in the given order, moving `table` in place.

    table: bias float32 (1 + slots,), linear float32 (d, 1 + slots), factors float32 (d, (1 + slots) k).
    settings: rule (rules.h), bias, linear, factors ((lr, wd) each), clip, eps, rescale, logistic.
    Returns (raw scores, weighted losses), float32 (rows,) each, taken before the row's own mini-batch moved anything.
    """
    cdef Job job
    batch, groups = block.batch, block.groups
    cdef const float[::1] labels = batch.labels, weights = batch.weights
    cdef const int64_t[::1] starts = block.starts, bounds = groups[0]
    cdef const int32_t[::1] features = groups[1], ends = groups[2], pair_rows = groups[3]
    cdef const float[::1] pair_values = groups[4]
    cdef int k = table.width
    cdef int64_t widest = np.diff(block.starts).max()
    cdef float[::1] scores = np.empty(len(batch), np.float32), losses = np.empty(len(batch), np.float32)
    cdef float[:, ::1] sums = np.empty((widest, k), np.float32)
    cdef float[::1] gradients = np.empty(widest, np.float32)
    memset(&job, 0, sizeof(job))
    job.parameters = parameters(table.bias, table.linear, table.factors, k)
    job.rows = rows_of(batch.indptr, batch.indices, batch.values)
    job.bias_rate, job.linear_rate = rate_of(settings, settings.bias), rate_of(settings, settings.linear)
    job.factors_rate = rate_of(settings, settings.factors)
    job.rescale, job.logistic = settings.rescale, settings.logistic
    job.labels, job.weights = pointer(labels), pointer(weights)
    job.starts, job.order, job.batches = &starts[0], &order[0], order.shape[0]
    job.bounds = &bounds[0]
    if features.shape[0]:
        job.features, job.ends, job.pair_rows = &features[0], &ends[0], &pair_rows[0]
        job.pair_values = pointer(pair_values)
    job.scores, job.losses, job.sums, job.gradients = &scores[0], &losses[0], &sums[0, 0], &gradients[0]
    train_team(&job, threads)
    return np.asarray(scores), np.asarray(losses)


def openmp():
    """Whether this build has OpenMP."""
    return bool(has_openmp())

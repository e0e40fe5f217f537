# The kernels, built for any processor of this architecture; _kernels_v3.pyx is the same for newer ones.
#
# Here arrays become structs and their memory is allocated; every loop stands in the headers, whose map is train.h.
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fmcore.kernels.headers cimport (
    CUBES, DIGIT, LANES, LINE, LOSSES, OPTIMIZERS, block_pass, csr, dense_block, fill_matrix, gemm, group_memory,
    group_rows, grouped, has_openmp, parameters, rate, row_rule, schedule, score_rows, slot, sparse_block, team_share,
    train_block)

import numpy as np


cdef parameters parameters_of(const float[::1] bias, const float[:, ::1] linear, const float[:, ::1] factors,
                              int k, int evidence=0) noexcept:
    cdef parameters p
    p.bias, p.linear, p.factors = <float *>&bias[0], <float *>&linear[0, 0], <float *>&factors[0, 0]
    p.k, p.linear_step, p.factors_step = k, <int>linear.shape[1], <int>factors.shape[1]
    p.evidence = evidence
    return p


cdef const float *pointer(const float[::1] array) noexcept:
    """Return NULL for None and for an empty array."""
    if array is None or array.shape[0] == 0:
        return NULL
    return &array[0]


cdef csr rows_of(batch) except *:
    cdef const int64_t[::1] indptr = batch.indptr
    cdef const int32_t[::1] indices = batch.indices
    cdef csr rows
    rows.indptr = &indptr[0]
    rows.indices = &indices[0] if indices.shape[0] else NULL
    rows.values = pointer(batch.values)
    return rows


def score(batch, const float[::1] bias, const float[:, ::1] linear, const float[:, ::1] factors, int k, int threads):
    """Return the raw scores, float32 (rows,), of a Batch whose indices are all below linear.shape[0]."""
    cdef float[::1] scores = np.empty(len(batch), np.float32)
    if scores.shape[0] == 0:
        return np.asarray(scores)
    if len(batch.indices) == 0:  # a model without a single feature still scores empty rows
        scores[:] = bias[0]
        return np.asarray(scores)
    cdef int width = (k + LANES - 1) // LANES * LANES
    cdef float[:, ::1] sums = np.empty((threads, width), np.float32)
    cdef csr rows = rows_of(batch)
    cdef parameters p = parameters_of(bias, linear, factors, k)
    with nogil:
        score_rows(&p, &rows, scores.shape[0], &scores[0], &sums[0, 0], threads)
    return np.asarray(scores)


cdef class GroupMemory:
    """Memory of so many threads for mini-batches of at most so many non-zeros and distinct features."""
    cdef group_memory memory
    cdef object held

    def __init__(self, int threads, int64_t non_zeros, int64_t distinct):
        cdef int bits = max(1, int(3 * distinct // 2).bit_length())
        cdef uint64_t[:, ::1] tables = np.zeros((threads, 2 << bits), np.uint64)
        cdef int32_t[:, ::1] number_of = np.empty((threads, non_zeros), np.int32)
        cdef uint64_t[:, ::1] rest = np.empty((threads, 3 * distinct), np.uint64)
        cdef uint32_t[:, ::1] digits = np.empty((threads, 1 << DIGIT), np.uint32)
        cdef uint64_t[::1] stamps = np.zeros(threads, np.uint64)
        self.held = tables, number_of, rest, digits, stamps
        self.memory.tables, self.memory.table_bits = <slot *>&tables[0, 0], bits
        self.memory.number_of, self.memory.rest = &number_of[0, 0], &rest[0, 0]
        self.memory.digits, self.memory.stamps = &digits[0, 0], &stamps[0]
        self.memory.non_zeros, self.memory.distinct = non_zeros, distinct


def group(batch, const int64_t[::1] starts, int threads):
    """Group the non-zeros of every mini-batch (rows starts[m] .. starts[m + 1]) by feature.

    Returns (indices, values, shared, bounds, features, ends, rows, pair values).
    indices int32, values float32 or None: the batch's, each row's in two parts: the first shared[row] (int32) are of
    features that have another non-zero in the mini-batch, the rest of features that have none.
    bounds int64 (mini-batches + 1,): mini-batch m has the shared features bounds[m] .. bounds[m + 1], rising.
    features int32, ends int32: pairs of the first feature of a mini-batch begin where its non-zeros do; those of
    feature u end at ends[u], where those of u + 1 begin. A pair is a row, counted within its mini-batch, uint16 or,
    in wide mini-batches, int32, and a value, float32, or None for all.
    """
    cdef int64_t batches = starts.shape[0] - 1, n = len(batch.indices)
    cdef csr rows = rows_of(batch)
    cdef int bits = int(batch.indices.max()).bit_length() if n else 0
    offsets = np.asarray(batch.indptr)[np.asarray(starts)]  # of each mini-batch's first non-zero
    cdef int64_t largest = max(1, np.diff(offsets).max(initial=0))
    cdef grouped out
    out.wide = np.diff(starts).max(initial=0) > 1 << 16
    cdef int32_t[::1] indices = np.empty(n + 1, np.int32), shared = np.empty(len(batch), np.int32)
    cdef int32_t[::1] features = np.empty(n // 2 + 1, np.int32), ends = np.empty(n // 2 + 1, np.int32)
    pair_rows = np.empty(n + 1, np.int32 if out.wide else np.uint16)
    cdef uint8_t[::1] pair_bytes = pair_rows.view(np.uint8)
    cdef float[:, ::1] valued = np.empty((2, 1 if batch.values is None else n + 1), np.float32)
    cdef int64_t[::1] distinct = np.zeros(batches + 1, np.int64)
    out.indices, out.shared, out.features, out.ends = &indices[0], &shared[0], &features[0], &ends[0]
    out.rows, out.values, out.pair_values = &pair_bytes[0], NULL, NULL
    if batch.values is not None:
        out.values, out.pair_values = &valued[0, 0], &valued[1, 0]
    cdef GroupMemory space = GroupMemory(threads, largest, max(1, min(largest, <int64_t>1 << bits)))
    with nogil:
        group_rows(&space.memory, &rows, &starts[0], batches, bits, &out, &distinct[1], threads)
    bounds = np.cumsum(distinct)
    pick = offsets[:batches] // 2 - bounds[:batches]
    pick = np.repeat(pick, np.diff(bounds)) + np.arange(bounds[batches])
    values = None if batch.values is None else np.asarray(valued)
    return (np.asarray(indices)[:n], values if values is None else values[0, :n], np.asarray(shared), bounds,
            np.asarray(features)[pick], np.asarray(ends)[pick], pair_rows[:n],
            values if values is None else values[1, :n])


def matrix(batch, const int64_t[::1] starts, float[:, ::1] values, int threads):
    """Write a batch into zeros (rows, stride); return which features each mini-batch holds.

    uint8 (mini-batches, stride); None where a row holds an index twice: these are two non-zeros, which a matrix cannot
    keep apart.
    """
    cdef int64_t batches = starts.shape[0] - 1, repeated
    cdef int stride = values.shape[1]
    cdef csr rows = rows_of(batch)
    cdef uint8_t[:, ::1] present = np.zeros((batches, stride), np.uint8)
    cdef int64_t[:, ::1] last_row = np.zeros((threads, stride), np.int64)
    with nogil:
        repeated = fill_matrix(&rows, &starts[0], batches, stride, &last_row[0, 0], &values[0, 0], &present[0, 0],
                               threads)
    return None if repeated else np.asarray(present)


cdef rate rate_of(settings, group) except *:
    cdef rate by
    by.optimizer, by.lr, by.wd, by.eps, by.floor = group
    by.clip, by.per_factor, by.by_rows = settings.clip, settings.share, settings.rule is not None
    return by


cdef schedule schedule_of(settings) except *:
    cdef schedule at
    at.rates.bias, at.rates.linear = rate_of(settings, settings.bias), rate_of(settings, settings.linear)
    at.rates.factors, at.updates = rate_of(settings, settings.factors), settings.updates
    at.fall, at.done = settings.fall, settings.done
    return at


cdef row_rule rule_of(given) except *:
    cdef row_rule rule
    rule.tau, rule.precision, rule.gain, rule.rescale, rule.count, rule.share, rule.bound = given or 7 * (0,)
    return rule


cdef sparse_block sparse_of(batch, groups) except *:
    cdef const int64_t[::1] bounds = groups.bounds
    cdef const int32_t[::1] shared = groups.shared, features = groups.features, ends = groups.ends
    cdef const uint8_t[::1] rows = groups.rows.view(np.uint8)
    cdef sparse_block block
    block.rows = rows_of(batch)
    block.shared, block.bounds = &shared[0], &bounds[0]
    block.features = block.ends = NULL
    block.pairs.rows, block.pairs.values, block.pairs.wide = NULL, NULL, groups.rows.dtype == np.int32
    if features.shape[0]:
        block.features, block.ends = &features[0], &ends[0]
        block.pairs.rows, block.pairs.values = &rows[0], pointer(groups.values)
    return block


cdef dense_block dense_of(cells, sgemm, float[:, ::1] memory, int k) except *:
    cdef const float[:, ::1] values = cells.values
    cdef const uint8_t[:, ::1] present = cells.present
    cdef dense_block block
    block.values, block.present = &values[0, 0], &present[0, 0]
    block.count, block.stride = cells.columns, <int>values.shape[1]
    block.columns.linear, block.columns.squares, block.columns.sums = &memory[0, 0], &memory[1, 0], &memory[2, 0]
    block.columns.square_sums, block.columns.products = &memory[3, 0], &memory[4, 0]
    block.columns.stride = block.stride
    if memory.shape[0] > 4 + k:
        block.columns.by_rows.variances, block.columns.by_rows.square = &memory[4 + k, 0], &memory[5 + k, 0]
        block.columns.by_rows.variance, block.columns.by_rows.fourth = &memory[6 + k, 0], &memory[7 + k, 0]
        block.columns.by_rows.rows, block.columns.by_rows.reach = &memory[8 + k, 0], &memory[9 + k, 0]
        block.columns.by_rows.cross = &memory[10 + k, 0]
    block.multiply = <gemm>PyCapsule_GetPointer(sgemm, PyCapsule_GetName(sgemm))
    return block


def train(block, const int64_t[::1] order, table, settings, int threads, results, sgemm=None):
    """Train on a block's mini-batches once, in the given order, stepping `table` in place.

    table: as in fmcore.kernels.cpu.Table.
    settings: bias, linear, factors ((number as in optimizers.h, lr, wd, eps, floor) each), clip, share (of a factor:
    one over their number), rescale, objective (number as in losses.h), updates, fall, done (as in optimizers.h),
    rule (the numbers of row_rule.h in their order, or None).
    results: (raw scores, weighted losses), float32 (rows,) each, into which those of these mini-batches' rows are
    written, as they are before the row's own mini-batch steps anything.
    sgemm: BLAS' function as a capsule, where the block is dense.
    """
    cdef const float[::1] labels = block.batch.labels, weights = block.batch.weights
    cdef const int64_t[::1] starts = block.starts
    cdef int k = table.width
    cdef int64_t widest = np.diff(block.starts).max()
    cdef float[::1] scores = results[0], losses = results[1]
    cdef float[:, ::1] sums = np.empty((widest, k), np.float32), memory
    cdef float[::1] gradients = np.empty(widest, np.float32), own = np.empty(threads * (k + LINE), np.float32)
    cdef int evidence = table.evidence
    cdef float[:, ::1] terms = np.zeros((widest if evidence else 1, LANES), np.float32), curved, cubes
    cdef uint8_t[::1] shares = np.empty(threads * sizeof(team_share), np.uint8)
    cdef block_pass work
    cdef sparse_block sparse
    cdef dense_block dense
    work.parameters = parameters_of(table.bias, table.linear, table.factors, k, evidence)
    work.schedule, work.rule = schedule_of(settings), rule_of(settings.rule)
    work.targets.objective, work.targets.rescale = settings.objective, settings.rescale
    work.targets.labels, work.targets.weights = pointer(labels), pointer(weights)
    work.mini_batches.starts, work.mini_batches.order, work.mini_batches.count = &starts[0], &order[0], order.shape[0]
    work.scratch.sums, work.scratch.gradients, work.scratch.feature_gradients = &sums[0, 0], &gradients[0], &own[0]
    work.scratch.terms = &terms[0, 0] if evidence else NULL
    work.outputs.scores, work.outputs.losses = &scores[0], &losses[0]
    if sgemm is None:
        sparse = sparse_of(block.batch, block.groups)
        with nogil:
            train_block(&work, &sparse, NULL, threads, <team_share *>&shares[0])
    else:
        memory = np.zeros((10 + 2 * k if evidence else 4 + k, block.groups.values.shape[1]), np.float32)
        dense = dense_of(block.groups, sgemm, memory, k)
        if evidence:
            curved, cubes = np.empty((widest, k), np.float32), np.empty((threads, CUBES), np.float32)
            work.scratch.curved, work.scratch.cubes = &curved[0, 0], &cubes[0, 0]
        with nogil:
            train_block(&work, NULL, &dense, threads, <team_share *>&shares[0])


def cases():
    """Return how many losses and optimizers were compiled: the numbers of those are below."""
    return LOSSES, OPTIMIZERS


def openmp():
    """Return whether this build has OpenMP."""
    return bool(has_openmp())

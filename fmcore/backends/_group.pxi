# The non-zeros of each mini-batch, grouped by feature.


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

# Raw scores of rows.


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

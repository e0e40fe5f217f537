# Raw scores of rows.


cdef inline float score_row(const parameters *p, const Rows *rows, int64_t row, int64_t end,
                            float *sums) noexcept nogil:
    """y(x) of one row; `end` bounds the non-zeros that may be looked at ahead. sums: sum_i v_if x_i of each factor."""
    cdef row_part part
    part.indices, part.count = rows.indices + rows.indptr[row], rows.indptr[row + 1] - rows.indptr[row]
    part.values = NULL if rows.values == NULL else rows.values + rows.indptr[row]
    part.stop = rows.indices + end
    return score_part(p, &part, sums)


cdef void score_rows(const parameters *p, const Rows *rows, int64_t first, int64_t last, float *scores,
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
    cdef parameters p = parameters_of(bias, linear, factors, k)
    size = (n + threads - 1) // threads
    for part in prange(threads, nogil=True, num_threads=threads, schedule="static", chunksize=1):
        score_rows(&p, &rows, min(part * size, n), min((part + 1) * size, n), &scores[0], &sums[part, 0])
    return np.asarray(scores)

# Sparse blocks: forward over the non-zeros of each row, backward over those of each feature.


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


cdef inline int64_t feature_at(const int32_t *ends, int64_t first, int64_t last, int64_t begin, int part,
                               int parts) noexcept nogil:
    """Where part `part` of the work of the features first .. last begins; their pairs begin at `begin`.

    A pair is one piece of work and a step as much as STEP pairs: rare features, which come last in many data sets, have
    few pairs and take all the longer for each.
    """
    cdef int64_t middle, low = first, high = last
    cdef int64_t work = (ends[last - 1] - begin + STEP * (last - first)) * part // parts if last > first else 0
    while low < high:
        middle = (low + high) // 2
        if ends[middle] - begin + STEP * (middle + 1 - first) <= work:
            low = middle + 1
        else:
            high = middle
    return low


cdef void forward_sparse(Job *job, int64_t m, int member, int team) noexcept nogil:
    """Scores, losses and score gradients of this member's rows of mini-batch m."""
    cdef int64_t first = job.starts[m], last = job.starts[m + 1], row, low, high
    cdef const int64_t *indptr = job.rows.indptr
    cdef int64_t begin = indptr[first], size = indptr[last] - begin
    low = first if member == 0 else row_at(indptr, first, last, begin + size * member // team)
    high = last if member == team - 1 else row_at(indptr, first, last, begin + size * (member + 1) // team)
    for row in range(low, high):
        settle(job, m, row, score_row(
            &job.parameters, &job.rows, row, begin + size, job.sums + (row - first) * job.parameters.k))


cdef inline float move_factors(Job *job, const Rates *rates, int64_t u, int64_t begin) noexcept nogil:
    """One optimizer step for the factors of feature u, its pairs summed in row order (Rendle 2010, equation 4); returns
    the gradient of its linear weight."""
    cdef Parameters *p = &job.parameters
    cdef float *factors = p.factors + job.features[u] * p.factors_stride
    cdef int64_t j, row
    cdef float x, c, linear = 0, square = 0
    cdef int start, part
    cdef lanes total
    for part in range(p.k // LANES):
        start, linear, square, total = part * LANES, 0, 0, lanes_zero()
        for j in range(begin, job.ends[u]):
            row = job.pair_rows[j]
            x = 1 if job.pair_values == NULL else job.pair_values[j]
            c = job.gradients[row] * x
            linear += c
            square += c * x
            total = lanes_add(total, lanes_scale(lanes_load(job.sums + row * p.k + start), c))
        total = lanes_subtract(total, lanes_scale(lanes_load(factors + start), square))
        move_block(&rates.factors, factors + start, p.k, total)
    return linear


cdef void backward_sparse(Job *job, const Rates *rates, int64_t m, int member, int team) noexcept nogil:
    """Steps for this member's features of mini-batch m; the first member also moves the bias."""
    cdef int64_t first = job.bounds[m], last = job.bounds[m + 1], u, low, high, ahead
    cdef int64_t begin = job.rows.indptr[job.starts[m]]
    cdef Parameters *p = &job.parameters
    cdef Waiting waiting
    waiting.count = 0
    if member == 0:
        move_bias(job, &rates.bias, job.starts[m + 1] - job.starts[m])
    low = first if member == 0 else feature_at(job.ends, first, last, begin, member, team)
    high = last if member == team - 1 else feature_at(job.ends, first, last, begin, member + 1, team)
    for u in range(low, high):
        ahead = job.features[min(u + NEAR, high - 1)]
        prefetch(p.linear + ahead * p.linear_stride)
        prefetch_floats(p.factors + ahead * p.factors_stride, p.factors_stride)
        wait_to_move(&waiting, &rates.linear, p.linear + job.features[u] * p.linear_stride,
                     move_factors(job, rates, u, begin if u == first else job.ends[u - 1]))
    move_waiting(&waiting, &rates.linear)


cdef void take_groups(Job *job, batch, groups):
    """Make a job one of a sparse block."""
    cdef const int64_t[::1] bounds = groups.bounds
    cdef const int32_t[::1] features = groups.features, ends = groups.ends, rows = groups.rows
    cdef const float[::1] values = groups.values
    job.rows = rows_of(batch.indptr, batch.indices, batch.values)
    job.bounds = &bounds[0]
    if features.shape[0]:
        job.features, job.ends, job.pair_rows, job.pair_values = &features[0], &ends[0], &rows[0], pointer(values)

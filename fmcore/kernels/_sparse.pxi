# Sparse blocks: forward over the non-zeros of each row, backward over those of each feature.
#
# A feature that a single row of the mini-batch holds is moved in the forward pass, right behind that row: no other row
# reads it, so nobody sees the difference, and its weights are still in the nearest cache. Of click data these are two
# thirds of a mini-batch's features, and those that come from far away. The backward pass moves the others.


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


cdef inline void move_lone(Job *job, const Rates *rates, Waiting *waiting, int64_t row, float gradient,
                           const float *sums, float *kept) noexcept nogil:
    """One optimizer step for each feature of the row that no other row of its mini-batch holds."""
    cdef parameters *p = &job.parameters
    cdef int64_t j, i
    cdef float x, linear
    cdef factor_row to
    for j in range(job.rows.indptr[row] + job.shared[row], job.rows.indptr[row + 1]):
        i = job.rows.indices[j]
        x = 1 if job.rows.values == NULL else job.rows.values[j]
        to = factor_row_at(p, i, kept)
        linear = step_lone(&rates.factors, &to, gradient, sums, x)
        wait_to_move(waiting, &rates.linear, linear_at(p, i), linear)


cdef void forward_sparse(Job *job, const Rates *rates, int64_t m, int share, int shares) noexcept nogil:
    """Scores, losses and score gradients of this share's rows of mini-batch m, and steps for their lone features."""
    cdef int64_t first = job.starts[m], last = job.starts[m + 1], row, low, high
    cdef const int64_t *indptr = job.rows.indptr
    cdef int64_t begin = indptr[first], size = indptr[last] - begin
    cdef parameters *p = &job.parameters
    cdef float *sums
    cdef float *kept = kept_gradients(job, share)
    cdef Waiting waiting
    waiting.count = 0
    low = first if share == 0 else row_at(indptr, first, last, begin + size * share // shares)
    high = last if share == shares - 1 else row_at(indptr, first, last, begin + size * (share + 1) // shares)
    for row in range(low, high):
        sums = job.sums + (row - first) * p.k
        if row + 1 < high:  # a row ahead: this one's are on their way
            fetch_sums_to_write(p, sums + p.k)
            fetch_state(p, job.rows.indices + indptr[row + 1] + job.shared[row + 1],
                        indptr[row + 2] - indptr[row + 1] - job.shared[row + 1])
        settle(job, m, row, score_row(p, &job.rows, row, indptr[high], sums))
        move_lone(job, rates, &waiting, row, job.gradients[row - first], sums, kept)
    move_waiting(&waiting, &rates.linear)


cdef void backward_sparse(Job *job, const Rates *rates, int64_t m, int share, int shares) noexcept nogil:
    """Steps for this share's shared features of mini-batch m; the first share also moves the bias."""
    cdef int64_t first = job.bounds[m], last = job.bounds[m + 1], u, low, high
    cdef int64_t begin = job.rows.indptr[job.starts[m]]
    cdef parameters *p = &job.parameters
    cdef float linear
    cdef factor_row to
    cdef Waiting waiting
    waiting.count = 0
    if shares > 1:
        fetch_sums(p, job.sums, job.starts[m + 1] - job.starts[m])
    if share == 0:
        move_bias(job, &rates.bias, job.starts[m + 1] - job.starts[m])
    low = first if share == 0 else feature_at(job.ends, first, last, begin, share, shares)
    high = last if share == shares - 1 else feature_at(job.ends, first, last, begin, share + 1, shares)
    for u in range(low, high):
        fetch_feature(p, job.features[min(u + NEAR, high - 1)])
        to = factor_row_at(p, job.features[u], kept_gradients(job, share))
        linear = step_shared(&rates.factors, &to, job.gradients, job.sums, begin if u == first else job.ends[u - 1],
                             job.ends[u], &job.pairs)
        wait_to_move(&waiting, &rates.linear, linear_at(p, job.features[u]), linear)
    move_waiting(&waiting, &rates.linear)


cdef void take_groups(Job *job, batch, groups):
    """Make a job one of a sparse block."""
    cdef const int64_t[::1] bounds = groups.bounds
    cdef const int32_t[::1] shared = groups.shared, features = groups.features, ends = groups.ends
    cdef const uint8_t[::1] rows = groups.rows.view(np.uint8)
    cdef const float[::1] values = groups.values
    job.rows = rows_of(batch.indptr, batch.indices, batch.values)
    job.shared, job.bounds = &shared[0], &bounds[0]
    if features.shape[0]:
        job.features, job.ends = &features[0], &ends[0]
        job.pairs.rows, job.pairs.values = &rows[0], pointer(values)
        job.pairs.wide = groups.rows.dtype == np.int32

# One pass over a block: forward over the rows of a mini-batch, backward over its features.


cdef struct Rates:
    rate bias
    rate linear
    rate factors


cdef struct Job:
    Parameters parameters
    Rows rows
    Rates rates                 # before the rule's correction
    int64_t updates             # mini-batches trained before
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


cdef void backward(Job *job, const Rates *rates, int64_t m, int member, int team) noexcept nogil:
    """Steps for this member's features of mini-batch m; the first member also moves the bias."""
    cdef int64_t first = job.bounds[m], last = job.bounds[m + 1], u, low, high, ahead
    cdef int64_t begin = job.rows.indptr[job.starts[m]]
    cdef Parameters *p = &job.parameters
    cdef float *rows[LANES]
    cdef float[LANES] gradients
    cdef int waiting = 0  # linear weights whose gradient is known, moved LANES at a time
    if member == 0:
        move_bias(job, &rates.bias, job.starts[m + 1] - job.starts[m])
    low = first if member == 0 else feature_at(job.ends, first, last, begin, member, team)
    high = last if member == team - 1 else feature_at(job.ends, first, last, begin, member + 1, team)
    for u in range(low, high):
        ahead = job.features[min(u + NEAR, high - 1)]
        prefetch(p.linear + ahead * p.linear_stride)
        prefetch_floats(p.factors + ahead * p.factors_stride, p.factors_stride)
        rows[waiting] = p.linear + job.features[u] * p.linear_stride
        gradients[waiting] = move_factors(job, rates, u, begin if u == first else job.ends[u - 1])
        waiting += 1
        if waiting == LANES or u == high - 1:
            move_scattered(&rates.linear, rows, gradients, waiting)
            waiting = 0


cdef inline void move_bias(Job *job, const rate *by, int64_t rows) noexcept nogil:
    cdef float gradient = 0
    cdef int64_t row
    for row in range(rows):
        gradient += job.gradients[row]
    move_scattered(by, &job.parameters.bias, &gradient, 1)


cdef Rates rates_at(const Job *job, int64_t turn) noexcept nogil:
    """The rates of a turn's mini-batch; each member works them out for itself, from the same numbers."""
    cdef Rates rates = job.rates
    cdef double correction = lr_correction(rates.factors.rule, job.updates + turn + 1)  # factors are never fixed
    rates.bias.lr = <float>(rates.bias.lr * correction)
    rates.linear.lr = <float>(rates.linear.lr * correction)
    rates.factors.lr = <float>(rates.factors.lr * correction)
    return rates


cdef void train_member(Job *job, int member, int team) noexcept nogil:
    cdef int64_t turn
    cdef Rates rates
    for turn in range(job.batches):
        forward(job, job.order[turn], member, team)
        team_wait(&job.barrier, team)
        rates = rates_at(job, turn)
        backward(job, &rates, job.order[turn], member, team)
        team_wait(&job.barrier, team)


cdef void train_team(Job *job, int threads) noexcept nogil:
    with nogil, parallel(num_threads=threads):
        train_member(job, threadid(), team_size())


cdef rate rate_of(settings, group) except *:
    cdef rate by
    by.rule, by.lr, by.wd = group
    by.clip, by.eps = settings.clip, settings.eps
    return by


def train(block, const int64_t[::1] order, table, settings, int threads):
    """One pass over a block's mini-batches in the given order, moving `table` in place.

    table: bias float32 (1 + slots,), linear float32 (d, 1 + slots), factors float32 (d, (1 + slots) k).
    settings: bias, linear, factors ((rule as in rules.h, lr, wd) each), clip, eps, rescale, logistic, updates.
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
    job.rates.bias, job.rates.linear = rate_of(settings, settings.bias), rate_of(settings, settings.linear)
    job.rates.factors, job.updates = rate_of(settings, settings.factors), settings.updates
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

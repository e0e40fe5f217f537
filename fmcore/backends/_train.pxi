# One pass over a block: a team goes through its mini-batches, forward over rows, then backward over features.


cdef Rates rates_at(const Job *job, int64_t turn) noexcept nogil:
    """The rates of a turn's mini-batch; each member works them out for itself, from the same numbers."""
    cdef Rates rates = job.rates
    cdef double correction = lr_correction(rates.factors.rule, job.updates + turn + 1)  # factors are never fixed
    rates.bias.lr = <float>(rates.bias.lr * correction)
    rates.linear.lr = <float>(rates.linear.lr * correction)
    rates.factors.lr = <float>(rates.factors.lr * correction)
    return rates


cdef void train_member(Job *job, int shares) noexcept nogil:
    """Do shares of the job until it is done. Of a mini-batch even phases go forward, odd ones backward."""
    cdef int64_t phase, share, turn, m, prior = -1
    cdef bint dense = job.cells.values != NULL
    cdef Rates rates
    while team_claim(&job.work, &phase, &share):
        turn = phase // 2
        m = job.order[turn]
        if turn != prior:
            rates = rates_at(job, turn)
            prior = turn
        if phase % 2 == 0:
            if dense:
                forward_dense(job, m, <int>share, shares)
            else:
                forward_sparse(job, &rates, m, <int>share, shares)
        elif dense:
            backward_dense(job, &rates, m, <int>share, shares)
        else:
            backward_sparse(job, &rates, m, <int>share, shares)
        team_done(&job.work, phase)


cdef void train_team(Job *job, int threads) noexcept nogil:
    cdef int shares = 1 if threads == 1 else SHARES * threads
    team_open(&job.work, 2 * job.batches, shares)
    with nogil, parallel(num_threads=threads):
        train_member(job, shares)
    team_close(&job.work)


cdef rate rate_of(settings, group) except *:
    cdef rate by
    by.rule, by.lr, by.wd = group
    by.clip, by.eps = settings.clip, settings.eps
    return by


def train(block, const int64_t[::1] order, table, settings, int threads, sgemm=None):
    """One pass over a block's mini-batches in the given order, moving `table` in place.

    table: bias float32 (1 + slots,), linear float32 (d, 1 + slots), factors float32 (d, (1 + slots) k).
    settings: bias, linear, factors ((rule as in rules.h, lr, wd) each), clip, eps, rescale, logistic, updates.
    sgemm: BLAS' function as a capsule, where the block is dense.
    Returns (raw scores, weighted losses), float32 (rows,) each, taken before the row's own mini-batch moved anything.
    """
    cdef Job job
    batch = block.batch
    cdef const float[::1] labels = batch.labels, weights = batch.weights
    cdef const int64_t[::1] starts = block.starts
    cdef int k = table.width
    cdef int64_t widest = np.diff(block.starts).max()
    cdef float[::1] scores = np.empty(len(batch), np.float32), losses = np.empty(len(batch), np.float32)
    cdef float[:, ::1] sums = np.empty((widest, k), np.float32)
    cdef float[::1] gradients = np.empty(widest, np.float32)
    memset(&job, 0, sizeof(job))
    job.parameters = parameters_of(table.bias, table.linear, table.factors, k)
    job.rates.bias, job.rates.linear = rate_of(settings, settings.bias), rate_of(settings, settings.linear)
    job.rates.factors, job.updates = rate_of(settings, settings.factors), settings.updates
    job.rescale, job.logistic = settings.rescale, settings.logistic
    job.labels, job.weights = pointer(labels), pointer(weights)
    job.starts, job.order, job.batches = &starts[0], &order[0], order.shape[0]
    job.scores, job.losses, job.sums, job.gradients = &scores[0], &losses[0], &sums[0, 0], &gradients[0]
    if sgemm is None:
        take_groups(&job, batch, block.groups)
    else:
        scratch = take_cells(&job, block.groups, sgemm)  # noqa: F841 - held while the job runs
    train_team(&job, threads)
    return np.asarray(scores), np.asarray(losses)


def openmp():
    """Whether this build has OpenMP."""
    return bool(has_openmp())

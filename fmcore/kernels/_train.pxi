# One pass over a block: a team goes through its mini-batches, forward over rows, then backward over features.


cdef Rates rates_at(const Job *job, int64_t turn) noexcept nogil:
    """The rates of a turn's mini-batch; each member works them out for itself, from the same numbers."""
    cdef Rates rates = job.rates
    cdef double correction = lr_correction(rates.factors.rule, job.updates + turn + 1)  # factors are never fixed
    rates.bias.lr = <float>(rates.bias.lr * correction)
    rates.linear.lr = <float>(rates.linear.lr * correction)
    rates.factors.lr = <float>(rates.factors.lr * correction)
    return rates


cdef void train_member(Job *job, int number) noexcept nogil:
    """Do shares of the job until it is done. Of a mini-batch even phases go forward, odd ones backward."""
    cdef team_member me = team_member(number, 0, 0, 0)
    cdef int shares = job.work.members
    cdef int64_t turn, m, prior = -1
    cdef bint dense = job.cells.values != NULL
    cdef Rates rates
    while team_claim(&job.work, &me):
        turn = me.phase // 2
        m = job.order[turn]
        if turn != prior:
            rates = rates_at(job, turn)
            prior = turn
        if me.phase % 2 == 0:
            if dense:
                forward_dense(job, m, me.share, shares)
            else:
                forward_sparse(job, &rates, m, me.share, shares)
        elif dense:
            backward_dense(job, &rates, m, me.share, shares)
        else:
            backward_sparse(job, &rates, m, me.share, shares)


cdef void train_team(Job *job, int threads, team_share *shares) noexcept nogil:
    team_open(&job.work, 2 * job.batches, threads, shares)
    with nogil, parallel(num_threads=threads):
        train_member(job, threadid())
    team_close(&job.work)


cdef rate rate_of(settings, group) except *:
    cdef rate by
    by.rule, by.lr, by.wd = group
    by.clip, by.eps, by.share = settings.clip, settings.eps, settings.share
    return by


def train(block, const int64_t[::1] order, table, settings, int threads, told, sgemm=None):
    """One pass over a block's mini-batches in the given order, moving `table` in place.

    table: as fmcore.kernels.cpu.Table.
    settings: bias, linear, factors ((rule as in rules.h, lr, wd) each), clip, eps, share, rescale, logistic, updates.
    told: (raw scores, weighted losses), float32 (rows,) each, to write those of these mini-batches' rows into, as they
    are before the row's own mini-batch moves anything.
    sgemm: BLAS' function as a capsule, where the block is dense.
    """
    cdef Job job
    batch = block.batch
    cdef const float[::1] labels = batch.labels, weights = batch.weights
    cdef const int64_t[::1] starts = block.starts
    cdef int k = table.width
    cdef int64_t widest = np.diff(block.starts).max()
    cdef float[::1] scores = told[0], losses = told[1]
    cdef float[:, ::1] sums = np.empty((widest, k), np.float32)
    cdef float[::1] gradients = np.empty(widest, np.float32), kept = np.empty(threads * (k + LINE), np.float32)
    cdef uint8_t[::1] shares = np.empty(threads * sizeof(team_share), np.uint8)
    memset(&job, 0, sizeof(job))
    job.parameters = parameters_of(table.bias, table.linear, table.factors, k)
    job.rates.bias, job.rates.linear = rate_of(settings, settings.bias), rate_of(settings, settings.linear)
    job.rates.factors, job.updates = rate_of(settings, settings.factors), settings.updates
    job.rescale, job.logistic = settings.rescale, settings.logistic
    job.labels, job.weights = pointer(labels), pointer(weights)
    job.starts, job.order, job.batches = &starts[0], &order[0], order.shape[0]
    job.scores, job.losses, job.sums = &scores[0], &losses[0], &sums[0, 0]
    job.gradients, job.kept = &gradients[0], &kept[0]
    if sgemm is None:
        take_groups(&job, batch, block.groups)
    else:
        scratch = take_cells(&job, block.groups, sgemm)  # noqa: F841 - held while the job runs
    train_team(&job, threads, <team_share *>&shares[0])


def openmp():
    """Whether this build has OpenMP."""
    return bool(has_openmp())

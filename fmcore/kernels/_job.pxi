# What is trained on and with, and what every kernel does with a row's score and a weight's gradient.


ctypedef void (*gemm)(char *trans_a, char *trans_b, int *m, int *n, int *k, float *alpha, float *a, int *lda, float *b,
                      int *ldb, float *beta, float *c, int *ldc) noexcept nogil  # as BLAS has it


cdef struct Rates:
    rate bias
    rate linear
    rate factors


cdef struct Cells:          # what a job has of a dense block
    const float *values     # X (rows, stride); NULL: the block is sparse
    const uint8_t *present  # (mini-batches, stride): whether any row of the mini-batch holds the feature
    int columns
    int stride
    float *linear           # w_i of each column i, (stride,), 0 beyond the last
    float *squares          # sum_f v_if^2, likewise
    float *sums             # sum_r g_r x_ri over the rows r of a mini-batch, g being their gradients
    float *square_sums      # sum_r g_r x_ri^2
    float *products         # sum_r g_r x_ri s_rf, s being the rows' sums, (stride, k)
    gemm multiply


cdef struct Job:
    parameters parameters
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
    Cells cells
    const int32_t *shared       # of a sparse block, see `group`
    const int64_t *bounds
    const int32_t *features
    const int32_t *ends
    pair_list pairs
    float *scores
    float *losses
    float *sums                 # of the rows of one mini-batch, k each
    float *gradients            # of the rows of one mini-batch, with respect to the raw score
    float *kept                 # of the factors of one feature, for each share; see `kept_gradients`
    team_work work


cdef inline float *kept_gradients(Job *job, int share) noexcept nogil:
    """Room for a gradient (k,), where no other share has a number on its cache lines."""
    return job.kept + <int64_t>share * (job.parameters.k + LINE)


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


cdef inline void settle(Job *job, int64_t m, int64_t row, float score) noexcept nogil:
    """Note the score of a row of mini-batch m, its loss, and the gradient with respect to the score."""
    cdef int64_t first = job.starts[m]
    cdef float rescale = job.rescale if job.rescale > 0 else 1 / <float>(job.starts[m + 1] - first)
    cdef float weight = 1 if job.weights == NULL else job.weights[row]
    cdef float gradient, loss = 0
    if job.logistic:
        gradient = log_loss(score, job.labels[row], &loss)
    else:
        gradient = squared_loss(score, job.labels[row], &loss)
    job.scores[row] = score
    job.losses[row] = weight * loss
    job.gradients[row - first] = rescale * weight * gradient


cdef struct Waiting:    # linear weights whose gradient is known, moved LANES at a time
    float *rows[LANES]
    float gradients[LANES]
    int count


cdef inline void move_waiting(Waiting *waiting, const rate *by) noexcept nogil:
    move_scattered(by, waiting.rows, waiting.gradients, waiting.count)
    waiting.count = 0


cdef inline void wait_to_move(Waiting *waiting, const rate *by, float *row, float gradient) noexcept nogil:
    waiting.rows[waiting.count], waiting.gradients[waiting.count] = row, gradient
    waiting.count += 1
    if waiting.count == LANES:
        move_waiting(waiting, by)


cdef inline void move_bias(Job *job, const rate *by, int64_t rows) noexcept nogil:
    cdef float gradient = 0
    cdef int64_t row
    for row in range(rows):
        gradient += job.gradients[row]
    move_scattered(by, &job.parameters.bias, &gradient, 1)

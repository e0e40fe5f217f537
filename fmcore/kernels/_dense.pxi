# Dense blocks: the rows of a mini-batch as a matrix X, its sums and gradients as matrix products through BLAS.
#
# Every product is of a fixed piece of rows or columns, whose size the number of threads has no part in, and BLAS itself
# runs in one thread: the same bits come out for any team. X is stored with its columns rounded up to PIECE.


cdef enum:
    ROWS = 64        # most rows of one product
    COLUMNS = 64     # of one product, some of PIECE
    PIECE = 32       # columns that one pass over a mini-batch sums up, in PARTS lanes
    PARTS = 4
    SMALL = 1000000  # multiplications up to which OpenBLAS has kernels that need no copies of their matrices
    DEPTH = 32       # least terms of one product's sums


cdef int64_t fill_mini_batch(const Rows *rows, int64_t first, int64_t last, int stride, int64_t *last_row,
                             float *values, uint8_t *present) noexcept nogil:
    """Write the rows first .. last of X and the features they hold; return how many indices a row holds twice."""
    cdef int64_t row, j, repeated = 0
    cdef int32_t column
    for row in range(first, last):
        for j in range(rows.indptr[row], rows.indptr[row + 1]):
            column = rows.indices[j]
            repeated += last_row[column] == row + 1
            last_row[column] = row + 1
            present[column] = 1
            values[row * stride + column] = 1 if rows.values == NULL else rows.values[j]
    return repeated


def matrix(batch, const int64_t[::1] starts, float[:, ::1] values, int threads):
    """Write a batch into zeros (rows, stride); which features each mini-batch holds, uint8 (mini-batches, stride).

    None where a row holds an index twice: these are two non-zeros, which a matrix cannot tell apart.
    """
    cdef int64_t batches = starts.shape[0] - 1, m, repeated = 0
    cdef int stride = values.shape[1]
    cdef Rows rows = rows_of(batch.indptr, batch.indices, batch.values)
    cdef uint8_t[:, ::1] present = np.zeros((batches, stride), np.uint8)
    cdef int64_t[:, ::1] last_row = np.zeros((threads, stride), np.int64)  # that held a column, counted from 1
    for m in prange(batches, nogil=True, num_threads=threads, schedule="dynamic", chunksize=16):
        repeated += fill_mini_batch(&rows, starts[m], starts[m + 1], stride, &last_row[threadid(), 0], &values[0, 0],
                                    &present[m, 0])
    return None if repeated else np.asarray(present)


cdef inline int64_t pieces(int64_t size, int64_t piece) noexcept nogil:
    return (size + piece - 1) // piece


cdef inline void look_at_column(Cells *cells, const parameters *p, int column) noexcept nogil:
    """Note w and sum_f v_f^2 of a column, where the next forward pass reads them in a row."""
    cdef const float *factors = factors_at(p, column)
    cdef lanes total = lanes_zero(), v
    cdef int part
    for part in range(p.k // LANES):
        v = lanes_load(factors + part * LANES)
        total = lanes_add(total, lanes_multiply(v, v))
    cells.squares[column] = lanes_sum(total)
    cells.linear[column] = linear_at(p, column)[0]


cdef inline float score_cells(const Cells *cells, const float *x, const float *sums, int k) noexcept nogil:
    """y(x) of a row without the bias, given sum_i v_if x_i (Rendle 2010, lemma 3.1)."""
    cdef lanes[PARTS] linear, squares
    cdef lanes v, total = lanes_zero()
    cdef int piece, part, at
    for part in range(PARTS):
        linear[part] = squares[part] = lanes_zero()
    for piece in range(cells.stride // PIECE):
        for part in range(PARTS):
            at = piece * PIECE + part * LANES
            v = lanes_load(x + at)
            linear[part] = lanes_add(linear[part], lanes_multiply(v, lanes_load(cells.linear + at)))
            squares[part] = lanes_add(
                squares[part], lanes_multiply(lanes_multiply(v, v), lanes_load(cells.squares + at)))
    for part in range(1, PARTS):
        linear[0] = lanes_add(linear[0], linear[part])
        squares[0] = lanes_add(squares[0], squares[part])
    for part in range(k // LANES):
        v = lanes_load(sums + part * LANES)
        total = lanes_add(total, lanes_multiply(v, v))
    return lanes_sum(linear[0]) + 0.5 * lanes_sum(lanes_subtract(total, squares[0]))


cdef void multiply(Job *job, char *transposed, int n, int depth, const float *a, int a_step, const float *x, int x_step,
                   float *product) noexcept nogil:
    """product (n, k) = the sum over i < depth of x_i (n,) times a_i (k,), which begin at i x_step and i a_step.

    transposed: "N" where the numbers of x_i are rows of X apart, "T" where they are neighbours.
    """
    cdef int *k = &job.parameters.k
    cdef int piece = max(DEPTH, SMALL // (n * k[0])), number, size
    cdef float one = 1, more = 0
    for number in range(<int>pieces(depth, piece)):
        size = min(piece, depth - number * piece)
        job.cells.multiply("N", transposed, k, &n, &size, &one, <float *>a + <int64_t>number * piece * a_step, &a_step,
                           <float *>x + <int64_t>number * piece * x_step, &job.cells.stride, &more, product, k)
        more = 1


cdef void forward_dense(Job *job, int64_t m, int share, int shares) noexcept nogil:
    """Scores, losses and score gradients of this share's pieces of the rows of mini-batch m.

    Afterwards job.sums holds each row's sums times its gradient.
    """
    cdef parameters *p = &job.parameters
    cdef int64_t first = job.starts[m], last = job.starts[m + 1], number, low, row
    cdef int64_t piece = max(2 * LANES, min(ROWS, pieces(last - first, 8 * LANES) * LANES))  # enough for a team
    cdef const float *x
    cdef float *sums
    cdef int part
    cdef int64_t size = pieces(last - first, piece)
    for number in range(size * share // shares, size * (share + 1) // shares):
        low = first + number * piece
        multiply(job, "N", <int>min(piece, last - low), job.cells.columns, p.factors, p.factors_step,
                 job.cells.values + low * job.cells.stride, 1, job.sums + (low - first) * p.k)
        for row in range(low, min(low + piece, last)):
            x, sums = job.cells.values + row * job.cells.stride, job.sums + (row - first) * p.k
            settle(job, m, row, p.bias[0] + score_cells(&job.cells, x, sums, p.k))
            for part in range(p.k // LANES):
                lanes_store(sums + part * LANES,
                            lanes_scale(lanes_load(sums + part * LANES), job.gradients[row - first]))


cdef inline void sum_columns(const float *x, int stride, const float *gradients, int rows, float *linear,
                             float *squares) noexcept nogil:
    """sum_r g_r x_rc and sum_r g_r x_rc^2 for a PIECE of columns c that begin at x."""
    cdef lanes[PARTS] once, twice
    cdef lanes v, c
    cdef int part, row
    for part in range(PARTS):
        once[part] = twice[part] = lanes_zero()
    for row in range(rows):
        for part in range(PARTS):
            v = lanes_load(x + <int64_t>row * stride + part * LANES)
            c = lanes_scale(v, gradients[row])
            once[part] = lanes_add(once[part], c)
            twice[part] = lanes_add(twice[part], lanes_multiply(c, v))
    for part in range(PARTS):
        lanes_store(linear + part * LANES, once[part])
        lanes_store(squares + part * LANES, twice[part])


cdef void move_columns(Job *job, const Rates *rates, const uint8_t *present, int first, int last) noexcept nogil:
    """One optimizer step for each present column of first .. last, given their products and sums.

    A column's products may become its gradient in place.
    """
    cdef Cells *cells = &job.cells
    cdef parameters *p = &job.parameters
    cdef factor_row to
    cdef int column, part, start
    cdef Waiting waiting
    waiting.count = 0
    for column in range(first, last):
        if present[column]:
            to = factor_row_at(p, column, cells.products + <int64_t>column * p.k)
            for part in range(p.k // LANES):
                start = part * LANES
                move_factors(&rates.factors, &to, start, lanes_subtract(
                    lanes_load(to.gradients + start),
                    lanes_scale(lanes_load(to.factors + start), cells.square_sums[column])))
            move_rest(&rates.factors, &to)
            wait_to_move(&waiting, &rates.linear, linear_at(p, column), cells.sums[column])
    move_waiting(&waiting, &rates.linear)
    for column in range(first, last):
        if present[column]:
            look_at_column(cells, p, column)


cdef void backward_dense(Job *job, const Rates *rates, int64_t m, int share, int shares) noexcept nogil:
    """Steps for this share's pieces of the columns that mini-batch m holds; the first share also moves the bias."""
    cdef Cells *cells = &job.cells
    cdef const float *x = cells.values + job.starts[m] * cells.stride
    cdef int rows = <int>(job.starts[m + 1] - job.starts[m]), k = job.parameters.k, number, first, last, part
    cdef int size = <int>pieces(cells.columns, COLUMNS)
    if share == 0:
        move_bias(job, &rates.bias, rows)
    for number in range(size * share // shares, size * (share + 1) // shares):
        first, last = number * COLUMNS, min((number + 1) * COLUMNS, cells.columns)
        multiply(job, "T", last - first, rows, job.sums, k, x + first, cells.stride,
                 cells.products + <int64_t>first * k)
        for part in range(first // PIECE, pieces(last, PIECE)):
            sum_columns(x + part * PIECE, cells.stride, job.gradients, rows, cells.sums + part * PIECE,
                        cells.square_sums + part * PIECE)
        move_columns(job, rates, cells.present + m * cells.stride, first, last)


cdef object take_cells(Job *job, cells, sgemm):
    """Make a job one of a dense block; returns the memory that it works in, to be held as long."""
    cdef const float[:, ::1] values = cells.values
    cdef const uint8_t[:, ::1] present = cells.present
    cdef Cells *taken = &job.cells
    cdef int column
    taken.columns, taken.stride = cells.columns, <int>values.shape[1]
    taken.values, taken.present = &values[0, 0], &present[0, 0]
    taken.multiply = <gemm>PyCapsule_GetPointer(sgemm, PyCapsule_GetName(sgemm))
    cdef float[:, ::1] scratch = np.zeros((4 + job.parameters.k, taken.stride), np.float32)
    taken.linear, taken.squares, taken.sums, taken.square_sums = (
        &scratch[0, 0], &scratch[1, 0], &scratch[2, 0], &scratch[3, 0])
    taken.products = &scratch[4, 0]
    for column in range(taken.columns):
        look_at_column(taken, &job.parameters, column)
    return scratch

/* Dense blocks: the rows of a mini-batch as a matrix X, its sums and gradients as matrix products through BLAS.

   Every product is of a fixed piece of rows or columns, whose size does not depend on the number of threads, and BLAS
   itself runs in one thread: the bits are the same for any team. X is stored with its columns rounded up to PIECE. */
#ifndef FMKIT_DENSE_H
#define FMKIT_DENSE_H

#include "fm_dense.h"
#include "pass.h"
#include "rows.h"
#include "team.h"

enum {
    ROWS = 64,       /* most rows of one product */
    COLUMNS = 64,    /* of one product, some of PIECE */
    SMALL = 1000000, /* multiplications up to which OpenBLAS has kernels that need no copies of their matrices */
    DEPTH = 32,      /* least terms of one product's sums */
    CUBES = ROWS * COLUMNS, /* floats */
};

/* BLAS' sgemm. */
typedef void (*gemm)(char *trans_a, char *trans_b, int *m, int *n, int *k, float *alpha, float *a, int *lda, float *b,
                     int *ldb, float *beta, float *c, int *ldc);

/* The rows of a block as a matrix, and what a pass over it works with. */
typedef struct {
    const float *values;    /* X (rows, stride) */
    const uint8_t *present; /* (mini-batches, stride): whether any row of the mini-batch holds the feature */
    int count;              /* of columns */
    int stride;             /* floats from one row of X to the next */
    columns columns;
    gemm multiply;
} dense_block;

/* Write the rows first .. last of X and the features they hold; return how many indices a row holds twice. last_row
   (stride,): the last row that held a column, counted from 1. */
static int64_t fill_mini_batch(const csr *rows, int64_t first, int64_t last, int stride, int64_t *last_row,
                               float *values, uint8_t *present) {
    int64_t repeated = 0;
    for (int64_t row = first; row < last; row++)
        for (int64_t j = rows->indptr[row]; j < rows->indptr[row + 1]; j++) {
            int32_t column = rows->indices[j];
            repeated += last_row[column] == row + 1;
            last_row[column] = row + 1;
            present[column] = 1;
            values[row * stride + column] = rows->values == NULL ? 1 : rows->values[j];
        }
    return repeated;
}

/* Write all rows and, for each of `count` mini-batches, the features it holds; return how many indices a row holds
   twice. values (rows, stride), present (count, stride) and last_row (threads, stride) begin as zeros. */
static int64_t fill_matrix(const csr *rows, const int64_t *starts, int64_t count, int stride, int64_t *last_row,
                           float *values, uint8_t *present, int threads) {
    int64_t repeated = 0;
    (void)threads; /* without OpenMP */
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16) reduction(+ : repeated)
#endif
    for (int64_t m = 0; m < count; m++)
        repeated += fill_mini_batch(rows, starts[m], starts[m + 1], stride,
                                    last_row + (int64_t)thread_number() * stride, values, present + m * stride);
    return repeated;
}

/* Compute product (n, k): the sum over i < depth of x_i (n,) times a_i (k,), which begin at i x_step and i a_step.
   transposed: "N" where the numbers of x_i are rows of X apart, "T" where they are neighbours. */
static void multiply(const dense_block *block, int k, char *transposed, int n, int depth, const float *a, int a_step,
                     const float *x, int x_step, float *product) {
    int piece = (int)larger(DEPTH, SMALL / (n * k)), stride = block->stride;
    float one = 1, more = 0;
    for (int number = 0; number < pieces_of(depth, piece); number++) {
        int size = (int)smaller(piece, depth - number * piece);
        block->multiply("N", transposed, &k, &n, &size, &one, (float *)a + (int64_t)number * piece * a_step, &a_step,
                        (float *)x + (int64_t)number * piece * x_step, &stride, &more, product, &k);
        more = 1;
    }
}

/* Compute sum_r h_r x_r^3 q_r (n, k) over the rows of a mini-batch, x_r being n columns of X from x on. curved: h q of
   each row (rows, k). cubes: room for CUBES. */
static void multiply_cubes(const dense_block *block, int k, int n, int rows, const float *curved, const float *x,
                           float *cubes, float *product) {
    int stride = n;
    float one = 1, more = 0;
    for (int done = 0; done < rows; done += ROWS) {
        int size = (int)smaller(ROWS, rows - done);
        for (int row = 0; row < size; row++)
            for (int column = 0; column < n; column++) {
                float v = x[(int64_t)(done + row) * block->stride + column];
                cubes[row * n + column] = v * v * v;
            }
        block->multiply("N", "T", &k, &n, &size, &one, (float *)curved + (int64_t)done * k, &k, cubes, &stride, &more,
                        product, &k);
        more = 1;
    }
}

/* Write h q of a row of the mini-batch. */
static inline void scale_sums(const block_pass *pass, int64_t row) {
    int k = pass->parameters.k;
    float curvature = pass->scratch.terms[row * LANES + CURVATURE];
    for (int f = 0; f < k; f += LANES)
        lanes_store(pass->scratch.curved + row * k + f, lanes_load(pass->scratch.sums + row * k + f) * curvature);
}

/* Compute scores, losses and score gradients of this share's pieces of the rows of mini-batch m. Afterwards
   scratch.sums holds each row's sums times its gradient, and scratch.curved, where there is, those times h. */
static void forward_dense(const block_pass *pass, const dense_block *block, int64_t m, int share, int shares) {
    const parameters *p = &pass->parameters;
    int64_t first = pass->mini_batches.starts[m], last = pass->mini_batches.starts[m + 1], stride = block->stride;
    int64_t piece = larger(2 * LANES, smaller(ROWS, pieces_of(last - first, 8 * LANES) * LANES)); /* for a team */
    int64_t size = pieces_of(last - first, piece);
    for (int64_t number = size * share / shares; number < size * (share + 1) / shares; number++) {
        int64_t low = first + number * piece, high = smaller(low + piece, last);
        multiply(block, p->k, "N", (int)(high - low), block->count, p->factors, p->factors_step,
                 block->values + low * stride, 1, pass->scratch.sums + (low - first) * p->k);
        for (int64_t row = low; row < high; row++) {
            float *sums = pass->scratch.sums + (row - first) * p->k;
            const float *x = block->values + row * stride;
            row_size size = p->evidence ? size_of_cells(&block->columns, x) : (row_size){0, 0};
            record_score(pass, m, row, p->bias[0] + score_cells(&block->columns, x, sums, p->k), sums, size);
            if (p->evidence) scale_sums(pass, row - first);
            for (int f = 0; f < p->k; f += LANES)
                lanes_store(sums + f, lanes_load(sums + f) * pass->scratch.gradients[row - first]);
        }
    }
}

/* One optimizer step for each of this share's columns that mini-batch m holds; the first share also steps the bias. */
static void backward_dense(const block_pass *pass, const dense_block *block, const rates *by, int64_t m, int share,
                           int shares) {
    const columns *c = &block->columns;
    const scratch *scratch = &pass->scratch;
    int64_t start = pass->mini_batches.starts[m];
    const float *x = block->values + start * block->stride;
    int rows = (int)(pass->mini_batches.starts[m + 1] - start), k = pass->parameters.k;
    int size = (int)pieces_of(block->count, COLUMNS);
    if (share == 0) step_bias(pass, &by->bias, rows);
    for (int number = size * share / shares; number < size * (share + 1) / shares; number++) {
        int first = number * COLUMNS, last = (int)smaller(first + COLUMNS, block->count);
        multiply(block, k, "T", last - first, rows, scratch->sums, k, x + first, block->stride,
                 c->products + (int64_t)first * k);
        for (int at = first; at < last; at += PIECE)
            sum_columns(x + at, block->stride, scratch->gradients, rows, c->sums + at, c->square_sums + at);
        if (pass->parameters.evidence) {
            for (int at = first; at < last; at += LANES)
                sum_cells(x + at, block->stride, scratch->terms, rows, &c->by_rows, at);
            multiply_cubes(block, k, last - first, rows, scratch->curved, x + first, scratch->cubes + share * CUBES,
                           c->by_rows.cross + (int64_t)first * k);
        }
        step_columns(c, &pass->parameters, by, &pass->rule, block->present + m * block->stride, first, last);
    }
}

#endif

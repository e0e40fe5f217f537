/* The family: factorization machines (Rendle 2010). Its score of a row, its gradient and step of a feature over the
   rows that hold it, and what is prefetched for both; fm_dense.h has the same over the columns of a matrix.

   Factors are taken in parts of as many LANES as registers hold, so that each index is read once a part. */
#ifndef FMKIT_FM_H
#define FMKIT_FM_H

#include <stddef.h>
#include <stdint.h>

#include "lanes.h"
#include "optimizers.h"
#include "rows.h"

enum {
    MOST_PARTS = 4,         /* of LANES factors in one loop: sums and squares of four fill half of AVX2's registers */
    LINE = 16,              /* floats of a cache line */
    PREFETCH_NON_ZEROS = 48 /* between a prefetch and its use: about one row of click data */
};

/* The model's tensors. For each feature a row that begins with its weight and, elsewhere, one that begins with its k
   factors; state stands behind them, but of an optimizer that keeps one number for all factors as the last of the
   weight's row, which is prefetched anyway. So one access to memory fetches all of a feature. k is num_factors, while
   training rounded up to LANES (the padding stays 0); a model mapped from a file has rows without padding or state. */
typedef struct {
    float *bias;      /* (1 + slots,) */
    float *linear;    /* (features, linear_step) */
    float *factors;   /* (features, factors_step) */
    int k;
    int linear_step;  /* floats from one feature's row to the next */
    int factors_step; /* likewise */
} parameters;

/* Rows and values of non-zeros, a pair each, the rows counted within their mini-batch. */
typedef struct {
    const void *rows;    /* int32 where wide, else uint16 */
    const float *values; /* NULL: every value is 1 */
    int wide;
} pair_list;

/* Prefetch the cache lines from .. to of a row of numbers. This and its callers must be inlined: calls of a function
   that does nothing but prefetch have no effect that gcc knows of, and it leaves them out. */
FMKIT_INLINE void prefetch(const float *first, int from, int to) {
    for (int line = from; line < to; line++) __builtin_prefetch(first + line * LINE);
}

/* The same for lines that will be written: caches of other processors give them up at once. To ask for that only when
   they are written takes a second message to each of those and back, 400 ns where they share no cache. */
FMKIT_INLINE void prefetch_to_write(const float *first, int from, int to) {
    for (int line = from; line < to; line++) __builtin_prefetch(first + line * LINE, 1);
}

FMKIT_INLINE int lines_of(ptrdiff_t floats) { return (int)((floats + LINE - 1) / LINE); }

FMKIT_INLINE float *linear_at(const parameters *p, int64_t feature) { return p->linear + feature * p->linear_step; }

FMKIT_INLINE float *factors_at(const parameters *p, int64_t feature) { return p->factors + feature * p->factors_step; }

/* gradients: (k,), of one thread. */
FMKIT_INLINE factor_row factor_row_at(const parameters *p, int64_t feature, float *gradients) {
    return (factor_row){factors_at(p, feature), linear_at(p, feature) + p->linear_step - 1, gradients, p->k};
}

/* Prefetch what steps for these features access and scores do not. */
FMKIT_INLINE void prefetch_state(const parameters *p, const int32_t *indices, int64_t count) {
    int from = lines_of(p->k), to = lines_of(p->factors_step);
    for (int64_t j = 0; j < count && from < to; j++) prefetch_to_write(factors_at(p, indices[j]), from, to);
}

/* Prefetch all that the step of a feature accesses. */
FMKIT_INLINE void prefetch_feature(const parameters *p, int64_t feature) {
    prefetch_to_write(linear_at(p, feature), 0, 1);
    prefetch_to_write(factors_at(p, feature), 0, lines_of(p->factors_step));
}

/* Prefetch the sums of so many rows that other threads may have written. */
FMKIT_INLINE void prefetch_sums(const parameters *p, const float *sums, int64_t rows) {
    prefetch(sums, 0, lines_of(rows * p->k));
}

/* Prefetch the sums of a row that other threads have read, to overwrite them. */
FMKIT_INLINE void prefetch_sums_to_write(const parameters *p, const float *sums) {
    prefetch_to_write(sums, 0, lines_of(p->k));
}

/* w_i x_i of non-zero j of a row; what scores need of the feature PREFETCH_NON_ZEROS further on is prefetched
   meanwhile. Constants to the compiler, here and below, where they are common: k, the steps, binary (every value is 1),
   first, parts, wide. */
FMKIT_INLINE float linear_term(const parameters *p, const row_part *row, int64_t j, int k, ptrdiff_t linear_step,
                               ptrdiff_t step, int binary) {
    const int32_t *later = row->indices + j + PREFETCH_NON_ZEROS;
    int64_t i = *(later < row->stop ? later : row->stop - 1);
    __builtin_prefetch(p->linear + i * linear_step);
    prefetch(p->factors + i * step, 0, lines_of(k));
    return p->linear[row->indices[j] * linear_step] * (binary ? 1 : row->values[j]);
}

/* 1/2 sum_f [(sum_i v_if x_i)^2 - sum_i v_if^2 x_i^2] over `parts` LANES of factors from f on, and, where these are the
   first, sum_i w_i x_i; sums receives sum_i v_if x_i (Rendle 2010, Factorization Machines, lemma 3.1). One loop does
   both, which spreads its prefetches over more time. */
FMKIT_INLINE float terms_of(const parameters *p, const row_part *row, int f, float *sums, int k, ptrdiff_t linear_step,
                            ptrdiff_t step, int binary, int parts, int first) {
    lanes total[MOST_PARTS], squares[MOST_PARTS], all = lanes_zero();
    float linear = 0;
    for (int part = 0; part < parts; part++) total[part] = squares[part] = lanes_zero();
    for (int64_t j = 0; j < row->count; j++) {
        const float *v = p->factors + row->indices[j] * step + f;
        if (first) linear += linear_term(p, row, j, k, linear_step, step, binary);
        for (int part = 0; part < parts; part++) {
            lanes x = lanes_load(v + part * LANES);
            if (!binary) x *= row->values[j];
            total[part] += x;
            squares[part] += x * x;
        }
    }
    for (int part = 0; part < parts; part++) {
        lanes_store(sums + f + part * LANES, total[part]);
        all += total[part] * total[part] - squares[part];
    }
    return linear + 0.5f * lanes_sum(all);
}

/* The same over the last factors, fewer than LANES; sums has room for LANES. */
FMKIT_INLINE float terms_of_rest(const parameters *p, const row_part *row, int f, float *sums, int k,
                                 ptrdiff_t linear_step, ptrdiff_t step, int binary) {
    lanes total = lanes_zero(), squares = lanes_zero();
    float linear = 0;
    for (int64_t j = 0; j < row->count; j++) {
        lanes x = lanes_load_part(p->factors + row->indices[j] * step + f, k - f);
        if (f == 0) linear += linear_term(p, row, j, k, linear_step, step, binary);
        if (!binary) x *= row->values[j];
        total += x;
        squares += x * x;
    }
    lanes_store(sums + f, total);
    return linear + 0.5f * lanes_sum(total * total - squares);
}

FMKIT_INLINE float terms_from(const parameters *p, const row_part *row, int f, float *sums, int k,
                              ptrdiff_t linear_step, ptrdiff_t step, int binary, int parts) {
    return f ? terms_of(p, row, f, sums, k, linear_step, step, binary, parts, 0)
             : terms_of(p, row, f, sums, k, linear_step, step, binary, parts, 1);
}

FMKIT_INLINE float score_with(const parameters *p, const row_part *row, float *sums, int k, int linear_step, int step,
                              int binary) {
    float y = p->bias[0];
    int f = 0;
    for (; k - f >= 4 * LANES; f += 4 * LANES) y += terms_from(p, row, f, sums, k, linear_step, step, binary, 4);
    for (; k - f >= 2 * LANES; f += 2 * LANES) y += terms_from(p, row, f, sums, k, linear_step, step, binary, 2);
    for (; k - f >= LANES; f += LANES) y += terms_from(p, row, f, sums, k, linear_step, step, binary, 1);
    if (f < k) y += terms_of_rest(p, row, f, sums, k, linear_step, step, binary);
    return y;
}

/* y(x) of a row, and in sums, rounded up to LANES, sum_i v_if x_i of each factor. */
static inline float score_row(const parameters *p, const row_part *row, float *sums) {
    int k = p->k, linear_step = p->linear_step, step = p->factors_step, binary = row->values == NULL;
    if (binary && k == 8 && linear_step == 2 && step == 16) return score_with(p, row, sums, 8, 2, 16, 1);
    if (binary && k == 16 && linear_step == 2 && step == 32) return score_with(p, row, sums, 16, 2, 32, 1);
    if (binary && k == 8 && linear_step == 3 && step == 8) return score_with(p, row, sums, 8, 3, 8, 1);
    if (binary && k == 16 && linear_step == 3 && step == 16) return score_with(p, row, sums, 16, 3, 16, 1);
    if (binary && k == 16 && linear_step == 1 && step == 16) return score_with(p, row, sums, 16, 1, 16, 1);
    return binary ? score_with(p, row, sums, k, linear_step, step, 1)
                  : score_with(p, row, sums, k, linear_step, step, 0);
}

/* One step for `parts` LANES of a feature's factors, from f on; the pairs first .. last are summed in their order
   (Rendle 2010, equation 4). gradients: of each row's score; sums: of each row, k apart. Returns the gradient of the
   linear weight. All from `pairs` on are constants to the compiler. */
FMKIT_INLINE float step_parts(const rate *by, const factor_row *to, int f, const float *gradients, const float *sums,
                              int64_t first, int64_t last, const pair_list *pairs, int parts, int binary, int wide) {
    lanes total[MOST_PARTS];
    float linear = 0, square = 0;
    int k = to->k;
    for (int p = 0; p < parts; p++) total[p] = lanes_zero();
    for (int64_t j = first; j < last; j++) {
        int64_t row = wide ? ((const int32_t *)pairs->rows)[j] : ((const uint16_t *)pairs->rows)[j];
        float x = binary ? 1 : pairs->values[j], c = gradients[row] * x;
        linear += c;
        square += c * x;
        for (int p = 0; p < parts; p++) total[p] += lanes_load(sums + row * k + f + p * LANES) * c;
    }
    for (int p = 0; p < parts; p++, f += LANES)
        step_factors(by, to, f, total[p] - lanes_load(to->factors + f) * square);
    return linear;
}

FMKIT_INLINE float step_all(const rate *by, const factor_row *to, const float *gradients, const float *sums,
                            int64_t first, int64_t last, const pair_list *pairs, int binary, int wide) {
    float linear = 0;
    int f = 0, k = to->k;
    for (; k - f >= 4 * LANES; f += 4 * LANES)
        linear = step_parts(by, to, f, gradients, sums, first, last, pairs, 4, binary, wide);
    for (; k - f >= 2 * LANES; f += 2 * LANES)
        linear = step_parts(by, to, f, gradients, sums, first, last, pairs, 2, binary, wide);
    for (; k - f >= LANES; f += LANES)
        linear = step_parts(by, to, f, gradients, sums, first, last, pairs, 1, binary, wide);
    finish_factors(by, to);
    return linear;
}

/* One step for all factors of a feature that several rows hold; k is a multiple of LANES. */
static inline float step_shared(const rate *by, const factor_row *to, const float *gradients, const float *sums,
                                int64_t first, int64_t last, const pair_list *pairs) {
    if (pairs->values != NULL)
        return pairs->wide ? step_all(by, to, gradients, sums, first, last, pairs, 0, 1)
                           : step_all(by, to, gradients, sums, first, last, pairs, 0, 0);
    return pairs->wide ? step_all(by, to, gradients, sums, first, last, pairs, 1, 1)
                       : step_all(by, to, gradients, sums, first, last, pairs, 1, 0);
}

/* One step for all factors of a feature that one row alone holds, with value x; gradient and sums are that row's. */
static inline float step_lone(const rate *by, const factor_row *to, float gradient, const float *sums, float x) {
    float c = gradient * x;
    for (int f = 0; f < to->k; f += LANES)
        step_factors(by, to, f, lanes_load(sums + f) * c - lanes_load(to->factors + f) * (c * x));
    finish_factors(by, to);
    return c;
}

#endif

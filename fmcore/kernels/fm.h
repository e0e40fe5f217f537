/* The family: factorization machines (Rendle 2010). Its parameters and its score of a row, with what is prefetched for
   it; fm_step.h has its steps, and fm_dense.h both over the columns of a matrix.

   Factors are taken in parts of as many LANES as registers hold, so that each index is read once a part. */
#ifndef FMKIT_FM_H
#define FMKIT_FM_H

#include <stddef.h>
#include <stdint.h>

#include "lanes.h"
#include "optimizers.h"
#include "row_rule.h"
#include "rows.h"

enum {
    MOST_PARTS = 4,         /* of LANES factors in one loop: sums and squares of four fill half of AVX2's registers */
    LINE = 16,              /* floats of a cache line */
    CHAINS = 4,             /* sums side by side, none of which waits for another's last addition */
    PREFETCH_NON_ZEROS = 48 /* between a prefetch and its use: about one row of click data */
};

/* The model's tensors. For each feature a row that begins with its weight and, elsewhere, one that begins with its k
   factors; state stands behind them, but of an optimizer that keeps one number for all factors behind the weight's
   state, in a row that is prefetched anyway; the last EVIDENCE numbers of that row are those of row_rule.h, where they
   are kept. So one access to memory fetches all of a feature. k is num_factors, while training rounded up to LANES (the
   padding stays 0); a model mapped from a file has rows without padding or state. */
typedef struct {
    float *bias;      /* (1 + slots,) */
    float *linear;    /* (features, linear_step) */
    float *factors;   /* (features, factors_step) */
    int k;
    int linear_step;  /* floats from one feature's row to the next */
    int factors_step; /* likewise */
    int evidence;     /* EVIDENCE, or 0 */
} parameters;

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

FMKIT_INLINE float *evidence_at(const parameters *p, int64_t feature) {
    return linear_at(p, feature) + p->linear_step - EVIDENCE;
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
    if (binary && k == 8 && linear_step == 4 && step == 16) return score_with(p, row, sums, 8, 4, 16, 1);
    if (binary && k == 16 && linear_step == 4 && step == 32) return score_with(p, row, sums, 16, 4, 32, 1);
    if (binary && k == 8 && linear_step == 3 && step == 8) return score_with(p, row, sums, 8, 3, 8, 1);
    if (binary && k == 16 && linear_step == 3 && step == 16) return score_with(p, row, sums, 16, 3, 16, 1);
    if (binary && k == 16 && linear_step == 1 && step == 16) return score_with(p, row, sums, 16, 1, 16, 1);
    return binary ? score_with(p, row, sums, k, linear_step, step, 1)
                  : score_with(p, row, sums, k, linear_step, step, 0);
}

/* Return the sums of row_rule.h over a row, whose features have been fetched to score it. */
static inline row_size size_of(const parameters *p, const row_part *row) {
    float squares[CHAINS] = {0}, variances[CHAINS] = {0};
    int64_t j = 0, whole = row->count - row->count % CHAINS;
    if (row->values == NULL) {
        for (; j < whole; j += CHAINS)
            for (int c = 0; c < CHAINS; c++) variances[c] += evidence_at(p, row->indices[j + c])[1];
        for (; j < row->count; j++) variances[0] += evidence_at(p, row->indices[j])[1];
        return (row_size){(float)row->count, (variances[0] + variances[1]) + (variances[2] + variances[3])};
    }
    for (; j < row->count; j++) {
        float square = row->values[j] * row->values[j];
        squares[j % CHAINS] += square;
        variances[j % CHAINS] += square * evidence_at(p, row->indices[j])[1];
    }
    return (row_size){(squares[0] + squares[1]) + (squares[2] + squares[3]),
                      (variances[0] + variances[1]) + (variances[2] + variances[3])};
}

#endif

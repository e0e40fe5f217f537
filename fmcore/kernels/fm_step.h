/* The family's gradient and step of a feature over the rows that hold it, or in the one row that does, and what is
   prefetched for them. Factors are taken in parts, as in fm.h. */
#ifndef FMKIT_FM_STEP_H
#define FMKIT_FM_STEP_H

#include <stdint.h>

#include "fm.h"
#include "lanes.h"
#include "optimizers.h"
#include "row_rule.h"

/* Rows and values of non-zeros, a pair each, the rows counted within their mini-batch. */
typedef struct {
    const void *rows;    /* int32 where wide, else uint16 */
    const float *values; /* NULL: every value is 1 */
    int wide;
} pair_list;

/* gradients: (k,), of one thread. k: that of the parameters, a constant to the compiler where it is common. */
FMKIT_INLINE factor_row factor_row_at(const parameters *p, int64_t feature, float *gradients, int k) {
    float *state = linear_at(p, feature) + p->linear_step - p->evidence - 1;
    return (factor_row){factors_at(p, feature), state, gradients, k};
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

/* What the rows of a mini-batch have for the steps of their features. */
typedef struct {
    const float *gradients; /* (rows,): of each row's score */
    const float *sums;      /* (rows, k) */
    const float *terms;     /* (rows, LANES): of row_rule.h; NULL where they are not needed */
} row_results;

FMKIT_INLINE int64_t row_of_pair(const pair_list *pairs, int64_t j, int wide) {
    return wide ? ((const int32_t *)pairs->rows)[j] : ((const uint16_t *)pairs->rows)[j];
}

/* Return the sums of row_rule.h over the pairs first .. last. */
FMKIT_INLINE feature_sums sums_of(const float *terms, int64_t first, int64_t last, const pair_list *pairs, int binary,
                                  int wide) {
    lanes plain = lanes_zero(), once = lanes_zero(), twice = lanes_zero(), fourth = lanes_zero(), other = lanes_zero();
    int64_t j = first;
    if (binary) {
        for (; j + 1 < last; j += 2) {
            plain += lanes_load(terms + row_of_pair(pairs, j, wide) * LANES);
            other += lanes_load(terms + row_of_pair(pairs, j + 1, wide) * LANES);
        }
        if (j < last) plain += lanes_load(terms + row_of_pair(pairs, j, wide) * LANES);
        once = twice = fourth = plain += other;
        j = last;
    }
    for (; j < last; j++) {
        lanes row = lanes_load(terms + row_of_pair(pairs, j, wide) * LANES);
        float x = pairs->values[j];
        plain += row * (float)(x != 0);
        once += row * x;
        row *= x * x;
        twice += row;
        fourth += row * (x * x);
    }
    return (feature_sums){once[GRADIENT],   twice[GRADIENT],  twice[SQUARE],
                          twice[VARIANCE], fourth[CURVATURE], plain[COUNT], plain[REACH]};
}

/* One step for `parts` LANES of a feature's factors, from f on; the pairs first .. last are summed in their order
   (Rendle 2010, equation 4). spread: receives what these factors add to sum_r h (|q - v x|^2 - |q|^2) x^2, where
   by_rows; known: the sums of row_rule.h there. Returns the gradient of the linear weight. All from `pairs` on are
   constants to the compiler. */
FMKIT_INLINE float step_parts(const rate *by, const factor_row *to, int f, const row_results *of, int64_t first,
                              int64_t last, const feature_sums *known, float *spread, const pair_list *pairs, int parts,
                              int binary, int wide, int by_rows) {
    lanes total[MOST_PARTS], cross[MOST_PARTS], moved = lanes_zero();
    float linear = 0, square = 0;
    int k = to->k;
    for (int p = 0; p < parts; p++) total[p] = cross[p] = lanes_zero();
    for (int64_t j = first; j < last; j++) {
        int64_t row = row_of_pair(pairs, j, wide);
        float x = binary ? 1 : pairs->values[j], c = of->gradients[row] * x;
        float b = by_rows ? of->terms[row * LANES + CURVATURE] * x * x * x : 0;
        if (!by_rows) {
            linear += c;
            square += c * x;
        }
        for (int p = 0; p < parts; p++) {
            lanes q = lanes_load(of->sums + row * k + f + p * LANES);
            total[p] += q * c;
            if (by_rows) cross[p] += q * b;
        }
    }
    if (by_rows) square = known->twice;
    for (int p = 0; p < parts; p++, f += LANES) {
        lanes v = lanes_load(to->factors + f);
        if (by_rows) moved += v * (v * known->fourth - 2 * cross[p]);
        step_factors(by, to, f, total[p] - v * square);
    }
    if (by_rows) *spread += lanes_sum(moved);
    return linear;
}

FMKIT_INLINE float step_all(const rate *by, const factor_row *to, const row_results *of, int64_t first, int64_t last,
                            const feature_sums *known, float *spread, const pair_list *pairs, int binary, int wide,
                            int by_rows) {
    float linear = 0;
    int f = 0, k = to->k;
    for (; k - f >= 4 * LANES; f += 4 * LANES)
        linear = step_parts(by, to, f, of, first, last, known, spread, pairs, 4, binary, wide, by_rows);
    for (; k - f >= 2 * LANES; f += 2 * LANES)
        linear = step_parts(by, to, f, of, first, last, known, spread, pairs, 2, binary, wide, by_rows);
    for (; k - f >= LANES; f += LANES)
        linear = step_parts(by, to, f, of, first, last, known, spread, pairs, 1, binary, wide, by_rows);
    finish_factors(by, to);
    return linear;
}

/* The step of all of a feature that several rows hold, its linear weight left to `linear`. */
FMKIT_INLINE void step_feature(const parameters *p, const rates *by, const row_rule *rule, int64_t feature, float *own,
                               const row_results *of, int64_t first, int64_t last, pending *linear,
                               const pair_list *pairs, int k, int binary, int wide, int by_rows) {
    factor_row to = factor_row_at(p, feature, own, k);
    float *weight = linear_at(p, feature);
    if (!by_rows) {
        float gradient = step_all(&by->factors, &to, of, first, last, NULL, NULL, pairs, binary, wide, 0);
        add_pending(linear, &by->linear, weight, gradient, 0, 0);
        return;
    }
    float *evidence = evidence_at(p, feature), spread = 0;
    feature_sums sums = sums_of(of->terms, first, last, pairs, binary, wide);
    feature_step step = step_by_rows(by, rule, evidence, &sums);
    int kept = evidence[1] > 0;
    if (kept && rule->tau > 0) step_all(&step.factors, &to, of, first, last, &sums, &spread, pairs, binary, wide, 1);
    else if (kept) step_all(&step.factors, &to, of, first, last, NULL, NULL, pairs, binary, wide, 0);
    finish_by_rows(rule, evidence, &step, sums.square + spread * by->factors.per_factor);
    add_pending(linear, &by->linear, weight, sums.linear, step.linear.wd, step.linear.eps);
}

FMKIT_INLINE void step_wide(const parameters *p, const rates *by, const row_rule *rule, int64_t feature, float *own,
                            const row_results *of, int64_t first, int64_t last, pending *linear,
                            const pair_list *pairs, int k, int binary, int by_rows) {
    if (pairs->wide) step_feature(p, by, rule, feature, own, of, first, last, linear, pairs, k, binary, 1, by_rows);
    else step_feature(p, by, rule, feature, own, of, first, last, linear, pairs, k, binary, 0, by_rows);
}

/* The same, k being a multiple of LANES: the compiler makes code of its own for each kind of rows. */
static inline void step_shared(const parameters *p, const rates *by, const row_rule *rule, int64_t feature, float *own,
                               const row_results *of, int64_t first, int64_t last, pending *linear,
                               const pair_list *pairs) {
    int by_rows = of->terms != NULL, binary = pairs->values == NULL, k = p->k;
    if (binary && by_rows && k == 16) step_wide(p, by, rule, feature, own, of, first, last, linear, pairs, 16, 1, 1);
    else if (binary && by_rows) step_wide(p, by, rule, feature, own, of, first, last, linear, pairs, k, 1, 1);
    else if (binary) step_wide(p, by, rule, feature, own, of, first, last, linear, pairs, k, 1, 0);
    else if (by_rows) step_wide(p, by, rule, feature, own, of, first, last, linear, pairs, k, 0, 1);
    else step_wide(p, by, rule, feature, own, of, first, last, linear, pairs, k, 0, 0);
}

/* Return sum_f h x^2 ((q_f - v_f x)^2 - q_f^2) of a row. */
FMKIT_INLINE float lone_spread(const factor_row *to, const float *sums, float curvature, float x) {
    lanes total = lanes_zero();
    for (int f = 0; f < to->k; f += LANES) {
        lanes v = lanes_load(to->factors + f);
        total += v * (v * x - 2 * lanes_load(sums + f));
    }
    return lanes_sum(total) * curvature * x * x * x;
}

/* The step of all of a feature that one row alone holds, with value x; gradient, sums and terms are that row's. */
FMKIT_INLINE void step_lone(const parameters *p, const rates *by, const row_rule *rule, int64_t feature, float *own,
                            float gradient, const float *sums, const float *terms, float x, pending *linear, int k) {
    factor_row to = factor_row_at(p, feature, own, k);
    const rate *factors = &by->factors;
    float c = gradient * x, spread = 0;
    float *evidence = terms == NULL ? NULL : evidence_at(p, feature);
    feature_step step;
    feature_sums of;
    if (terms != NULL) {
        of = sums_of_row(terms, x);
        step = step_by_rows(by, rule, evidence, &of);
        factors = &step.factors;
        if (rule->tau > 0) spread = lone_spread(&to, sums, terms[CURVATURE], x);
    }
    if (evidence == NULL || evidence[1] != 0) {
        for (int f = 0; f < k; f += LANES)
            step_factors(factors, &to, f, lanes_load(sums + f) * c - lanes_load(to.factors + f) * (c * x));
        finish_factors(factors, &to);
    }
    if (terms == NULL) {
        add_pending(linear, &by->linear, linear_at(p, feature), c, 0, 0);
        return;
    }
    finish_by_rows(rule, evidence, &step, of.square + spread * by->factors.per_factor);
    add_pending(linear, &by->linear, linear_at(p, feature), c, step.linear.wd, step.linear.eps);
}

#endif

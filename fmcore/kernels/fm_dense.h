/* The family over a matrix: the score of a row and the steps of its columns, where sums over rows and columns have been
   computed as matrix products (dense.h). Formulas as in fm.h and fm_step.h. */
#ifndef FMKIT_FM_DENSE_H
#define FMKIT_FM_DENSE_H

#include "fm_step.h"
#include "optimizers.h"

enum {
    PIECE = 32, /* columns that one loop over a mini-batch sums up, in PARTS lanes; stride is a multiple of it */
    PARTS = 4,
};

/* What row_rule.h needs of each column, (stride,) each: its variance s, 0 beyond the last; over the rows of a
   mini-batch the sums of x^2 h |q|^2 / k, x^2 h T and h x^4, and of the rows that hold it their counts and R; and
   (stride, k) sum_r h_r x_ri^3 q_rf. NULL where the rule is not used. */
typedef struct {
    float *variances;
    float *square, *variance, *fourth, *rows, *reach;
    float *cross;
} row_columns;

/* What a pass keeps of each column. Forward phases read the first two, backward phases compute the rest, whose
   gradients are those of the rows of their mini-batch. */
typedef struct {
    float *linear;      /* (stride,): w_i of column i, 0 beyond the last */
    float *squares;     /* (stride,): sum_f v_if^2, likewise */
    float *sums;        /* (stride,): sum_r g_r x_ri, g being the rows' gradients */
    float *square_sums; /* (stride,): sum_r g_r x_ri^2 */
    float *products;    /* (stride, k): sum_r g_r x_ri s_rf, s being the rows' sums */
    int stride;
    row_columns by_rows;
} columns;

/* Write w and sum_f v_f^2 of a column where the next forward phase reads them in a row. */
static inline void refresh_column(const columns *c, const parameters *p, int column) {
    const float *factors = factors_at(p, column);
    lanes total = lanes_zero();
    for (int f = 0; f < p->k; f += LANES) {
        lanes v = lanes_load(factors + f);
        total += v * v;
    }
    c->squares[column] = lanes_sum(total);
    c->linear[column] = linear_at(p, column)[0];
    if (p->evidence) c->by_rows.variances[column] = evidence_at(p, column)[1];
}

/* Return y(x) of a row x without the bias, given sum_i v_if x_i (Rendle 2010, lemma 3.1). */
static inline float score_cells(const columns *c, const float *x, const float *sums, int k) {
    lanes linear[PARTS], squares[PARTS], total = lanes_zero();
    for (int part = 0; part < PARTS; part++) linear[part] = squares[part] = lanes_zero();
    for (int piece = 0; piece < c->stride / PIECE; piece++)
        for (int part = 0; part < PARTS; part++) {
            int at = piece * PIECE + part * LANES;
            lanes v = lanes_load(x + at);
            linear[part] += v * lanes_load(c->linear + at);
            squares[part] += v * v * lanes_load(c->squares + at);
        }
    for (int part = 1; part < PARTS; part++) {
        linear[0] += linear[part];
        squares[0] += squares[part];
    }
    for (int f = 0; f < k; f += LANES) {
        lanes v = lanes_load(sums + f);
        total += v * v;
    }
    return (float)(lanes_sum(linear[0]) + 0.5 * lanes_sum(total - squares[0]));
}

/* Return the sums of row_rule.h over a row x. */
static inline row_size size_of_cells(const columns *c, const float *x) {
    lanes squares = lanes_zero(), variance = squares;
    for (int at = 0; at < c->stride; at += LANES) {
        lanes v = lanes_load(x + at), square = v * v;
        squares += square;
        variance += square * lanes_load(c->by_rows.variances + at);
    }
    return (row_size){lanes_sum(squares), lanes_sum(variance)};
}

/* Compute the sums of row_rule.h for LANES columns that begin at x; to: of the first of them. */
static inline void sum_cells(const float *x, int stride, const float *terms, int rows, const row_columns *to, int at) {
    lanes square = lanes_zero(), variance = square, fourth = square, count = square, reach = square;
    for (int row = 0; row < rows; row++) {
        const float *of = terms + (int64_t)row * LANES;
        lanes v = lanes_load(x + (int64_t)row * stride), twice = v * v;
        square += twice * of[SQUARE];
        variance += twice * of[VARIANCE];
        fourth += twice * twice * of[CURVATURE];
        count += lanes_choose(v != 0, lanes_zero() + of[COUNT], lanes_zero());
        reach += lanes_choose(v != 0, lanes_zero() + of[REACH], lanes_zero());
    }
    lanes_store(to->square + at, square);
    lanes_store(to->variance + at, variance);
    lanes_store(to->fourth + at, fourth);
    lanes_store(to->rows + at, count);
    lanes_store(to->reach + at, reach);
}

/* Compute sum_r g_r x_rc and sum_r g_r x_rc^2 for a PIECE of columns c that begin at x. */
static inline void sum_columns(const float *x, int stride, const float *gradients, int rows, float *linear,
                               float *squares) {
    lanes once[PARTS], twice[PARTS];
    for (int part = 0; part < PARTS; part++) once[part] = twice[part] = lanes_zero();
    for (int row = 0; row < rows; row++)
        for (int part = 0; part < PARTS; part++) {
            lanes v = lanes_load(x + (int64_t)row * stride + part * LANES);
            lanes c = v * gradients[row];
            once[part] += c;
            twice[part] += c * v;
        }
    for (int part = 0; part < PARTS; part++) {
        lanes_store(linear + part * LANES, once[part]);
        lanes_store(squares + part * LANES, twice[part]);
    }
}

/* One step of all of a column by row_rule.h; see step_columns. */
static inline void step_column_by_rows(const columns *c, const parameters *p, const rates *by, const row_rule *rule,
                                       int column, pending *linear) {
    const row_columns *of = &c->by_rows;
    feature_sums sums = {c->sums[column],     c->square_sums[column], of->square[column],
                         of->variance[column], of->fourth[column],    of->rows[column],
                         of->reach[column]};
    float *evidence = evidence_at(p, column);
    const float *cross = of->cross + (int64_t)column * p->k;
    factor_row to = factor_row_at(p, column, c->products + (int64_t)column * p->k, p->k);
    feature_step step = step_by_rows(by, rule, evidence, &sums);
    lanes spread = lanes_zero();
    int k = evidence[1] > 0 ? p->k : 0;
    for (int f = 0; f < k; f += LANES) {
        lanes v = lanes_load(to.factors + f);
        spread += v * (v * sums.fourth - 2 * lanes_load(cross + f));
        step_factors(&step.factors, &to, f, lanes_load(to.gradients + f) - v * sums.twice);
    }
    if (k) finish_factors(&step.factors, &to);
    finish_by_rows(rule, evidence, &step, sums.square + lanes_sum(spread) * by->factors.per_factor);
    add_pending(linear, &by->linear, linear_at(p, column), sums.linear, step.linear.wd, step.linear.eps);
}

/* One optimizer step for each present column of first .. last, given their products and sums. A column's products may
   become its gradient in place. */
static void step_columns(const columns *c, const parameters *p, const rates *by, const row_rule *rule,
                         const uint8_t *present, int first, int last) {
    pending linear = {.count = 0};
    for (int column = first; column < last; column++) {
        if (!present[column]) continue;
        if (p->evidence) {
            step_column_by_rows(c, p, by, rule, column, &linear);
            continue;
        }
        factor_row to = factor_row_at(p, column, c->products + (int64_t)column * p->k, p->k);
        for (int f = 0; f < p->k; f += LANES)
            step_factors(&by->factors, &to, f,
                         lanes_load(to.gradients + f) - lanes_load(to.factors + f) * c->square_sums[column]);
        finish_factors(&by->factors, &to);
        add_pending(&linear, &by->linear, linear_at(p, column), c->sums[column], 0, 0);
    }
    step_pending(&linear, &by->linear);
    for (int column = first; column < last; column++)
        if (present[column]) refresh_column(c, p, column);
}

#endif

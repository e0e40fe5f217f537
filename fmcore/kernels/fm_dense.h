/* The family over a matrix: the score of a row and the steps of its columns, where sums over rows and columns have been
   computed as matrix products (dense.h). Formulas as in fm.h. */
#ifndef FMKIT_FM_DENSE_H
#define FMKIT_FM_DENSE_H

#include "fm.h"
#include "optimizers.h"

enum {
    PIECE = 32, /* columns that one loop over a mini-batch sums up, in PARTS lanes; stride is a multiple of it */
    PARTS = 4,
};

/* What a pass keeps of each column. Forward phases read the first two, backward phases compute the rest, whose
   gradients are those of the rows of their mini-batch. */
typedef struct {
    float *linear;      /* (stride,): w_i of column i, 0 beyond the last */
    float *squares;     /* (stride,): sum_f v_if^2, likewise */
    float *sums;        /* (stride,): sum_r g_r x_ri, g being the rows' gradients */
    float *square_sums; /* (stride,): sum_r g_r x_ri^2 */
    float *products;    /* (stride, k): sum_r g_r x_ri s_rf, s being the rows' sums */
    int stride;
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

/* One optimizer step for each present column of first .. last, given their products and sums. A column's products may
   become its gradient in place. */
static void step_columns(const columns *c, const parameters *p, const rates *by, const uint8_t *present, int first,
                         int last) {
    pending linear = {.count = 0};
    for (int column = first; column < last; column++) {
        if (!present[column]) continue;
        factor_row to = factor_row_at(p, column, c->products + (int64_t)column * p->k);
        for (int f = 0; f < p->k; f += LANES)
            step_factors(&by->factors, &to, f,
                         lanes_load(to.gradients + f) - lanes_load(to.factors + f) * c->square_sums[column]);
        finish_factors(&by->factors, &to);
        add_pending(&linear, &by->linear, linear_at(p, column), c->sums[column]);
    }
    step_pending(&linear, &by->linear);
    for (int column = first; column < last; column++)
        if (present[column]) refresh_column(c, p, column);
}

#endif

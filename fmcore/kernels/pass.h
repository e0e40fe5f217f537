/* What one pass over a block's mini-batches reads and writes, whatever way it goes through them (sparse.h, dense.h),
   and what both ways do with a row's score and with the bias. Arrays belong to the caller; a pass allocates nothing. */
#ifndef FMKIT_PASS_H
#define FMKIT_PASS_H

#include "fm.h"
#include "losses.h"
#include "optimizers.h"
#include "row_rule.h"

/* What the rows' scores are compared with. rescale: of gradients; 0: one over the rows of the mini-batch. */
typedef struct {
    int objective;        /* as in losses.h */
    float rescale;        /* not used where penalties go by rows */
    const float *labels;  /* (rows of the block,) */
    const float *weights; /* likewise; NULL: every weight is 1 */
} targets;

/* Mini-batch m holds the rows starts[m] .. starts[m + 1]. */
typedef struct {
    const int64_t *starts; /* (mini-batches of the block + 1,) */
    const int64_t *order;  /* (count,): those of this pass, one after the other */
    int64_t count;
} mini_batches;

/* Numbers of one mini-batch between its forward and its backward phase; of a feature only while it is stepped. */
typedef struct {
    float *sums;              /* (rows of the widest mini-batch, k): sum_i v_if x_i of each row */
    float *gradients;         /* (rows of the widest mini-batch,): of the rows' losses with respect to the raw score */
    float *terms;             /* (rows of the widest mini-batch, LANES): of row_rule.h; NULL where they are not needed */
    float *curved;            /* of dense blocks with terms (rows of the widest mini-batch, k): sums times h */
    float *cubes;             /* likewise (threads, CUBES): of one thread, see dense.h */
    float *feature_gradients; /* (threads, k + LINE); see feature_gradients */
} scratch;

/* What is returned of each row, as it was before the row's own mini-batch stepped anything. */
typedef struct {
    float *scores; /* (rows of the block,): raw */
    float *losses; /* likewise, weighted */
} outputs;

typedef struct {
    parameters parameters; /* stepped in place */
    schedule schedule;
    row_rule rule;
    targets targets;
    mini_batches mini_batches;
    scratch scratch;
    outputs outputs;
} block_pass;

/* Return room for the gradient of a feature's factors (k,), where no other share has a number on its cache lines. */
FMKIT_INLINE float *feature_gradients(const block_pass *pass, int share) {
    return pass->scratch.feature_gradients + (int64_t)share * (pass->parameters.k + LINE);
}

/* Write the score of a row of mini-batch m, its loss, and the gradient with respect to the score. sums: of the row;
   size: of the row, where terms are needed. */
static inline void record_score(const block_pass *pass, int64_t m, int64_t row, float score, const float *sums,
                                row_size size) {
    const targets *to = &pass->targets;
    int64_t first = pass->mini_batches.starts[m];
    float weight = to->weights == NULL ? 1 : to->weights[row], loss = 0, curvature = 0;
    float gradient = loss_of(to->objective, score, to->labels[row], &loss, &curvature);
    pass->outputs.scores[row] = score;
    pass->outputs.losses[row] = weight * loss;
    if (pass->scratch.terms == NULL) {
        float mean = (float)(1.0 / (float)(pass->mini_batches.starts[m + 1] - first));
        pass->scratch.gradients[row - first] = (to->rescale > 0 ? to->rescale : mean) * weight * gradient;
        return;
    }
    const row_rule *rule = &pass->rule;
    float *terms = pass->scratch.terms + (row - first) * LANES;
    lanes squares = lanes_zero();
    for (int f = 0; f < pass->parameters.k; f += LANES) {
        lanes q = lanes_load(sums + f);
        squares += q * q;
    }
    float total = lanes_sum(squares), scale = rule->rescale * weight;
    curvature *= scale;
    pass->scratch.gradients[row - first] = terms[GRADIENT] = scale * gradient;
    terms[CURVATURE] = curvature;
    terms[SQUARE] = curvature * total * pass->schedule.rates.factors.per_factor;
    terms[VARIANCE] = curvature * size.variance;
    terms[COUNT] = rule->count * weight;
    terms[REACH] = rule->bound * scale * size.squares * (0.5f + 0.25f * total);
}

/* One optimizer step of the bias for a mini-batch of so many rows. */
static inline void step_bias(const block_pass *pass, const rate *by, int64_t rows) {
    float *bias = pass->parameters.bias, gradient = 0, count = 0, reach = 0;
    for (int64_t row = 0; row < rows; row++) gradient += pass->scratch.gradients[row];
    rate own = *by;
    if (by->by_rows) {
        for (int64_t row = 0; row < rows; row++) {
            count += pass->scratch.terms[row * LANES + COUNT];
            reach += pass->scratch.terms[row * LANES + REACH];
        }
        own = rate_by_rows(by, count * pass->rule.share, reach, 0);
    }
    step_scattered(by, &bias, lanes_zero() + gradient, 1, lanes_zero() + own.wd, lanes_zero() + own.eps);
}

#endif

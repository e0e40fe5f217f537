/* What one pass over a block's mini-batches reads and writes, whatever way it goes through them (sparse.h, dense.h),
   and what both ways do with a row's score and with the bias. Arrays belong to the caller; a pass allocates nothing. */
#ifndef FMKIT_PASS_H
#define FMKIT_PASS_H

#include "fm.h"
#include "losses.h"
#include "optimizers.h"

/* What the rows' scores are compared with. rescale: of gradients; 0: one over the rows of the mini-batch. */
typedef struct {
    int objective;        /* as in losses.h */
    float rescale;
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
    targets targets;
    mini_batches mini_batches;
    scratch scratch;
    outputs outputs;
} block_pass;

/* Return room for the gradient of a feature's factors (k,), where no other share has a number on its cache lines. */
FMKIT_INLINE float *feature_gradients(const block_pass *pass, int share) {
    return pass->scratch.feature_gradients + (int64_t)share * (pass->parameters.k + LINE);
}

/* Write the score of a row of mini-batch m, its loss, and the gradient with respect to the score. */
static inline void record_score(const block_pass *pass, int64_t m, int64_t row, float score) {
    const targets *to = &pass->targets;
    int64_t first = pass->mini_batches.starts[m];
    float rescale = to->rescale > 0 ? to->rescale : (float)(1.0 / (float)(pass->mini_batches.starts[m + 1] - first));
    float weight = to->weights == NULL ? 1 : to->weights[row], loss = 0;
    float gradient = loss_of(to->objective, score, to->labels[row], &loss);
    pass->outputs.scores[row] = score;
    pass->outputs.losses[row] = weight * loss;
    pass->scratch.gradients[row - first] = rescale * weight * gradient;
}

/* One optimizer step of the bias for a mini-batch of so many rows. */
static inline void step_bias(const block_pass *pass, const rate *by, int64_t rows) {
    float *bias = pass->parameters.bias, gradient = 0;
    for (int64_t row = 0; row < rows; row++) gradient += pass->scratch.gradients[row];
    step_scattered(by, &bias, &gradient, 1);
}

#endif

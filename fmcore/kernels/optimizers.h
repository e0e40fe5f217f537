/* The optimizers: one step of LANES weights, given the gradient of their mini-batch.

   To add one: its number, a case in step_lanes and its number of slots in slots_of; one that keeps its state once for
   all factors of a feature steps them in finish_factors instead. The rest of it, its number among it, is a file in
   fmcore/optimizers. */
#ifndef FMKIT_OPTIMIZERS_H
#define FMKIT_OPTIMIZERS_H

#include <stdint.h>

#include "lanes.h"

/* As in fmcore/optimizers. FIXED: weights that the model does not use, which stay as they are.
   OPTIMIZERS: how many there are, with it. */
enum { FIXED = 0, SGD = 1, ADAGRAD = 2, ADAM = 3, ROWWISE_ADAGRAD = 4, OPTIMIZERS };
enum { MOST_SLOTS = 2 };
#define BETA1 0.9 /* of adam, as Kingma and Ba and MXNet have them */
#define BETA2 0.999

/* How one group of weights is stepped. wd: what a weight is multiplied by in its gradient. by_rows: whether each weight
   has a wd and an eps of its own by row_rule.h, where eps grows by `floor` times a sum over rows. */
typedef struct {
    int optimizer;
    float lr, wd, clip, eps;
    float per_factor; /* one over the number of factors */
    int by_rows;
    float floor;
} rate;

typedef struct {
    rate bias, linear, factors;
} rates;

/* updates: mini-batches trained before this pass. rates: of its first mini-batch, before the optimizer's correction.
   Mini-batch number `step` of the pass has 1 - fall (done + step) times these: a pass that is trained in two parts has
   the same rates as in one. */
typedef struct {
    rates rates;
    int64_t updates;
    double fall;
    int64_t done;
} schedule;

/* The factors of one feature while they are stepped. */
typedef struct {
    float *factors;   /* (k,), and behind them the slots of an optimizer that keeps some for each factor */
    float *state;     /* the one number of an optimizer that keeps one for all; factors have none of their own then */
    float *gradients; /* (k,), for such an optimizer to keep them in until all are known */
    int k;
} factor_row;

/* Linear weights whose gradient is known, stepped LANES at a time, each with a decay and an eps of its own. */
typedef struct {
    float *rows[LANES];
    float gradients[LANES];
    float wd[LANES], eps[LANES];
    int count;
} pending;

/* Return how many numbers of state an optimizer keeps behind each weight. */
FMKIT_INLINE int slots_of(int optimizer) { return optimizer == ADAM ? 2 : optimizer == ADAGRAD; }

/* Return whether the steps of an optimizer are proportional to the gradient (see Optimizer). */
FMKIT_INLINE int is_linear(int optimizer) { return optimizer == SGD; }

/* Return what an optimizer multiplies the learning rate by in update number t of the whole tensor, from 1: adam makes
   up for moments that start at 0 (Kingma, Ba 2015, Adam, section 2, last paragraph). */
static inline double lr_correction(int optimizer, int64_t t) {
    return optimizer == ADAM ? sqrt(1 - pow(BETA2, (double)t)) / (1 - pow(BETA1, (double)t)) : 1;
}

/* Return the rates of the mini-batch at `step` of the pass, from 0, which has so many rows. Each thread computes them
   for itself, from the same numbers. A step that is proportional to the gradient goes as far by a sum as by the mean. */
static inline rates rates_at(const schedule *from, int64_t step, int64_t rows) {
    rates now = from->rates;
    int optimizer = now.factors.optimizer; /* factors are never FIXED */
    double factor = lr_correction(optimizer, from->updates + step + 1);
    factor *= 1 - from->fall * (double)(from->done + step);
    if (now.factors.by_rows && is_linear(optimizer)) factor /= (double)rows;
    now.bias.lr = (float)(now.bias.lr * factor);
    now.linear.lr = (float)(now.linear.lr * factor);
    now.factors.lr = (float)(now.factors.lr * factor);
    return now;
}

/* Return the gradient g of a loss for weights w with decay, and clipped. */
FMKIT_INLINE lanes decayed(const rate *by, lanes w, lanes g, lanes wd) { return lanes_clip(g + wd * w, by->clip); }

/* Return the weights w after a step by gradient g, with decay; their slots of state change in place. by->lr holds the
   correction. */
FMKIT_INLINE lanes step_lanes(const rate *by, lanes w, lanes g, lanes *slots, lanes eps) {
    switch (by->optimizer) {
    case ADAGRAD: /* Duchi, Hazan, Singer 2011, figure 1, with a diagonal G */
        slots[0] += g * g;
        return w - by->lr * g / (lanes_sqrt(slots[0]) + eps);
    case ADAM: /* Kingma, Ba 2015; decay within the gradient and the place of eps as in MXNet 1.3's adam_update */
        slots[0] = (float)BETA1 * slots[0] + (float)(1 - BETA1) * g;
        slots[1] = (float)BETA2 * slots[1] + (float)(1 - BETA2) * g * g;
        return w - by->lr * slots[0] / (lanes_sqrt(slots[1]) + eps);
    case SGD:
        return w - by->lr * g;
    default:
        return w;
    }
}

/* Step the weights at `row`; the slots of their optimizer state stand `apart` floats further on, one after the other.
   The loops run to MOST_SLOTS, a constant, so that the slots stay in registers. */
FMKIT_INLINE void step_block(const rate *by, float *row, int apart, lanes gradient, lanes wd, lanes eps) {
    lanes slots[MOST_SLOTS], weights = lanes_load(row);
    int kept = slots_of(by->optimizer);
    for (int s = 0; s < MOST_SLOTS; s++) slots[s] = s < kept ? lanes_load(row + (s + 1) * apart) : lanes_zero();
    lanes_store(row, step_lanes(by, weights, decayed(by, weights, gradient, wd), slots, eps));
    for (int s = 0; s < MOST_SLOTS; s++)
        if (s < kept) lanes_store(row + (s + 1) * apart, slots[s]);
}

/* Step up to LANES weights that lie apart, each with its slots right behind it: they are brought together as the
   columns of a block, and taken back. */
FMKIT_INLINE void step_scattered(const rate *by, float **rows, lanes gradients, int count, lanes wd, lanes eps) {
    float block[(1 + MOST_SLOTS) * LANES] = {0};
    int parts = 1 + slots_of(by->optimizer);
    for (int i = 0; i < count; i++)
        for (int s = 0; s < parts; s++) block[s * LANES + i] = rows[i][s];
    step_block(by, block, LANES, gradients, wd, eps);
    for (int i = 0; i < count; i++)
        for (int s = 0; s < parts; s++) rows[i][s] = block[s * LANES + i];
}

/* Step all weights that are still pending. */
static inline void step_pending(pending *weights, const rate *by) {
    int count = weights->count;
    weights->count = 0;
    lanes gradients = lanes_load(weights->gradients); /* those beyond the count are stepped for nobody */
    if (!by->by_rows)
        step_scattered(by, weights->rows, gradients, count, lanes_zero() + by->wd, lanes_zero() + by->eps);
    else
        step_scattered(by, weights->rows, gradients, count, lanes_load(weights->wd), lanes_load(weights->eps));
}

/* Add a weight, with its slots right behind it, to those pending; its decay and eps count where they are its own. */
static inline void add_pending(pending *weights, const rate *by, float *row, float gradient, float wd, float eps) {
    int at = weights->count++;
    weights->rows[at] = row;
    weights->gradients[at] = gradient;
    weights->wd[at] = wd;
    weights->eps[at] = eps;
    if (weights->count == LANES) step_pending(weights, by);
}

/* Step LANES factors from f on, or keep their gradient until finish_factors. */
FMKIT_INLINE void step_factors(const rate *by, const factor_row *row, int f, lanes gradient) {
    lanes wd = lanes_zero() + by->wd;
    if (by->optimizer == ROWWISE_ADAGRAD)
        lanes_store(row->gradients + f, decayed(by, lanes_load(row->factors + f), gradient, wd));
    else step_block(by, row->factors + f, row->k, gradient, wd, lanes_zero() + by->eps);
}

/* Step all factors of a feature whose gradients were kept: row-wise AdaGrad, whose state is the sum of the means of
   their squares (Mudigere et al. 2022, Software-hardware co-design for fast and scalable training of deep learning
   recommendation models; exact_rowwise_adagrad of FBGEMM). */
FMKIT_INLINE void finish_factors(const rate *by, const factor_row *row) {
    if (by->optimizer != ROWWISE_ADAGRAD) return;
    lanes squares = lanes_zero();
    for (int f = 0; f < row->k; f += LANES) {
        lanes g = lanes_load(row->gradients + f);
        squares += g * g;
    }
    float sum = *row->state += lanes_sum(squares) * by->per_factor;
    float lr = by->lr / (sqrtf(sum) + by->eps);
    for (int f = 0; f < row->k; f += LANES)
        lanes_store(row->factors + f, lanes_load(row->factors + f) - lr * lanes_load(row->gradients + f));
}

#endif

/* The optimizers: how LANES weights move, given the gradient of their mini-batch. To add one: a case in move_lanes, its
   number of slots in slots_of and their names in fmcore/hyper/optimizers.py, its formula in reference.py. One that keeps its
   state once for all factors of a feature moves them in move_rest instead. */
#ifndef FMKIT_RULES_H
#define FMKIT_RULES_H

#include <stdint.h>

#include "lanes.h"

enum { RULE_FIXED = 0, RULE_SGD = 1, RULE_ADAGRAD = 2, RULE_ADAM = 3, RULE_ROWWISE_ADAGRAD = 4 };
enum { MOST_SLOTS = 2 };
#define BETA1 0.9 /* of adam, as Kingma and Ba and MXNet have them */
#define BETA2 0.999

typedef struct {
    int rule;
    float lr, wd, clip, eps;
    float share; /* of a factor: one over their number */
} rate;

/* The factors of a feature while they are moved. */
typedef struct {
    float *factors;   /* (k,), and behind them the slots of a rule that keeps some for each factor */
    float *state;     /* the one number of a rule that keeps one for all; factors have none of their own then */
    float *gradients; /* (k,), for such a rule to keep them in until all are known */
    int k;
} factor_row;

/* How many numbers of state a rule keeps behind each weight. */
FMKIT_INLINE int slots_of(int rule) { return rule == RULE_ADAM ? 2 : rule == RULE_ADAGRAD; }

/* What a rule multiplies the learning rate by in update number t of the whole tensor, from 1: adam makes up for moments
   that start at 0 (Kingma, Ba 2015, Adam, section 2, last paragraph). */
static inline double lr_correction(int rule, int64_t t) {
    return rule == RULE_ADAM ? sqrt(1 - pow(BETA2, (double)t)) / (1 - pow(BETA1, (double)t)) : 1;
}

/* The gradient g of a loss for weights w with decay, and clipped. */
FMKIT_INLINE lanes decayed(const rate *by, lanes w, lanes g) { return lanes_clip(g + by->wd * w, by->clip); }

/* The weights w moved by gradient g; their slots of state change in place. by->lr holds the correction. */
FMKIT_INLINE lanes move_lanes(const rate *by, lanes w, lanes g, lanes *slots) {
    g = decayed(by, w, g);
    switch (by->rule) {
    case RULE_ADAGRAD: /* Duchi, Hazan, Singer 2011, figure 1, with a diagonal G */
        slots[0] += g * g;
        return w - by->lr * g / (lanes_sqrt(slots[0]) + by->eps);
    case RULE_ADAM: /* Kingma, Ba 2015; decay within the gradient and the place of eps as in MXNet 1.3's adam_update */
        slots[0] = (float)BETA1 * slots[0] + (float)(1 - BETA1) * g;
        slots[1] = (float)BETA2 * slots[1] + (float)(1 - BETA2) * g * g;
        return w - by->lr * slots[0] / (lanes_sqrt(slots[1]) + by->eps);
    case RULE_SGD:
        return w - by->lr * g;
    default:
        return w;
    }
}

/* Move the weights at `row`; the slots of their optimizer state stand `apart` floats further on, one after the other.
   The loops run to MOST_SLOTS, a constant, so that the slots stay in registers. */
FMKIT_INLINE void move_block(const rate *by, float *row, int apart, lanes gradient) {
    lanes slots[MOST_SLOTS];
    int kept = slots_of(by->rule);
    for (int s = 0; s < MOST_SLOTS; s++) slots[s] = s < kept ? lanes_load(row + (s + 1) * apart) : lanes_zero();
    lanes_store(row, move_lanes(by, lanes_load(row), gradient, slots));
    for (int s = 0; s < MOST_SLOTS; s++)
        if (s < kept) lanes_store(row + (s + 1) * apart, slots[s]);
}

/* The same for up to LANES weights that lie apart, each with its slots right behind it: they are brought together as
   the columns of a block, and taken back. */
FMKIT_INLINE void move_scattered(const rate *by, float **rows, const float *gradients, int count) {
    float block[(1 + MOST_SLOTS) * LANES] = {0};
    int parts = 1 + slots_of(by->rule);
    for (int i = 0; i < count; i++)
        for (int s = 0; s < parts; s++) block[s * LANES + i] = rows[i][s];
    move_block(by, block, LANES, lanes_load_part(gradients, count));
    for (int i = 0; i < count; i++)
        for (int s = 0; s < parts; s++) rows[i][s] = block[s * LANES + i];
}

/* Move LANES factors from f on, or keep their gradient until move_rest. */
FMKIT_INLINE void move_factors(const rate *by, const factor_row *row, int f, lanes gradient) {
    if (by->rule == RULE_ROWWISE_ADAGRAD)
        lanes_store(row->gradients + f, decayed(by, lanes_load(row->factors + f), gradient));
    else move_block(by, row->factors + f, row->k, gradient);
}

/* Move all factors of a feature whose gradients were kept: row-wise AdaGrad, whose state is the sum of the means of
   their squares (Mudigere et al. 2022, Software-hardware co-design for fast and scalable training of deep learning
   recommendation models; exact_rowwise_adagrad of FBGEMM). */
FMKIT_INLINE void move_rest(const rate *by, const factor_row *row) {
    if (by->rule != RULE_ROWWISE_ADAGRAD) return;
    lanes squares = lanes_zero();
    for (int f = 0; f < row->k; f += LANES) {
        lanes g = lanes_load(row->gradients + f);
        squares += g * g;
    }
    float sum = *row->state += lanes_sum(squares) * by->share;
    float lr = by->lr / (sqrtf(sum) + by->eps);
    for (int f = 0; f < row->k; f += LANES)
        lanes_store(row->factors + f, lanes_load(row->factors + f) - lr * lanes_load(row->gradients + f));
}

#endif

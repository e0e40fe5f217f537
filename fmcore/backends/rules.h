/* The optimizers: how LANES weights move, given the gradient of their mini-batch. To add one: a case in move_lanes, its
   slots of state in fmcore/optimizers.py, its formula in reference.py. */
#ifndef FMKIT_RULES_H
#define FMKIT_RULES_H

#include "lanes.h"

enum { RULE_SGD = 0, RULE_ADAGRAD = 1 };

typedef struct {
    int rule;
    float lr, wd, clip, eps;
} rate;

/* Move the weights at `row`; the slots of their optimizer state stand `apart` floats further on, one after the other. */
FMKIT_INLINE lanes move_lanes(const rate *by, lanes w, lanes g, lanes *first) {
    g = lanes_clip(g + by->wd * w, by->clip);
    switch (by->rule) {
    case RULE_ADAGRAD: /* Duchi, Hazan, Singer 2011, figure 1, with a diagonal G */
        *first += g * g;
        return w - by->lr * g / (lanes_sqrt(*first) + by->eps);
    default:
        return w - by->lr * g;
    }
}

FMKIT_INLINE void move_block(const rate *by, float *row, int apart, lanes gradient) {
    lanes first = by->rule == RULE_SGD ? lanes_zero() : lanes_load(row + apart);
    lanes_store(row, move_lanes(by, lanes_load(row), gradient, &first));
    if (by->rule != RULE_SGD) lanes_store(row + apart, first);
}

/* The same for up to LANES weights that lie apart, each with its slots right behind it. */
FMKIT_INLINE void move_scattered(const rate *by, float **rows, const float *gradients, int count) {
    float w[LANES] = {0}, first[LANES] = {0}, g[LANES] = {0};
    int slots = by->rule != RULE_SGD;
    for (int i = 0; i < count; i++) {
        w[i] = rows[i][0];
        first[i] = slots ? rows[i][1] : 0;
        g[i] = gradients[i];
    }
    lanes state = lanes_load(first);
    lanes_store(w, move_lanes(by, lanes_load(w), lanes_load(g), &state));
    lanes_store(first, state);
    for (int i = 0; i < count; i++) {
        rows[i][0] = w[i];
        if (slots) rows[i][1] = first[i];
    }
}

#endif

/* The losses: of one row's raw score and label, with the derivative by the score and a curvature (see Objective).

   To add one: its number, a function and a case in loss_of. The number is what Python hands over as settings.objective.
   */
#ifndef FMKIT_LOSSES_H
#define FMKIT_LOSSES_H

#include <math.h>

/* LOSSES: how many there are. */
enum { SQUARED = 0, LOGISTIC = 1, LOSSES };

/* Squared error; the derivatives are those of half of it. */
static inline float squared_loss(float score, float label, float *loss, float *curvature) {
    float error = score - label;
    *loss = error * error;
    *curvature = 1;
    return error;
}

/* log(1 + e^-s) for label 1, log(1 + e^s) for 0, without overflow at either end; the gradient is sigmoid(s) - y. The
   curvature is as in fmcore/objectives/logistic.py. What has a constant with a point is computed in double and then
   rounded. */
static inline float logistic_loss(float score, float label, float *loss, float *curvature) {
    float small = expf(-fabsf(score));
    float positive = (float)(score >= 0 ? 1.0 / (1.0 + small) : small / (1.0 + small));
    float wrong = (float)(score * (1.0 - 2.0 * label)); /* how far on the wrong side */
    *loss = log1pf(small) + (wrong > 0 ? wrong : 0);
    float far = fabsf(score) > 1e-3f ? fabsf((float)(2.0 * positive - 1.0) / (2 * score)) : 0.25f;
    *curvature = sqrtf(small * far) / (1 + small); /* p (1 - p) is small / (1 + small)^2 */
    return positive - label;
}

/* Return the gradient of an objective's loss with respect to a row's score, in `loss` the loss, and its curvature. */
static inline float loss_of(int objective, float score, float label, float *loss, float *curvature) {
    switch (objective) {
    case LOGISTIC:
        return logistic_loss(score, label, loss, curvature);
    default:
        return squared_loss(score, label, loss, curvature);
    }
}

#endif

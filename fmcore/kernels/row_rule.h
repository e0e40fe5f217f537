/* The rule of penalties by rows: what is minimised does not depend on how rows are cut into mini-batches.

   Gradients are sums over a mini-batch. The penalty lambda w^2 / 2 of a weight is dealt out to the rows that hold its
   feature: of a mini-batch with c of the n rows it adds lambda c / n w to the gradient. No step of AdaGrad passes the
   minimum of a row's loss by far, however far its values are from others': the denominator grows by lr (lambda + sum_r R)
   over the rows that hold the feature, where R = H |x|^2 (1/2 + |q|^2 / 4), H bounds the second derivative of a row's
   loss, and |x|^2 (1 + |q|^2) is about the square of the gradient of its score by all weights. A step by one over H times
   that would be Newton's; R is half of it and less, for steps of up to twice Newton's come nearer to the minimum. Of
   factors it is half of that again.

   Factors are treated as the means of independent normal distributions (mean-field variational inference; Lim and Teh
   2007, Variational Bayesian approach to movie rating prediction, section 3), one variance s for all of a feature:

       1 / s = lambda + C,   C <- (1 - c / n) C + sum_r h x^2 [ |q - v x|^2 / k + tau (T - x^2 s) ]

   over the rows r of the mini-batch, where h is the second derivative of the row's loss, q = sum_j v_j x_j and
   T = sum_j x_j^2 s_j. The expected loss then has the term tau sum_r h x^2 (T - x^2 s) |v|^2 / 2: a penalty that is
   strong where what a feature is multiplied by is not known well. tau is 1 in the formula and less in practice. A
   feature whose variance is 0 has no factors: they are 0 and stay so. */
#ifndef FMKIT_ROW_RULE_H
#define FMKIT_ROW_RULE_H

#include "optimizers.h"

enum { EVIDENCE = 2 }; /* numbers behind a feature's linear weight and state: its rows n, and the variance s */

/* tau: see above; 0: variances are neither used nor kept. bound: H. precision: lambda of the factors, above 0.
   gain: how many times as fast C moves: the number of workers whose variances are averaged. rescale: what the gradient
   of a row is multiplied by; count: what a row of weight 1 counts; share: 1 / n of the bias. */
typedef struct {
    float tau, precision, gain, rescale, count, share, bound;
} row_rule;

/* Terms of a row that its features sum up, LANES floats: */
enum { GRADIENT, CURVATURE, SQUARE, VARIANCE, COUNT, REACH }; /* g, h, h |q|^2 / k, h T, its count, and R */

/* Sums over the features of a row: of x^2, and of x^2 s, which is T. */
typedef struct {
    float squares, variance;
} row_size;

/* Sums over the rows of a mini-batch that hold a feature with value x, of those terms. */
typedef struct {
    float linear;    /* g x */
    float twice;     /* g x^2 */
    float square;    /* x^2 h |q|^2 / k */
    float variance;  /* x^2 h T */
    float fourth;    /* h x^4 */
    float rows;      /* of those whose x is not 0: their counts */
    float reach;     /* likewise, R */
} feature_sums;

/* Return the share of a feature's rows that a mini-batch holds; n is less than these only where it is not known. */
FMKIT_INLINE float share_of(const float *evidence, float rows) {
    float n = evidence[0] > rows ? evidence[0] : rows;
    return n > 0 ? rows / n : 0;
}

/* Return the penalty on a feature's factors that their variances make. */
FMKIT_INLINE float variance_penalty(const row_rule *rule, const float *evidence, const feature_sums *of) {
    float rest = of->variance - evidence[1] * of->fourth;
    return rest > 0 ? rule->tau * rest : 0;
}

/* Return how the factors of one feature are stepped, or its linear weight (penalty: 0). */
FMKIT_INLINE rate rate_by_rows(const rate *by, float share, float reach, float penalty) {
    rate own = *by;
    own.wd = by->wd * share + penalty;
    own.eps = by->eps + by->floor * reach;
    return own;
}

/* How the two groups of one feature's weights are stepped, and what its variance needs afterwards. */
typedef struct {
    rate linear, factors;
    float share, penalty;
} feature_step;

FMKIT_INLINE feature_step step_by_rows(const rates *by, const row_rule *rule, const float *evidence,
                                       const feature_sums *of) {
    float share = share_of(evidence, of->rows);
    float penalty = rule->tau > 0 ? variance_penalty(rule, evidence, of) : 0;
    return (feature_step){rate_by_rows(&by->linear, share, of->reach, 0),
                          rate_by_rows(&by->factors, share, of->reach, penalty), share, penalty};
}

/* Return the sums of a feature that one row holds. */
FMKIT_INLINE feature_sums sums_of_row(const float *terms, float x) {
    float square = x * x;
    return (feature_sums){terms[GRADIENT] * x,       terms[GRADIENT] * square,
                          terms[SQUARE] * square,    terms[VARIANCE] * square,
                          terms[CURVATURE] * square * square, x != 0 ? terms[COUNT] : 0,
                          x != 0 ? terms[REACH] : 0};
}

/* Update the variance of a feature behind its step. spread: sum_r h x^2 |q - v x|^2 / k. */
FMKIT_INLINE void finish_by_rows(const row_rule *rule, float *evidence, const feature_step *step, float spread) {
    if (rule->tau == 0 || evidence[1] == 0) return;
    float curvature = 1 / evidence[1] - rule->precision, kept = 1 - rule->gain * step->share;
    curvature = (curvature > 0 ? curvature : 0) * (kept > 0 ? kept : 0);
    curvature += rule->gain * ((spread > 0 ? spread : 0) + step->penalty);
    evidence[1] = 1 / (rule->precision + curvature);
}

#endif

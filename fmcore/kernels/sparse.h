/* Sparse blocks: forward over the non-zeros of each row, backward over those of each feature.

   A feature that a single row of the mini-batch holds is stepped in the forward phase, right behind that row: no other
   row reads it, so nobody sees the difference, and its weights are still in the nearest cache. Of click data these are
   two thirds of a mini-batch's features, and those that come from far away. The backward phase steps the others. */
#ifndef FMKIT_SPARSE_H
#define FMKIT_SPARSE_H

#include "fm_step.h"
#include "pass.h"
#include "rows.h"

enum {
    STEP = 8,               /* pairs that take as long as the optimizer's step for one feature */
    PREFETCH_FEATURES = 12, /* between a prefetch and its step */
};

/* A block's non-zeros, once by row and once by feature, as group.h writes them. */
typedef struct {
    csr rows;                /* each row's shared features first, then those that it alone holds */
    const int32_t *shared;   /* (rows,): how many of a row's non-zeros are of shared features */
    const int64_t *bounds;   /* (mini-batches + 1,): shared features of mini-batch m are bounds[m] .. bounds[m + 1] */
    const int32_t *features; /* (bounds[mini-batches],) */
    const int32_t *ends;     /* likewise: where the feature's pairs end; its first is where the one before it ends */
    pair_list pairs;         /* of a mini-batch from where its non-zeros begin */
} sparse_block;

/* Return the first row of first .. last that begins at or after `target`. */
FMKIT_INLINE int64_t row_at(const int64_t *indptr, int64_t first, int64_t last, int64_t target) {
    while (first < last) {
        int64_t middle = (first + last) / 2;
        if (indptr[middle] < target) first = middle + 1;
        else last = middle;
    }
    return first;
}

/* Return where part `part` of the work of the features first .. last begins; their pairs begin at `begin`. A pair is
   one piece of work and a step as much as STEP pairs: rare features, which come last in many data sets, have few pairs
   and take all the longer for each. */
FMKIT_INLINE int64_t feature_at(const int32_t *ends, int64_t first, int64_t last, int64_t begin, int part, int parts) {
    int64_t low = first, high = last;
    int64_t work = last > first ? (ends[last - 1] - begin + STEP * (last - first)) * part / parts : 0;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (ends[middle] - begin + STEP * (middle + 1 - first) <= work) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* One optimizer step for each feature of the row that no other row of its mini-batch holds. own: room for a gradient.
   k: as of factor_row_at. */
FMKIT_INLINE void step_lone_features(const parameters *p, const sparse_block *block, const rates *by,
                                     const row_rule *rule, pending *linear, int64_t row, float gradient,
                                     const float *sums, const float *terms, float *own, int k) {
    const csr *rows = &block->rows;
    int64_t end = rows->indptr[row + 1];
    for (int64_t j = rows->indptr[row] + block->shared[row]; j < end; j++) {
        float x = rows->values == NULL ? 1 : rows->values[j];
        step_lone(p, by, rule, rows->indices[j], own, gradient, sums, terms, x, linear, k);
    }
}

/* Compute scores, losses and score gradients of this share's rows of mini-batch m, and step their lone features. */
FMKIT_CALLED void forward_sparse(const block_pass *pass, const sparse_block *block, const rates *by, int64_t m,
                                 int share, int shares) {
    const parameters fixed = pass->parameters, *p = &fixed; /* copies are read once: no store can change them */
    const rates now = *by;
    const row_rule rule = pass->rule;
    const int64_t *indptr = block->rows.indptr;
    int64_t first = pass->mini_batches.starts[m], last = pass->mini_batches.starts[m + 1];
    int64_t begin = indptr[first], size = indptr[last] - begin;
    int64_t low = share == 0 ? first : row_at(indptr, first, last, begin + size * share / shares);
    int64_t high = share == shares - 1 ? last : row_at(indptr, first, last, begin + size * (share + 1) / shares);
    float *own = feature_gradients(pass, share);
    pending linear = {.count = 0};
    for (int64_t row = low; row < high; row++) {
        float *sums = pass->scratch.sums + (row - first) * p->k;
        if (row + 1 < high) { /* one row early: this one's are on their way */
            prefetch_sums_to_write(p, sums + p->k);
            prefetch_state(p, block->rows.indices + indptr[row + 1] + block->shared[row + 1],
                           indptr[row + 2] - indptr[row + 1] - block->shared[row + 1]);
        }
        row_part whole = row_of(&block->rows, row, indptr[high]);
        float score = score_row(p, &whole, sums);
        record_score(pass, m, row, score, sums, p->evidence ? size_of(p, &whole) : (row_size){0, 0});
        float *terms = pass->scratch.terms == NULL ? NULL : pass->scratch.terms + (row - first) * LANES;
        float gradient = pass->scratch.gradients[row - first];
        if (terms != NULL && p->k == 16)
            step_lone_features(p, block, &now, &rule, &linear, row, gradient, sums, terms, own, 16);
        else step_lone_features(p, block, &now, &rule, &linear, row, gradient, sums, terms, own, p->k);
    }
    step_pending(&linear, &by->linear);
}

/* One optimizer step for each of this share's shared features of mini-batch m; the first share also steps the bias. */
FMKIT_CALLED void backward_sparse(const block_pass *pass, const sparse_block *block, const rates *by, int64_t m,
                                  int share, int shares) {
    const parameters *p = &pass->parameters;
    row_results of = {pass->scratch.gradients, pass->scratch.sums, pass->scratch.terms};
    int64_t start = pass->mini_batches.starts[m], rows = pass->mini_batches.starts[m + 1] - start;
    int64_t begin = block->rows.indptr[start], first = block->bounds[m], last = block->bounds[m + 1];
    if (shares > 1) prefetch_sums(p, of.sums, rows);
    if (share == 0) step_bias(pass, &by->bias, rows);
    int64_t low = share == 0 ? first : feature_at(block->ends, first, last, begin, share, shares);
    int64_t high = share == shares - 1 ? last : feature_at(block->ends, first, last, begin, share + 1, shares);
    float *own = feature_gradients(pass, share);
    pending linear = {.count = 0};
    for (int64_t u = low; u < high; u++) {
        prefetch_feature(p, block->features[smaller(u + PREFETCH_FEATURES, high - 1)]);
        step_shared(p, by, &pass->rule, block->features[u], own, &of, u == first ? begin : block->ends[u - 1],
                    block->ends[u], &linear, &block->pairs);
    }
    step_pending(&linear, &by->linear);
}

#endif

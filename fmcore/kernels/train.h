/* One pass over a block: a team of threads goes through its mini-batches, forward over rows, then backward over
   features.

   THE MAP OF CALLS. Python calls four functions of _kernels_baseline.pyx (compiled once more, for newer processors, as
   _kernels_v3.pyx); these fill structs with pointers into NumPy's arrays and call one C function each:

     group(batch, ...)   -> group_rows    group.h   once a block: its non-zeros by feature -> sparse_block
     matrix(batch, ...)  -> fill_matrix   dense.h   once a block, in place of group: its rows as a matrix -> dense_block
     train(block, ...)   -> train_block   train.h   each pass over some of a block's mini-batches
     score(batch, ...)   -> score_rows    score.h   rows without training

   train_block opens a team (team.h). Each of its threads runs train_member, which claims shares of phases until all are
   done. Mini-batch number `step` of the pass is the phases 2 step (forward) and 2 step + 1 (backward), with a barrier
   between any two phases. For one mini-batch, with what is read -> what is
   written, of a sparse block:

     forward_sparse         sparse.h      its share of the rows; for each
       score_row            fm.h            y(x) and the row's sums               parameters -> sums
       record_score         pass.h          loss_of of losses.h                   targets -> outputs, gradients
       step_lone_features   sparse.h        features that no other row holds:
         step_lone          fm_step.h         their gradient, step_factors        sums, gradients -> parameters
         add_pending        optimizers.h      their linear weights                gradient -> parameters
     backward_sparse        sparse.h      its share of the shared features
       step_bias            pass.h          by the first share alone              gradients -> parameters
       step_shared          fm_step.h       gradient over rows, step_factors      sums, gradients -> parameters
       add_pending          optimizers.h    linear weights, LANES at a time       gradient -> parameters

   and of a dense block X:

     forward_dense          dense.h       its share of the rows, in pieces
       multiply             dense.h         sums = X V by BLAS                    parameters, X -> sums
       score_cells          fm_dense.h      y(x) of a row                         columns, X, sums -> y(x)
       record_score         pass.h          as above, then sums *= gradient       targets -> outputs, gradients, sums
     backward_dense         dense.h       its share of the columns, in pieces
       step_bias            pass.h          by the first share alone              gradients -> parameters
       multiply             dense.h         products = X^T sums by BLAS           X, sums -> columns
       sum_columns          fm_dense.h      sum g x and sum g x^2                 X, gradients -> columns
       step_columns         fm_dense.h      step_factors, add_pending, then       columns -> parameters
         refresh_column     fm_dense.h        what scores read of a column        parameters -> columns

   THE STRUCTS and their arrays; float32 unless stated, d features:

     parameters    fm.h          bias (1 + slots,), linear (d, linear_step), factors (d, factors_step): stepped in place
     schedule      optimizers.h  learning rates and the number of updates before the pass, by value
     csr           rows.h        indptr int64 (rows + 1,), indices int32 (non-zeros,), values (non-zeros,)
     targets       pass.h        labels (rows,), weights (rows,), the objective's number
     mini_batches  pass.h        starts int64 (mini-batches + 1,), order int64 (count,)
     sparse_block  sparse.h      csr; int32 shared (rows,), features, ends; int64 bounds; pairs: uint16 or int32, values
     dense_block   dense.h       X (rows, stride), present uint8 (mini-batches, stride), columns (fm_dense.h)
     scratch       pass.h        sums (widest, k), gradients (widest,), feature_gradients (threads, k + LINE)
     outputs       pass.h        scores (rows,), losses (rows,)

   To add a loss: losses.h. An optimizer: optimizers.h. fm.h, fm_step.h and fm_dense.h are the family of
   models. */
#ifndef FMKIT_TRAIN_H
#define FMKIT_TRAIN_H

#include "dense.h"
#include "pass.h"
#include "sparse.h"
#include "team.h"

/* Do shares of a pass until it is done. Of a mini-batch even phases go forward, odd ones backward. */
static void train_member(const block_pass *pass, const sparse_block *sparse, const dense_block *dense,
                         team_work *work) {
    team_member me = {.number = thread_number()};
    int shares = work->members;
    int64_t step, prior = -1;
    rates now;
    while (team_claim(work, &me)) {
        step = me.phase / 2;
        int64_t m = pass->mini_batches.order[step];
        if (step != prior)
            now = rates_at(&pass->schedule, step, pass->mini_batches.starts[m + 1] - pass->mini_batches.starts[m]);
        prior = step;
        if (me.phase % 2 == 0) {
            if (dense != NULL) forward_dense(pass, dense, m, me.share, shares);
            else forward_sparse(pass, sparse, &now, m, me.share, shares);
        } else if (dense != NULL) backward_dense(pass, dense, &now, m, me.share, shares);
        else backward_sparse(pass, sparse, &now, m, me.share, shares);
    }
}

/* Train on the mini-batches of a pass by a team of threads. One of sparse and dense is NULL. shares: room for one for
   each thread. */
static void train_block(const block_pass *pass, const sparse_block *sparse, const dense_block *dense, int threads,
                        team_share *shares) {
    team_work work;
    if (dense != NULL)
        for (int column = 0; column < dense->count; column++)
            refresh_column(&dense->columns, &pass->parameters, column);
    team_open(&work, 2 * pass->mini_batches.count, threads, shares);
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
#endif
    train_member(pass, sparse, dense, &work);
    team_close(&work);
}

#endif

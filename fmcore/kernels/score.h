/* Raw scores of rows, without training. */
#ifndef FMKIT_SCORE_H
#define FMKIT_SCORE_H

#include "fm.h"
#include "rows.h"
#include "team.h"

/* Write the scores of the rows first .. last. sums (k rounded up to LANES,): of one thread. */
static void score_some(const parameters *p, const csr *rows, int64_t first, int64_t last, float *scores, float *sums) {
    int64_t end = rows->indptr[last];
    for (int64_t row = first; row < last; row++) {
        row_part whole = row_of(rows, row, end);
        scores[row] = score_row(p, &whole, sums);
    }
}

/* Write the scores of `count` rows. sums: (threads, k rounded up to LANES). */
static void score_rows(const parameters *p, const csr *rows, int64_t count, float *scores, float *sums, int threads) {
    int64_t size = pieces_of(count, threads), width = pieces_of(p->k, LANES) * LANES;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static, 1)
#endif
    for (int part = 0; part < threads; part++)
        score_some(p, rows, smaller(part * size, count), smaller((part + 1) * size, count), scores,
                   sums + part * width);
}

#endif

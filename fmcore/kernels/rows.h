/* Rows as they come from Python, and integers that C lacks a function for. */
#ifndef FMKIT_ROWS_H
#define FMKIT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "lanes.h"

/* Rows in CSR form: row r holds the non-zeros indptr[r] .. indptr[r + 1]. */
typedef struct {
    const int64_t *indptr;  /* (rows + 1,) */
    const int32_t *indices; /* (non-zeros,) */
    const float *values;    /* likewise; NULL: every value is 1 */
} csr;

/* Non-zeros of one row. values: NULL where each is 1. stop: behind the last index that may be read to prefetch. */
typedef struct {
    const int32_t *indices;
    const float *values;
    int64_t count;
    const int32_t *stop;
} row_part;

/* Return all non-zeros of a row; end: behind the last non-zero of `rows` that may be read to prefetch. */
FMKIT_INLINE row_part row_of(const csr *rows, int64_t row, int64_t end) {
    int64_t begin = rows->indptr[row];
    return (row_part){rows->indices + begin, rows->values == NULL ? NULL : rows->values + begin,
                      rows->indptr[row + 1] - begin, rows->indices + end};
}

FMKIT_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FMKIT_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Return how many pieces of at most `piece` make up `size`. */
FMKIT_INLINE int64_t pieces_of(int64_t size, int64_t piece) { return (size + piece - 1) / piece; }

#endif

/* The non-zeros of each mini-batch by feature: which features one row alone holds, and the rows of all others. */
#ifndef FMKIT_GROUP_H
#define FMKIT_GROUP_H

#include <string.h>

#include "rows.h"
#include "team.h"

enum { DIGIT = 11 }; /* bits that one pass of the sort looks at */

typedef struct {
    uint32_t feature;
    uint32_t number; /* of the feature among those of its mini-batch, in the order of their first non-zeros */
} numbered;

typedef struct {
    int32_t count; /* of the feature's non-zeros */
    int32_t next;  /* where the next of them goes */
} seen;

typedef struct {   /* of a hash table of features */
    uint64_t key;  /* stamp of the mini-batch << 32 | feature */
    uint64_t number;
} slot;

/* Memory for all threads, for mini-batches of at most so many non-zeros and distinct features. */
typedef struct {
    slot *tables;       /* (threads, 1 << table_bits), zeros */
    int table_bits;     /* a table has room for more than the distinct features */
    int32_t *number_of; /* (threads, non_zeros) */
    uint64_t *rest;     /* (threads, 3, distinct) */
    uint32_t *digits;   /* (threads, 1 << DIGIT) */
    uint64_t *stamps;   /* (threads,), zeros */
    int64_t non_zeros, distinct;
} group_memory;

/* That of one thread, for one mini-batch at a time. */
typedef struct {
    slot *table;        /* (mask + 1,) */
    uint32_t mask;
    int shift;          /* of a hash to the table's size */
    uint64_t stamp;
    int32_t *number_of; /* of each non-zero's feature */
    seen *seen;         /* by number */
    numbered *features;
    numbered *spare;
    uint32_t *digits; /* (1 << DIGIT,) */
} workspace;

/* Where the results go; sparse_block of sparse.h is what reads them. */
typedef struct {
    int32_t *indices; /* (non-zeros,): of each row those that others hold too, then those that it alone holds */
    float *values;    /* likewise; NULL: every value is 1 */
    int32_t *shared;  /* (rows,): how many are the former, for each row */
    int32_t *features; /* (non-zeros / 2 + 1,): those of a mini-batch from half of where its non-zeros begin */
    int32_t *ends;     /* likewise */
    void *rows;        /* (non-zeros,): int32 where wide, else uint16 */
    float *pair_values; /* likewise; NULL: every value is 1 */
    int wide;
} grouped;

/* Stable radix sort by feature; return whichever buffer the result ended in. */
static numbered *sort_by_feature(numbered *from, numbered *spare, int64_t n, int bits, uint32_t *counts) {
    int passes = (bits + DIGIT - 1) / DIGIT;
    if (passes == 0) return from;
    int digit = (bits + passes - 1) / passes;
    uint32_t mask = (1u << digit) - 1;
    for (int pass = 0; pass < passes; pass++) {
        int shift = pass * digit;
        uint32_t total = 0;
        memset(counts, 0, sizeof(uint32_t) << digit);
        for (int64_t j = 0; j < n; j++) counts[(from[j].feature >> shift) & mask]++;
        for (uint32_t j = 0; j <= mask; j++) {
            uint32_t here = counts[j];
            counts[j] = total;
            total += here;
        }
        for (int64_t j = 0; j < n; j++) spare[counts[(from[j].feature >> shift) & mask]++] = from[j];
        numbered *other = from;
        from = spare;
        spare = other;
    }
    return from;
}

/* Give each distinct feature a number and count its non-zeros; return how many there are. */
FMKIT_CALLED int64_t number_features(workspace *s, const int32_t *indices, int64_t n) {
    uint64_t stamp = ++s->stamp, distinct = 0;
    slot *table = s->table;
    seen *seen = s->seen;
    int shift = s->shift;
    for (int64_t j = 0; j < n; j++) {
        uint32_t feature = (uint32_t)indices[j], at = (feature * 2654435769u) >> shift;
        uint64_t key = stamp << 32 | feature;
        slot *slot = &table[at];
        while (slot->key != key) {
            if (slot->key >> 32 != stamp) { /* left by an earlier mini-batch */
                slot->key = key;
                slot->number = distinct;
                seen[distinct].count = 0;
                s->features[distinct] = (numbered){feature, (uint32_t)distinct};
                distinct++;
                break;
            }
            at = (at + 1) & s->mask;
            slot = &table[at];
        }
        seen[slot->number].count++;
        s->number_of[j] = (int32_t)slot->number;
    }
    return (int64_t)distinct;
}

/* Write the shared features in rising order and where their pairs end, the first of which stands at `begin`; return how
   many there are. Pairs of the others come behind these, for nobody to read: so every non-zero has a place, and no loop
   a branch. */
FMKIT_CALLED int64_t place_features(workspace *s, int64_t distinct, int64_t begin, int bits, int32_t *features,
                                    int32_t *ends) {
    int64_t shared = 0, at = begin;
    for (int64_t j = 0; j < distinct; j++) {
        numbered feature = s->features[j];
        s->features[shared] = feature;
        shared += s->seen[feature.number].count > 1;
    }
    const numbered *sorted = sort_by_feature(s->features, s->spare, shared, bits, s->digits);
    for (int64_t j = 0; j < shared; j++) {
        seen *seen = &s->seen[sorted[j].number];
        seen->next = (int32_t)at;
        at += seen->count;
        features[j] = (int32_t)sorted[j].feature;
        ends[j] = (int32_t)at;
    }
    for (int64_t j = 0; j < distinct; j++)
        if (s->seen[j].count == 1) s->seen[j].next = (int32_t)at++;
    return shared;
}

/* Write each row's indices with those that it alone holds last, and the pairs of its features. */
FMKIT_CALLED void place_rows(const workspace *s, const csr *rows, int64_t first, int64_t last, const grouped *out) {
    int64_t begin = rows->indptr[first];
    const int32_t *number_of = s->number_of;
    seen *all = s->seen;
    for (int64_t row = first; row < last; row++) {
        int64_t front = rows->indptr[row], end = rows->indptr[row + 1], back = end - 1;
        for (int64_t j = front; j < end; j++) {
            seen *seen = &all[number_of[j - begin]];
            int lone = seen->count == 1;
            int64_t target = lone ? back : front;
            int32_t position = seen->next++;
            front += 1 - lone;
            back -= lone;
            out->indices[target] = rows->indices[j];
            if (out->wide) ((int32_t *)out->rows)[position] = (int32_t)(row - first);
            else ((uint16_t *)out->rows)[position] = (uint16_t)(row - first);
            if (out->values != NULL) out->values[target] = out->pair_values[position] = rows->values[j];
        }
        out->shared[row] = (int32_t)(front - rows->indptr[row]);
    }
}

/* Return the part of the memory that is a thread's. */
static workspace workspace_of(const group_memory *memory, int thread) {
    int bits = memory->table_bits;
    uint64_t *rest = memory->rest + thread * 3 * memory->distinct;
    return (workspace){
        .table = memory->tables + ((int64_t)thread << bits),
        .mask = (1u << bits) - 1,
        .shift = 32 - bits,
        .stamp = memory->stamps[thread],
        .number_of = memory->number_of + thread * memory->non_zeros,
        .seen = (seen *)rest,
        .features = (numbered *)(rest + memory->distinct),
        .spare = (numbered *)(rest + 2 * memory->distinct),
        .digits = memory->digits + ((int64_t)thread << DIGIT),
    };
}

/* Group the rows first .. last; return how many features have more than one non-zero. */
static int64_t group_mini_batch(const group_memory *memory, const csr *rows, int64_t first, int64_t last, int bits,
                                const grouped *out) {
    int64_t begin = rows->indptr[first], n = rows->indptr[last] - begin;
    int thread = thread_number();
    workspace s = workspace_of(memory, thread);
    int64_t distinct = number_features(&s, rows->indices + begin, n);
    int64_t shared = place_features(&s, distinct, begin, bits, out->features + begin / 2, out->ends + begin / 2);
    place_rows(&s, rows, first, last, out);
    memory->stamps[thread] = s.stamp;
    return shared;
}

/* Group all `count` mini-batches; shared (count,): how many features of each have more than one non-zero. bits: of the
   largest index. */
static void group_rows(const group_memory *memory, const csr *rows, const int64_t *starts, int64_t count, int bits,
                       const grouped *out, int64_t *shared, int threads) {
    (void)threads; /* without OpenMP */
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
#endif
    for (int64_t m = 0; m < count; m++)
        shared[m] = group_mini_batch(memory, rows, starts[m], starts[m + 1], bits, out);
}

#endif

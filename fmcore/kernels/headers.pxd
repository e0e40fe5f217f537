# What the kernels' headers declare, as far as _kernels_baseline.pyx uses it; what it all means stands there.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "rows.h" nogil:
    enum:
        LANES
    ctypedef struct csr:
        const int64_t *indptr
        const int32_t *indices
        const float *values

cdef extern from "team.h" nogil:
    ctypedef struct team_share:
        pass
    int has_openmp()

cdef extern from "losses.h" nogil:
    enum:
        LOSSES

cdef extern from "optimizers.h" nogil:
    enum:
        OPTIMIZERS
    ctypedef struct rate:
        int optimizer
        float lr, wd, clip, eps, per_factor
        int by_rows
        float floor
    ctypedef struct rates:
        rate bias, linear, factors
    ctypedef struct schedule:
        rates rates
        int64_t updates
        double fall
        int64_t done

cdef extern from "row_rule.h" nogil:
    ctypedef struct row_rule:
        float tau, precision, gain, rescale, count, share, bound

cdef extern from "fm.h" nogil:
    enum:
        LINE
    ctypedef struct parameters:
        float *bias
        float *linear
        float *factors
        int k, linear_step, factors_step, evidence

cdef extern from "fm_step.h" nogil:
    ctypedef struct pair_list:
        const void *rows
        const float *values
        int wide

cdef extern from "score.h" nogil:
    void score_rows(const parameters *p, const csr *rows, int64_t count, float *scores, float *sums, int threads)

cdef extern from "group.h" nogil:
    enum:
        DIGIT
    ctypedef struct slot:
        pass
    ctypedef struct group_memory:
        slot *tables
        int table_bits
        int32_t *number_of
        uint64_t *rest
        uint32_t *digits
        uint64_t *stamps
        int64_t non_zeros, distinct
    ctypedef struct grouped:
        int32_t *indices
        float *values
        int32_t *shared
        int32_t *features
        int32_t *ends
        void *rows
        float *pair_values
        int wide
    void group_rows(const group_memory *memory, const csr *rows, const int64_t *starts, int64_t count, int bits,
                    const grouped *out, int64_t *shared, int threads)

cdef extern from "pass.h" nogil:
    ctypedef struct targets:
        int objective
        float rescale
        const float *labels
        const float *weights
    ctypedef struct mini_batches:
        const int64_t *starts
        const int64_t *order
        int64_t count
    ctypedef struct scratch:
        float *sums
        float *gradients
        float *terms
        float *curved
        float *cubes
        float *feature_gradients
    ctypedef struct outputs:
        float *scores
        float *losses
    ctypedef struct block_pass:
        parameters parameters
        schedule schedule
        row_rule rule
        targets targets
        mini_batches mini_batches
        scratch scratch
        outputs outputs

cdef extern from "sparse.h" nogil:
    ctypedef struct sparse_block:
        csr rows
        const int32_t *shared
        const int64_t *bounds
        const int32_t *features
        const int32_t *ends
        pair_list pairs

cdef extern from "dense.h" nogil:
    enum:
        CUBES
    ctypedef void (*gemm)(char *trans_a, char *trans_b, int *m, int *n, int *k, float *alpha, float *a, int *lda,
                          float *b, int *ldb, float *beta, float *c, int *ldc) noexcept nogil
    ctypedef struct row_columns:
        float *variances
        float *square
        float *variance
        float *fourth
        float *rows
        float *reach
        float *cross
    ctypedef struct columns:
        float *linear
        float *squares
        float *sums
        float *square_sums
        float *products
        int stride
        row_columns by_rows
    ctypedef struct dense_block:
        const float *values
        const uint8_t *present
        int count, stride
        columns columns
        gemm multiply
    int64_t fill_matrix(const csr *rows, const int64_t *starts, int64_t count, int stride, int64_t *last_row,
                        float *values, uint8_t *present, int threads)

cdef extern from "train.h" nogil:
    void train_block(const block_pass *work, const sparse_block *sparse, const dense_block *dense, int threads,
                     team_share *shares)

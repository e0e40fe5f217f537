# Read numbers from a tensor's bytes: inline nogil functions; False or -1 means declined, as in _fields.pxd.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fmcore.io.recordio._fields cimport ABSENT, FLOAT32, FLOAT64, INT32, Tensor
from fmcore.io.recordio._wire cimport MAX_FEATURE_DIM, Span, load32, read_varint, size_of

cdef enum:
    ONE_BITS = 0x3f800000  # of the float 1
    EXPONENT_BITS = 0x7f800000  # all set: infinity or NaN

cdef extern from *:
    """
    #define FM_MAX_ID 0x7fffffffffffffffULL /* above it google protobuf decides, as it rarely happens */
    """
    const uint64_t MAX_ID "FM_MAX_ID"

ctypedef fused Key:  # wide enough for one more than any index
    uint32_t
    uint64_t

ctypedef fused Index:  # of a feature; or its id, where ids of 64 bits are asked for
    int32_t
    uint64_t


cdef inline bint is_finite(float value) noexcept nogil:
    return load32(<const uint8_t*> &value) & EXPONENT_BITS != EXPONENT_BITS


cdef inline bint all_finite(const float* values, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    cdef bint finite = True
    for i in range(size):
        finite &= is_finite(values[i])
    return finite


cdef inline bint all_ones(const void* floats, Py_ssize_t size) noexcept nogil:
    """Return whether all are exactly 1; `floats` may be unaligned."""
    cdef const uint8_t* p = <const uint8_t*> floats
    cdef Py_ssize_t i
    cdef uint32_t other = 0
    for i in range(size):
        other |= load32(p + 4 * i) ^ ONE_BITS
    return other == 0


cdef inline Py_ssize_t count_values(const Tensor* tensor) noexcept nogil:
    """Return the number of values; -1 where their bytes are not a whole number of them."""
    cdef Py_ssize_t size = size_of(&tensor.values), count = 0, i
    cdef Py_ssize_t width = 8 if tensor.kind == FLOAT64 else 4
    if tensor.kind == INT32:
        for i in range(size):
            count += tensor.values.p[i] < 0x80
        return count
    return size // width if size % width == 0 else -1


cdef inline bint load_values(const Tensor* tensor, Py_ssize_t size, float* out) noexcept nogil:
    """Write the `size` values as floats to `out`."""
    cdef Span rest = tensor.values
    cdef Py_ssize_t i
    cdef uint64_t integer
    cdef double real
    if size == 0:
        return rest.p == rest.end
    if tensor.kind == FLOAT32:
        memcpy(out, rest.p, <size_t> (4 * size))
    elif tensor.kind == FLOAT64:
        for i in range(size):
            memcpy(&real, rest.p + 8 * i, 8)
            out[i] = <float> real
    else:
        for i in range(size):
            if not read_varint(&rest, &integer):
                return False
            out[i] = <float> <int32_t> <uint32_t> integer
        return rest.p == rest.end
    return True


cdef inline bint load_keys(Span keys, Py_ssize_t size, Key limit, Index* out) noexcept nogil:
    """Write the keys, which must be exactly `size` and each below `limit`, to `out`."""
    cdef const uint8_t* p = keys.p
    cdef Py_ssize_t i
    cdef uint32_t word
    cdef Key key
    cdef bint good = True
    for i in range(size):
        word = load32(p) if keys.end - p >= 4 else 0x80808080
        if not word & 0x80:
            key = word & 0x7f
            p += 1
        elif not word & 0x8000:
            key = word & 0x7f | word >> 1 & 0x3f80
            p += 2
        elif not word & 0x800000:
            key = word & 0x7f | word >> 1 & 0x3f80 | word >> 2 & 0x1fc000
            p += 3
        else:  # long, or near the end of the bytes
            p = long_key(p, keys.end, &key)
            if p == NULL:
                return False
        good &= key < limit
        out[i] = <Index> key
    return good and p == keys.end


cdef inline const uint8_t* long_key(const uint8_t* p, const uint8_t* end, Key* key) noexcept nogil:
    """Read one key of any length; return a pointer to the byte behind it, NULL where it does not fit."""
    cdef Span rest = Span(p, end)
    cdef uint64_t value
    if not read_varint(&rest, &value) or <Key> value != value:
        return NULL
    key[0] = <Key> value
    return rest.p


cdef inline bint subtract_base(Py_ssize_t size, uint64_t base, Index* indices) noexcept nogil:
    """Subtract 0 or 1 from indices, none of which may be below."""
    cdef Py_ssize_t i
    cdef bint good = True
    for i in range(size if base else 0):
        good &= indices[i] != 0
        indices[i] -= 1
    return good


cdef inline Py_ssize_t drop_zeros(Py_ssize_t size, Index* indices, float* values) noexcept nogil:
    """Keep the non-zero ones of `size` dense values, in place, with their positions; return how many."""
    cdef Py_ssize_t i, kept = 0
    for i in range(size):
        indices[kept] = <Index> i
        values[kept] = values[i]
        kept += values[i] != 0
    return kept


cdef inline bint load_shape(Span shape, uint64_t most, int64_t* feature_dim) noexcept nogil:
    """Read the one dimension, which is `most` or less; -1 without a shape."""
    cdef uint64_t size
    feature_dim[0] = -1
    if size_of(&shape) == 0:
        return True
    if not read_varint(&shape, &size) or size > most or shape.p != shape.end:
        return False
    feature_dim[0] = <int64_t> size
    return True


cdef inline bint load_scalar(const Tensor* tensor, float default, float* out) noexcept nogil:
    """Read the one value of a dense tensor; `default` without a tensor."""
    out[0] = default
    if tensor.kind == ABSENT:
        return True
    return count_values(tensor) == 1 and size_of(&tensor.keys) == 0 and load_values(tensor, 1, out)


cdef inline bint is_binary(const Tensor* tensor, Py_ssize_t size) noexcept nogil:
    """Return whether it is a sparse Float32 row of ones, whose values need not be stored."""
    return tensor.kind == FLOAT32 and size_of(&tensor.keys) != 0 and all_ones(tensor.values.p, size)


cdef inline Py_ssize_t load_features(
        const Tensor* tensor, Py_ssize_t size, uint64_t base, int64_t* feature_dim, Index* indices, float* values) \
        noexcept nogil:
    """Write a row of `size` values (as counted) to arrays of enough capacity; return how many it keeps, -1: declined.

    Sparse rows are kept whole, dense ones without zeros; feature_dim becomes the shape, else the length of a dense row.
    base: 0 or 1, subtracted from keys. values NULL: the tensor `is_binary`, and only its keys are read.
    """
    cdef uint64_t most = MAX_FEATURE_DIM if Index is int32_t else MAX_ID
    cdef bint good
    if size < 0 or not load_shape(tensor.shape, most, feature_dim):
        return -1
    if values != NULL and not (load_values(tensor, size, values) and all_finite(values, size)):
        return -1
    if size_of(&tensor.keys) != 0:
        if feature_dim[0] >= 0:
            most = <uint64_t> feature_dim[0]
        if Index is int32_t:
            good = load_keys(tensor.keys, size, <uint32_t> (most + base), indices)
        else:
            good = load_keys(tensor.keys, size, most + base, indices)
        return size if good and subtract_base(size, base, indices) else -1
    if size == 0:
        return 0
    if feature_dim[0] < 0:
        feature_dim[0] = size
    return drop_zeros(size, indices, values) if feature_dim[0] == size else -1

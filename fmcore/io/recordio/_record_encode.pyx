# Encodes rows as framed recordIO-protobuf records, without the GIL: sizes first, then bytes into memory of that size.
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from fmcore.io.recordio._wire cimport (
    LENGTH_LIMIT, MAGIC, PLACEHOLDER_SIZE,
    field_size, store32, varint_size, write_head, write_placeholder, write_varint)

cdef enum:
    MAX_ENTRIES = 2
    FRAME_SIZE = 8
    VALUES_KEY_SIZE = 8  # the map key "values" as a field

cdef struct Entry:  # one entry of the label map
    const uint8_t* head  # the entry's bytes up to the float
    Py_ssize_t size
    const float* values
    bint optional  # no entry where the value is NaN

cdef struct Sizes:  # bytes of one record's nested messages
    Py_ssize_t keys
    Py_ssize_t tensor
    Py_ssize_t entry
    Py_ssize_t payload


cdef bytes entry_head(bytes name):
    """Return the bytes of a label-map entry with one float, up to that float; `name`: the map key, under 100 bytes."""
    value = b"\x12\x08\x12\x06\x0a\x04"  # the map entry's Value, the Float32Tensor in it, its 4 bytes of values
    key = b"\x0a" + bytes([len(name)]) + name
    return b"\x12" + bytes([len(key) + len(value) + 4]) + key + value


cdef inline Py_ssize_t keys_size(const int32_t* keys, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i, total = size
    cdef uint32_t key
    for i in range(size):
        key = <uint32_t> keys[i]
        total += (key >= 1 << 7) + (key >= 1 << 14) + (key >= 1 << 21) + (key >= 1 << 28)
    return total


@cython.final
cdef class RecordEncoder:
    """An encoder of `rows` rows: add their content with the `add_` methods, then call `measure`, then `encode`."""

    cdef Py_ssize_t rows, total, entry_count
    cdef int64_t feature_dim  # -1: not known yet
    cdef Py_ssize_t shape_size
    cdef list kept  # the owners of the memory that the pointers below point to
    cdef const int64_t* indptr  # NULL: no features
    cdef const int32_t* indices
    cdef const float* values  # NULL: all 1
    cdef bint dense  # values alone, without keys and shape
    cdef Entry[MAX_ENTRIES] entries
    cdef const uint8_t* ids
    cdef const int64_t* id_spans  # NULL: no ids; start (-1: none) and size of each row's uid in ids

    def __init__(self, Py_ssize_t rows):
        self.rows = rows
        self.kept = []

    def add_features(self, const int64_t[::1] indptr, const int32_t[::1] indices, values, feature_dim):
        """Add CSR rows as in `Batch`; feature_dim None leaves a placeholder of PLACEHOLDER_SIZE bytes for the shape."""
        cdef const float[::1] floats
        assert len(indptr) == self.rows + 1 and indptr[self.rows] == len(indices), "indptr does not fit the indices"
        if values is not None and len(indices):
            floats = values
            assert len(floats) == len(indices), "as many values as indices"
            self.values = &floats[0]
        self.indptr = &indptr[0]
        self.indices = &indices[0] if len(indices) else NULL
        self.feature_dim = -1 if feature_dim is None else feature_dim
        self.shape_size = PLACEHOLDER_SIZE if feature_dim is None else varint_size(feature_dim)
        self.kept += (indptr, indices, values)

    def add_dense_features(self, const int64_t[::1] indptr, const float[::1] values):
        """Add rows of values alone, row r those from indptr[r] to indptr[r + 1]."""
        assert len(indptr) == self.rows + 1 and indptr[self.rows] == len(values), "indptr does not fit the values"
        self.indptr, self.dense = &indptr[0], True
        self.values = &values[0] if len(values) else NULL
        self.kept += (indptr, values)

    def add_label(self, bytes name, const float[::1] values, bint optional=False):
        """Add one value a row under that key of the label map; optional: left out of rows where it is NaN."""
        assert len(values) == self.rows and self.entry_count < MAX_ENTRIES, "one value a row, and few keys"
        head = entry_head(name)
        if self.rows:
            self.entries[self.entry_count] = Entry(head, len(head), &values[0], optional)
            self.entry_count += 1
        self.kept += (head, values)

    def add_ids(self, bytes text, const int64_t[:, ::1] spans):
        """Add each row's uid as its start (-1: none) and size in `text`."""
        assert len(spans) == self.rows, "one id a row"
        if self.rows:
            self.ids, self.id_spans = text, &spans[0, 0]
        self.kept += (text, spans)

    def measure(self):
        """Compute the output's size; return the first row whose payload would have 2**29 bytes or more, else -1."""
        cdef Py_ssize_t row, size
        cdef Py_ssize_t bad = -1
        self.total = 0
        with nogil:
            for row in range(self.rows):
                size = self.sizes(row).payload
                if size >= LENGTH_LIMIT:
                    bad = row
                    break
                self.total += FRAME_SIZE + (size + 3) // 4 * 4
        return bad

    def encode(self):
        """Return the framed records as bytes, once `measure` has found no row too long."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, self.total)
        cdef uint8_t* p = <uint8_t*> PyBytes_AS_STRING(out)
        cdef Py_ssize_t row
        with nogil:
            for row in range(self.rows):
                p = self.write(row, p)
        return out

    cdef Sizes sizes(self, Py_ssize_t row) noexcept nogil:
        cdef Sizes sizes = Sizes(0, 0, 0, 0)
        cdef Py_ssize_t i
        if self.indptr != NULL:
            self.measure_features(row, &sizes)
        for i in range(self.entry_count):
            if self.has_entry(i, row):
                sizes.payload += self.entries[i].size + 4
        if self.has_id(row):
            sizes.payload += field_size(self.id_spans[2 * row + 1])
        return sizes

    cdef void measure_features(self, Py_ssize_t row, Sizes* sizes) noexcept nogil:
        cdef Py_ssize_t start = self.indptr[row], size = self.indptr[row + 1] - start
        sizes.tensor = 0 if self.dense else field_size(self.shape_size)
        if size:
            sizes.tensor += field_size(4 * size)
            if not self.dense:
                sizes.keys = keys_size(self.indices + start, size)
                sizes.tensor += field_size(sizes.keys)
        sizes.entry = VALUES_KEY_SIZE + field_size(field_size(sizes.tensor))
        sizes.payload = field_size(sizes.entry)

    cdef uint8_t* write(self, Py_ssize_t row, uint8_t* p) noexcept nogil:
        cdef Sizes sizes = self.sizes(row)
        cdef Py_ssize_t i, padding = -sizes.payload & 3
        store32(p, MAGIC)
        store32(p + 4, <uint32_t> sizes.payload)
        p += FRAME_SIZE
        if self.indptr != NULL:
            p = self.write_features(row, &sizes, p)
        for i in range(self.entry_count):
            if self.has_entry(i, row):
                memcpy(p, self.entries[i].head, <size_t> self.entries[i].size)
                p += self.entries[i].size
                memcpy(p, &self.entries[i].values[row], 4)
                p += 4
        if self.has_id(row):
            p = self.write_id(row, p)
        memset(p, 0, <size_t> padding)
        return p + padding

    cdef uint8_t* write_features(self, Py_ssize_t row, const Sizes* sizes, uint8_t* p) noexcept nogil:
        cdef Py_ssize_t start = self.indptr[row], size = self.indptr[row + 1] - start
        p = write_head(p, 1, sizes.entry)
        memcpy(p, b"\x0a\x06values", VALUES_KEY_SIZE)
        p = write_head(p + VALUES_KEY_SIZE, 2, field_size(sizes.tensor))
        p = write_head(p, 2, sizes.tensor)
        if size:
            p = self.write_numbers(start, size, sizes.keys, p)
        if self.dense:
            return p
        p = write_head(p, 3, self.shape_size)
        if self.feature_dim < 0:
            return write_placeholder(p, 0)
        return write_varint(p, <uint32_t> self.feature_dim)

    cdef uint8_t* write_numbers(
            self, Py_ssize_t start, Py_ssize_t size, Py_ssize_t bytes_of_keys, uint8_t* p) noexcept nogil:
        cdef Py_ssize_t i
        cdef float one = 1
        p = write_head(p, 1, 4 * size)
        if self.values != NULL:
            memcpy(p, self.values + start, <size_t> (4 * size))
        else:
            for i in range(size):
                memcpy(p + 4 * i, &one, 4)
        p += 4 * size
        if self.dense:
            return p
        p = write_head(p, 2, bytes_of_keys)
        for i in range(start, start + size):
            p = write_varint(p, <uint32_t> self.indices[i])
        return p

    cdef uint8_t* write_id(self, Py_ssize_t row, uint8_t* p) noexcept nogil:
        cdef Py_ssize_t size = self.id_spans[2 * row + 1]
        p = write_head(p, 3, size)
        memcpy(p, self.ids + self.id_spans[2 * row], <size_t> size)
        return p + size

    cdef inline bint has_entry(self, Py_ssize_t i, Py_ssize_t row) noexcept nogil:
        return not (self.entries[i].optional and isnan(self.entries[i].values[row]))

    cdef inline bint has_id(self, Py_ssize_t row) noexcept nogil:
        return self.id_spans != NULL and self.id_spans[2 * row] >= 0

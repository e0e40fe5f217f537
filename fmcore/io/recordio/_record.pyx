# Decodes recordIO-protobuf records in the common form straight from bytes to CSR arrays, without the GIL.
import numpy as np

cimport cython
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.math cimport NAN, isinf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fmcore.io.recordio._fields cimport Record, read_fields
from fmcore.io.recordio._tensors cimport Index, all_ones, count_values, is_binary, is_finite, load_features, load_scalar
from fmcore.io.recordio._wire cimport (
    BAD_FLAG, BAD_MAGIC, NONE, PLACEHOLDER_SIZE, TOO_LONG, Fault, Framed, Span, read_record, size_of,
    write_placeholder)

FAULTS = {BAD_MAGIC: "magic", BAD_FLAG: "flag", TOO_LONG: "length"}

cdef enum Outcome:
    DONE, DECLINED, FULL


def split(const uint8_t[::1] data):
    """Find the whole records at the front of `data`.

    Returns (bytes they take, how many they are, fault, its byte offset): fault is "magic", "flag" or "length" where
    the bytes that follow cannot become a record, None where they may with more bytes, or where nothing follows.
    """
    cdef Span span = bytes_of(data)
    cdef Framed record
    cdef Fault fault = NONE
    cdef Py_ssize_t at = 0, count = 0
    record.fault_at = 0
    with nogil:
        while at < size_of(&span):
            fault = read_record(span, at, &record)
            if fault != NONE:
                break
            at = record.stop
            count += 1
    return at, count, FAULTS.get(fault), record.fault_at


def patch_shapes(uint8_t[::1] data, uint32_t feature_dim):
    """Write `feature_dim` over the shape of every record's features, in place.

    `data` holds whole records, each with a shape of PLACEHOLDER_SIZE bytes as the encoder writes it. Returns how many
    are patched and the bytes they take, fewer than all where the next record is not of that form.
    """
    cdef Span span = bytes_of(data)
    cdef Framed framed
    cdef Record record
    cdef Py_ssize_t at = 0, count = 0
    with nogil:
        while at < size_of(&span):
            if read_record(span, at, &framed) != NONE or not framed.whole or not read_fields(framed.payload, &record):
                break
            if size_of(&record.features.shape) != PLACEHOLDER_SIZE:
                break
            write_placeholder(<uint8_t*> record.features.shape.p, feature_dim)
            at = framed.stop
            count += 1
    return count, at


cdef inline Span bytes_of(const uint8_t[::1] data):
    cdef Span span = Span(NULL, NULL)
    if len(data):
        span = Span(&data[0], &data[0] + len(data))
    return span


cdef inline bint is_ascii(Span text) noexcept nogil:
    cdef uint8_t bits = 0
    while text.p < text.end:
        bits |= text.p[0]
        text.p += 1
    return bits < 0x80


cdef inline void fill_ones(float* values, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        values[i] = 1


cdef inline bint is_weight(float value) noexcept nogil:
    return value >= 0 and is_finite(value)


@cython.final
cdef class RecordDecoder:
    """A decoder of the rows of one piece: call `fill` until it returns None, then `finish`.

    data: whole records, not changed meanwhile. records: how many, as `split` counts them. base: subtracted from keys.
    wide: whether indices are ids of 64 bits (uint64), instead of int32.
    """

    cdef object data, arrays, texts
    cdef Span span
    cdef Py_ssize_t records, at, number  # how many records; the byte and the record up to which they are read
    cdef Py_ssize_t rows, nnz, capacity, wanted
    cdef bint binary, weighted, named  # binary: no values stored yet, as each is 1
    cdef bint wide, shifted  # shifted: a base was subtracted
    cdef uint64_t base
    cdef int64_t feature_dim
    cdef Framed framed
    cdef int64_t* indptr
    cdef void* indices
    cdef float* values
    cdef float* labels
    cdef float* weights
    cdef int64_t* ids  # start + 1 (0: none) and size of each row's uid in data

    def __init__(self, const uint8_t[::1] data, Py_ssize_t records, uint64_t base=0, bint wide=False):
        self.data, self.span, self.records = data, bytes_of(data), records
        self.base, self.wide = base, wide
        self.capacity = len(data) // 4 + 1  # enough for float values; reserve() grows it for others
        self.binary = True
        self.feature_dim = -1
        self.texts = {}
        self.arrays = {
            "indptr": np.zeros(records + 1, np.int64), "labels": np.empty(records + 1, np.float32),
            "weights": np.empty(records + 1, np.float32), "ids": np.zeros((records + 1, 2), np.int64),
            "indices": np.empty(self.capacity, np.uint64 if wide else np.int32),
            "values": np.empty(self.capacity, np.float32)}
        self.point()

    cdef point(self):
        """Store the arrays' addresses, which are valid until one is resized."""
        cdef int64_t[::1] indptr = self.arrays["indptr"]
        cdef int64_t[:, ::1] ids = self.arrays["ids"]
        cdef uint8_t[::1] indices = self.arrays["indices"].view(np.uint8)
        cdef float[::1] labels = self.arrays["labels"]
        cdef float[::1] weights = self.arrays["weights"]
        cdef float[::1] values = self.arrays["values"]
        self.indptr, self.indices, self.values = &indptr[0], &indices[0], &values[0]
        self.labels, self.weights, self.ids = &labels[0], &weights[0], &ids[0, 0]

    cdef reserve(self, Py_ssize_t more):
        """Grow the arrays to hold `more` non-zeros."""
        if more <= self.capacity - self.nnz:
            return
        self.capacity = 2 * self.nnz + more
        for name in ("indices", "values"):
            self.arrays[name].resize(self.capacity, refcheck=False)
        self.point()

    def fill(self):
        """Decode up to the next record that is not in the common form.

        Returns (its 1-based number, its first byte, the byte behind it), or None at the end. The GIL is released.
        """
        cdef Outcome outcome = FULL
        while outcome == FULL:
            with nogil:
                outcome = self.run(<uint64_t*> NULL) if self.wide else self.run(<int32_t*> NULL)
            if outcome == FULL:
                self.reserve(self.wanted)
        return None if outcome == DONE else (self.number, self.framed.start, self.framed.stop)

    def append(self, row):
        """Add the row of a declined record (a `record_message.Row`)."""
        cdef Py_ssize_t size = len(row.indices)
        self.reserve(size)
        if self.binary:
            self.store_ones()
        self.arrays["indices"][self.nnz:self.nnz + size] = row.indices
        self.arrays["values"][self.nnz:self.nnz + size] = row.values
        self.shifted = self.shifted or (self.base and row.keyed)
        if row.uid is not None:
            self.texts[self.rows] = row.uid
        self.commit(size, row.feature_dim, row.label, row.weight)

    def finish(self):
        """Return (indptr, indices, values or None, labels, weights or None, ids or None), see `Batch`, and two facts.

        These are the largest feature_dim that any shape or dense row gave, -1 without any, and whether a base was
        subtracted.
        """
        sizes = {"indptr": self.rows + 1, "indices": self.nnz, "values": self.nnz, "labels": self.rows,
                 "weights": self.rows}
        if self.binary or all_ones(self.values, self.nnz):
            del self.arrays["values"], sizes["values"]
        if not self.weighted:
            del self.arrays["weights"], sizes["weights"]
        for name, size in sizes.items():
            self.arrays[name].resize(size, refcheck=False)
        arrays = self.arrays
        return (
            arrays["indptr"], arrays["indices"], arrays.get("values"), arrays["labels"], arrays.get("weights"),
            self.uids(), self.feature_dim, self.shifted)

    cdef list uids(self):
        cdef Py_ssize_t row
        cdef list texts
        if not self.named and not self.texts:
            return None
        texts = [None] * self.rows
        for row in range(self.rows):
            if self.ids[2 * row]:
                texts[row] = PyUnicode_DecodeASCII(
                    <const char*> self.span.p + self.ids[2 * row] - 1, self.ids[2 * row + 1], NULL)
        for row, text in self.texts.items():
            texts[row] = text
        return texts

    cdef Outcome run(self, Index* _kind) noexcept nogil:
        cdef Record record
        cdef Outcome outcome
        while self.number < self.records and read_record(self.span, self.at, &self.framed) == NONE:
            if self.framed.whole and read_fields(self.framed.payload, &record):
                outcome = self.add(&record, _kind)
            else:
                outcome = DECLINED
            if outcome == FULL:
                return FULL
            self.at = self.framed.stop
            self.number += 1
            if outcome == DECLINED:
                return DECLINED
        return DONE

    cdef Outcome add(self, const Record* record, Index* _kind) noexcept nogil:
        cdef Py_ssize_t size = count_values(&record.features)
        cdef int64_t feature_dim
        cdef float label, weight
        cdef float* values
        if size > self.capacity - self.nnz:
            self.wanted = size
            return FULL
        if not load_scalar(&record.label, NAN, &label) or isinf(label):
            return DECLINED
        if not load_scalar(&record.weight, 1, &weight) or not is_weight(weight) or not is_ascii(record.uid):
            return DECLINED
        if self.binary and not is_binary(&record.features, size):
            self.store_ones()
        values = NULL if self.binary else self.values + self.nnz
        size = load_features(
            &record.features, size, self.base, &feature_dim, <Index*> self.indices + self.nnz, values)
        if size < 0:
            return DECLINED
        if self.base and size_of(&record.features.keys) != 0:
            self.shifted = True
        if record.uid.p != NULL:
            self.named = True
            self.ids[2 * self.rows] = record.uid.p - self.span.p + 1
            self.ids[2 * self.rows + 1] = size_of(&record.uid)
        self.commit(size, feature_dim, label, weight)
        return DONE

    cdef void store_ones(self) noexcept nogil:
        """Store the values so far, which were not stored because each is 1, and store all from now on."""
        fill_ones(self.values, self.nnz)
        self.binary = False

    cdef void commit(self, Py_ssize_t size, int64_t feature_dim, float label, float weight) noexcept nogil:
        """Complete a row whose `size` non-zeros are stored."""
        if weight != 1 and not self.weighted:
            fill_ones(self.weights, self.rows)
            self.weighted = True
        if self.weighted:
            self.weights[self.rows] = weight
        self.labels[self.rows] = label
        self.feature_dim = max(self.feature_dim, feature_dim)
        self.nnz += size
        self.rows += 1
        self.indptr[self.rows] = self.nnz

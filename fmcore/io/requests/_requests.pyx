"""Decode JSON requests in the common form to CSR arrays, without the GIL.

Common: instances have nothing but `features` or `data`, and an empty `configuration`; a document has `instances` alone.
Any other request is declined, never refused: codec.py decodes it, or raises the error.

A chunk is a `bytes` object, which Python ends with a NUL that is not counted; no scanner reads past a NUL.
"""
import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport strncmp

from fmcore.io.recordio._tensors cimport MAX_ID, Index, drop_zeros

include "fmcore/io/_decimal.pxi"

cdef enum:
    MAX_FEATURE_DIM = 2147483647
    ABSENT = -1
    WRONG = -2

cdef enum Name:  # of a member of an object
    UNKNOWN, INSTANCES, FEATURES, DATA, CONFIGURATION, KEYS, VALUES, SHAPE

cdef struct Scan:
    const char* at  # the next byte
    bint lines  # whether a line's end ends an instance, instead of being a blank

cdef struct Features:  # of one row; ABSENT for a missing member
    int64_t keys  # how many were read
    int64_t values  # how many were read
    int64_t size  # the number of features that the shape states

cdef struct Rows:
    bint wide  # indices are ids of 64 bits
    uint64_t base  # subtracted from every key
    int64_t width  # that a dense row or a shape must have; ABSENT for any
    int64_t* indptr
    void* indices  # int32_t, or uint64_t where they are wide
    float* values
    int64_t* numbers
    int64_t count
    int64_t nonzeros


cdef inline char look(Scan* s) noexcept nogil:
    """Move to the next byte that is not a blank, and return it."""
    while s.at[0] == c' ' or s.at[0] == c'\t' or s.at[0] == c'\r' or (s.at[0] == c'\n' and not s.lines):
        s.at += 1
    return s.at[0]


cdef inline bint take(Scan* s, char wanted) noexcept nogil:
    """Move past the wanted byte and the blanks before it; return False where another byte comes first."""
    if look(s) != wanted:
        return False
    s.at += 1
    return True


cdef inline bint spelled(Scan* s, const char* text, int size) noexcept nogil:
    if strncmp(s.at, text, size) != 0:
        return False
    s.at += size
    return True


cdef Name member(Scan* s) noexcept nogil:
    """Move past a member's name and its colon; return which it is."""
    cdef Name name = UNKNOWN
    look(s)
    if spelled(s, b'"features"', 10):
        name = FEATURES
    elif spelled(s, b'"values"', 8):
        name = VALUES
    elif spelled(s, b'"keys"', 6):
        name = KEYS
    elif spelled(s, b'"shape"', 7):
        name = SHAPE
    elif spelled(s, b'"data"', 6):
        name = DATA
    elif spelled(s, b'"instances"', 11):
        name = INSTANCES
    elif spelled(s, b'"configuration"', 15):
        name = CONFIGURATION
    return name if take(s, c':') else UNKNOWN


cdef inline bint json_number(Scan* s, float* out) noexcept nogil:
    """Read a number in JSON's form: no plus, no leading zero, digits on both sides of a point."""
    cdef const char* p = s.at + (s.at[0] == c'-')
    if not is_digit(p[0]) or (p[0] == c'0' and is_digit(p[1])):
        return False
    if p == s.at and (p[1] == c',' or p[1] == c']'):  # one digit, as most values are
        out[0] = p[0] - c'0'
        s.at += 1
        return True
    while is_digit(p[0]):
        p += 1
    if p[0] == c'.' and not is_digit(p[1]):
        return False
    return number(&s.at, out)


cdef inline bint json_integer(Scan* s, uint64_t* out) noexcept nogil:
    """Read digits that are an integer of 64 bits."""
    cdef bint padded = s.at[0] == c'0' and is_digit(s.at[1])
    return identifier(&s.at, out) == 0 and not padded


cdef int64_t read_values(Scan* s, float* out) noexcept nogil:
    """Read a list of numbers; return how many they are, or WRONG."""
    cdef int64_t size = 0
    if not take(s, c'['):
        return WRONG
    if take(s, c']'):
        return 0
    while True:
        look(s)
        if not json_number(s, out + size):
            return WRONG
        size += 1
        if not take(s, c','):
            return size if take(s, c']') else WRONG


cdef int64_t read_keys(Scan* s, uint64_t base, Index* out) noexcept nogil:
    """Read a list of keys, less `base`; return how many they are, or WRONG."""
    cdef int64_t size = 0
    cdef uint64_t key = 0
    if not take(s, c'['):
        return WRONG
    if take(s, c']'):
        return 0
    while True:
        look(s)
        if not json_integer(s, &key) or key < base:
            return WRONG
        key -= base
        if Index is int32_t and key >= MAX_FEATURE_DIM:
            return WRONG
        out[size] = <Index> key
        size += 1
        if not take(s, c','):
            return size if take(s, c']') else WRONG


cdef int64_t read_shape(Scan* s, uint64_t most) noexcept nogil:
    """Read a list of one integer from 1 to `most`; return it, or WRONG."""
    cdef uint64_t size = 0
    if not take(s, c'['):
        return WRONG
    look(s)
    return <int64_t> size if json_integer(s, &size) and 0 < size <= most and take(s, c']') else WRONG


cdef bint read_features(Scan* s, Rows* out, Features* row) noexcept nogil:
    """Read a list of numbers, or an object of keys, values and shape, into the next row's place."""
    cdef Name name
    cdef int64_t found
    row.keys = row.values = row.size = ABSENT
    if look(s) == c'[':
        row.values = read_values(s, out.values + out.nonzeros)
        return row.values != WRONG
    if not take(s, c'{'):
        return False
    while True:
        name = member(s)
        if name == VALUES and row.values == ABSENT:
            found = row.values = read_values(s, out.values + out.nonzeros)
        elif name == KEYS and row.keys == ABSENT:
            if out.wide:
                found = row.keys = read_keys(s, out.base, <uint64_t*> out.indices + out.nonzeros)
            else:
                found = row.keys = read_keys(s, out.base, <int32_t*> out.indices + out.nonzeros)
        elif name == SHAPE and row.size == ABSENT:
            found = row.size = read_shape(s, MAX_ID if out.wide else MAX_FEATURE_DIM)
        else:
            return False
        if found == WRONG:
            return False
        if not take(s, c','):
            return take(s, c'}')


cdef int64_t fitted(const Features* row, Index* indices, float* values) noexcept nogil:
    """Complete the non-zeros of a row; return how many, or WRONG where keys, values and shape do not fit together."""
    cdef int64_t size = max(row.values, <int64_t> 0), i
    cdef uint64_t largest = 0
    if row.values == ABSENT and row.size == ABSENT:
        return WRONG
    if row.keys <= 0 and (row.size == ABSENT or row.size == size):
        return drop_zeros(size, indices, values)
    if max(row.keys, <int64_t> 0) != size:
        return WRONG
    if row.size != ABSENT:
        for i in range(size):
            largest = max(largest, <uint64_t> indices[i])
        if largest >= <uint64_t> row.size:
            return WRONG
    return size


cdef bint commit(Rows* out, const Features* row, int64_t number) noexcept nogil:
    """Complete the row that has been read; return False where keys, values and shape do not fit together."""
    cdef float* values = out.values + out.nonzeros
    cdef int64_t size, stated = row.size if row.size != ABSENT else row.values if row.keys <= 0 else ABSENT
    if out.width != ABSENT and stated != ABSENT and stated != out.width:
        return False
    if out.wide:
        size = fitted(row, <uint64_t*> out.indices + out.nonzeros, values)
    else:
        size = fitted(row, <int32_t*> out.indices + out.nonzeros, values)
    if size < 0:
        return False
    out.numbers[out.count] = number
    out.nonzeros += size
    out.count += 1
    out.indptr[out.count] = out.nonzeros
    return True


cdef bint instance(Scan* s, Rows* out, int64_t number) noexcept nogil:
    """Read one instance into the next row."""
    cdef Features row
    cdef Name name
    cdef bint seen = False, good
    if not take(s, c'{'):
        return False
    while True:
        name = member(s)
        if name == CONFIGURATION:
            good = take(s, c'{') and take(s, c'}')
        elif seen:
            return False
        elif name == FEATURES:
            seen = good = read_features(s, out, &row)
        elif name == DATA:
            seen = good = (take(s, c'{') and member(s) == FEATURES and read_features(s, out, &row) and take(s, c'}'))
        else:
            return False
        if not good:
            return False
        if not take(s, c','):
            return take(s, c'}') and seen and commit(out, &row, number)


cdef bint document(Scan* s, Rows* out) noexcept nogil:
    """Read {"instances": [...]}."""
    if not (take(s, c'{') and member(s) == INSTANCES and take(s, c'[')):
        return False
    if not take(s, c']'):
        while True:
            if not instance(s, out, out.count + 1):
                return False
            if not take(s, c','):
                break
        if not take(s, c']'):
            return False
    return take(s, c'}') and look(s) == 0


cdef bint lines(Scan* s, Rows* out) noexcept nogil:
    """Read lines that each hold one instance or only blanks."""
    cdef int64_t number = 1
    while look(s) != 0:
        if s.at[0] != c'\n':
            if not instance(s, out, number) or (look(s) != c'\n' and s.at[0] != 0):
                return False
        if s.at[0] == c'\n':
            s.at += 1
            number += 1
    return True


def parse(bytes chunk not None, bint by_lines, uint64_t base=0, bint wide=False, width=None):
    """Decode the rows of a JSON document, or of instances one a line; None where they are not in the common form.

    base: subtracted from keys. wide: whether indices are ids of 64 bits (uint64), instead of int32. width: the number
    of features that a dense list or a shape must have, or None.
    Returns indptr, indices, values, numbers (int64, 1-based: of rows in a document, of lines else).
    """
    text = np.frombuffer(chunk, np.uint8)
    cdef Py_ssize_t most_rows = np.count_nonzero(text == c'{') + 1
    cdef Py_ssize_t most_numbers = np.count_nonzero(text == c',') + np.count_nonzero(text == c'[') + 1  # one after each
    cdef int64_t[::1] indptr = np.zeros(most_rows + 1, np.int64)
    cdef uint8_t[::1] indices = np.empty(most_numbers * (8 if wide else 4), np.uint8)
    cdef float[::1] values = np.empty(most_numbers, np.float32)
    cdef int64_t[::1] numbers = np.empty(most_rows, np.int64)
    cdef const char* start = chunk
    cdef Scan scan = Scan(start, by_lines)
    cdef int64_t stated = ABSENT if width is None else width
    cdef Rows rows = Rows(wide, base, stated, &indptr[0], &indices[0], &values[0], &numbers[0], 0, 0)
    cdef bint good
    with nogil:
        good = lines(&scan, &rows) if by_lines else document(&scan, &rows)
    if not good or scan.at - start != len(chunk):  # the second: a NUL within the chunk
        return None
    n, nonzeros = rows.count, rows.nonzeros
    typed = indices.base.view(np.uint64 if wide else np.int32)
    return indptr.base[:n + 1], typed[:nonzeros], values.base[:nonzeros], numbers.base[:n]

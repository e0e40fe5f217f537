# Find the parts of a protobuf Record in its bytes, for records in the common form; all others are declined.
# Common: every field once, length-delimited, in any order; features has one entry, `values`, label also `weight`.
# False means declined, not wrong: google protobuf decides about those bytes (record_message.py).
from libc.stdint cimport uint8_t

from fmcore.io.recordio._wire cimport Span, holds, read_field

cdef enum Kind:  # the field numbers of Value's tensors
    ABSENT = 0
    FLOAT32 = 2
    FLOAT64 = 3
    INT32 = 7

cdef struct Tensor:  # parts that are missing have p == NULL and no bytes
    Kind kind
    Span values
    Span keys
    Span shape

cdef struct Record:
    Tensor features
    Tensor label
    Tensor weight
    Span uid


cdef inline void clear(Tensor* tensor) noexcept nogil:
    tensor.kind = ABSENT
    tensor.values.p = tensor.values.end = NULL
    tensor.keys.p = tensor.keys.end = NULL
    tensor.shape.p = tensor.shape.end = NULL


cdef inline bint read_tensor(Span value, Tensor* tensor) noexcept nogil:
    """Read the one tensor of a Value message; return False where it is declined."""
    cdef uint8_t number
    cdef Span body, part
    cdef Span* target
    if tensor.kind != ABSENT or value.p == value.end or not read_field(&value, &number, &body) or value.p != value.end:
        return False
    if number != FLOAT32 and number != FLOAT64 and number != INT32:
        return False
    tensor.kind = <Kind> number
    while body.p < body.end:
        if not read_field(&body, &number, &part):
            return False
        if number == 1:
            target = &tensor.values
        elif number == 2:
            target = &tensor.keys
        elif number == 3:
            target = &tensor.shape
        else:
            return False
        if target.p != NULL:
            return False
        target[0] = part
    return True


cdef inline bint read_entry(Span entry, Span* key, Span* value) noexcept nogil:
    """Read key and value of a map entry that holds them in this order and nothing else."""
    cdef uint8_t number
    if entry.p == entry.end or not read_field(&entry, &number, key) or number != 1:
        return False
    if entry.p == entry.end or not read_field(&entry, &number, value) or number != 2:
        return False
    return entry.p == entry.end


cdef inline bint read_label(Span entry, Record* record) noexcept nogil:
    cdef Span key, value
    if not read_entry(entry, &key, &value):
        return False
    if holds(&key, b"values", 6):
        return read_tensor(value, &record.label)
    return holds(&key, b"weight", 6) and read_tensor(value, &record.weight)


cdef inline bint read_fields(Span payload, Record* record) noexcept nogil:
    """Fill `record`; its tensors stay ABSENT where the bytes have none."""
    cdef uint8_t number
    cdef Span body, key, value
    clear(&record.features)
    clear(&record.label)
    clear(&record.weight)
    record.uid.p = record.uid.end = NULL
    while payload.p < payload.end:
        if not read_field(&payload, &number, &body):
            return False
        if number == 1:
            if not (read_entry(body, &key, &value) and holds(&key, b"values", 6)):
                return False
            if not read_tensor(value, &record.features):
                return False
        elif number == 2:
            if not read_label(body, record):
                return False
        elif number == 3:
            record.uid = body
        elif number > 5:  # metadata and configuration are ignored
            return False
    return record.features.kind != ABSENT

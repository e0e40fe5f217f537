# Read and write recordIO frames and protobuf fields in place: inline nogil functions that stay within their bytes.
# Loads and stores assume that the machine's byte order is that of the format, little-endian, as on all supported ones.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    #define FM_RECORD_MAGIC 0xced7230au
    """
    const uint32_t MAGIC "FM_RECORD_MAGIC"

cdef enum:
    LENGTH_BITS = 29  # of a frame's second word; the three above them are the part flag
    LENGTH_LIMIT = 1 << 29
    PLACEHOLDER_SIZE = 5  # bytes of a varint that holds any feature_dim, padded where it needs fewer
    MAX_FEATURE_DIM = 0x7fffffff

cdef enum Part:
    WHOLE, FIRST, MIDDLE, LAST

cdef enum Fault:
    NONE, TRUNCATED, BAD_MAGIC, BAD_FLAG, TOO_LONG

cdef struct Span:  # the bytes p <= byte < end
    const uint8_t* p
    const uint8_t* end

cdef struct Framed:  # one record in its frames
    Py_ssize_t start
    Py_ssize_t stop  # behind the padding of its last part
    bint whole  # one part only
    Span payload  # of the first part
    Py_ssize_t fault_at  # the frame that is wrong, where one is


cdef inline uint32_t load32(const uint8_t* p) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, p, 4)
    return word


cdef inline void store32(uint8_t* p, uint32_t word) noexcept nogil:
    memcpy(p, &word, 4)


cdef inline Py_ssize_t size_of(const Span* span) noexcept nogil:
    return span.end - span.p


cdef inline bint holds(const Span* span, const char* text, Py_ssize_t size) noexcept nogil:
    return size_of(span) == size and memcmp(span.p, text, <size_t> size) == 0


cdef inline Fault read_frame(Span data, Py_ssize_t at, bint inside, Part* part, Span* payload) noexcept nogil:
    """Read the frame at byte `at`; `inside`: the record has begun in an earlier frame."""
    cdef uint32_t word
    cdef Py_ssize_t length
    if size_of(&data) - at < 8:
        return TRUNCATED
    if load32(data.p + at) != MAGIC:
        return BAD_MAGIC
    word = load32(data.p + at + 4)
    part[0] = <Part> (word >> LENGTH_BITS)
    if word >> (LENGTH_BITS + 1) != <uint32_t> inside:  # 0 and 1 begin a record, 2 and 3 continue it
        return BAD_FLAG
    length = word & (LENGTH_LIMIT - 1)
    payload.p = data.p + at + 8
    if data.end - payload.p < (length + 3) // 4 * 4:
        return TRUNCATED
    payload.end = payload.p + length
    return NONE


cdef inline Fault read_record(Span data, Py_ssize_t start, Framed* record) noexcept nogil:
    """Read all frames of the record that begins at byte `start`."""
    cdef Part part = WHOLE
    cdef Span payload
    cdef Py_ssize_t total
    cdef Fault fault = read_frame(data, start, False, &part, &record.payload)
    record.start = record.fault_at = start
    if fault != NONE:
        return fault
    payload = record.payload
    record.whole = part == WHOLE
    total = size_of(&payload)
    while part == FIRST or part == MIDDLE:
        record.fault_at = (payload.end - data.p + 3) // 4 * 4
        fault = read_frame(data, record.fault_at, True, &part, &payload)
        if fault != NONE:
            return fault
        total += 4 + size_of(&payload)
        if total >= LENGTH_LIMIT:
            return TOO_LONG
    record.stop = (payload.end - data.p + 3) // 4 * 4
    return NONE


cdef inline bint read_varint(Span* rest, uint64_t* value) noexcept nogil:
    """Read a varint at the front, and move past it; return False where it is cut off or does not fit 64 bits."""
    cdef int shift = 0
    cdef uint8_t byte
    value[0] = 0
    while rest.p < rest.end:
        byte = rest.p[0]
        if shift == 63 and byte > 1:
            return False
        value[0] |= <uint64_t> (byte & 0x7f) << shift
        rest.p += 1
        if byte < 0x80:
            return True
        shift += 7
    return False


cdef inline bint read_field(Span* rest, uint8_t* number, Span* body) noexcept nogil:
    """Read a length-delimited field numbered 1 to 15 at the front, and move past it; return False for anything else."""
    cdef const uint8_t* start = rest.p
    cdef uint64_t length
    if start[0] & 0x87 != 2 or start[0] < 8:  # protobuf has no field 0
        return False
    number[0] = start[0] >> 3
    rest.p += 1
    if not read_varint(rest, &length) or length > <uint64_t> size_of(rest):
        return False
    if rest.p - start > 6:  # protobuf implementations differ on lengths of more than 5 bytes
        return False
    body.p = rest.p
    rest.p += length
    body.end = rest.p
    return True


cdef inline Py_ssize_t varint_size(uint64_t value) noexcept nogil:
    cdef Py_ssize_t size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


cdef inline Py_ssize_t field_size(Py_ssize_t length) noexcept nogil:
    """Return the bytes of a length-delimited field with a one-byte tag around `length` bytes."""
    return 1 + varint_size(<uint64_t> length) + length


cdef inline uint8_t* write_varint(uint8_t* p, uint64_t value) noexcept nogil:
    while value >= 0x80:
        p[0] = <uint8_t> (value | 0x80)
        value >>= 7
        p += 1
    p[0] = <uint8_t> value
    return p + 1


cdef inline uint8_t* write_placeholder(uint8_t* p, uint64_t value) noexcept nogil:
    """Write `value`, below 2**35, as a varint of exactly PLACEHOLDER_SIZE bytes."""
    cdef int i
    for i in range(PLACEHOLDER_SIZE - 1):
        p[i] = <uint8_t> (value >> 7 * i | 0x80)
    p[PLACEHOLDER_SIZE - 1] = <uint8_t> (value >> 7 * (PLACEHOLDER_SIZE - 1))
    return p + PLACEHOLDER_SIZE


cdef inline uint8_t* write_head(uint8_t* p, uint8_t number, Py_ssize_t length) noexcept nogil:
    """Write tag and length of a length-delimited field."""
    p[0] = <uint8_t> (number << 3 | 2)
    return write_varint(p + 1, <uint64_t> length)

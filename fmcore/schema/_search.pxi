# What searches the arrays of a ValueTable, and the texts that are searched for; see _values.pyx.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

cdef extern from "texthash.h" nogil:
    uint64_t read_64(const uint8_t* at)
    uint32_t read_32(const uint8_t* at)
    uint16_t read_16(const uint8_t* at)
    uint64_t text_hash(uint32_t column, const uint8_t* text, int64_t size)
    void prefetch(const void* at)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size)  # NULL: an exception is set
    bint PyErr_ExceptionMatches(object kind)
    void PyErr_Clear()

cdef enum:
    TOGETHER = 32  # texts that are searched at once
    ABSENT = -1
    DAMAGED = -2

cdef struct Table:
    const uint8_t* texts  # of all entries, joined
    const uint8_t* ends  # of each entry's text, 4 or 8 bytes each
    const uint8_t* columns  # of each entry, 1, 2 or 4 bytes each
    const uint8_t* slots  # uint32 each: 0 or (upper bits) some of an entry's hash and (lower bits) its index + 1
    int64_t size  # bytes of all texts
    int64_t count
    uint64_t slot_count
    int end_width
    int column_width
    int index_bits

cdef struct Query:
    const uint8_t* text
    Py_ssize_t size  # -1: no text that could be listed
    uint32_t column
    uint64_t hash
    uint64_t slot  # where the search stands
    uint64_t left  # slots not yet searched
    int64_t index  # of the entry found


cdef inline uint64_t end_of(const Table* t, int64_t index) noexcept nogil:
    return read_32(t.ends + 4 * index) if t.end_width == 4 else read_64(t.ends + 8 * index)


cdef inline uint32_t column_of(const Table* t, int64_t index) noexcept nogil:
    if t.column_width == 1:
        return t.columns[index]
    return read_16(t.columns + 2 * index) if t.column_width == 2 else read_32(t.columns + 4 * index)


cdef inline bint is_inside(const Table* t, int64_t index, Query* entry) noexcept nogil:
    """Set text and size of an entry; return whether they lie within the texts."""
    cdef uint64_t end = end_of(t, index), start = end_of(t, index - 1) if index > 0 else 0
    if start > end or end > <uint64_t> t.size:
        return False
    entry.text = t.texts + start
    entry.size = <Py_ssize_t> (end - start)
    return True


cdef inline void place_slots(Table* t, const uint8_t* slots, uint64_t count, int64_t room) noexcept nogil:
    """Set the slots, which are made for so many entries."""
    t.slots, t.slot_count, t.index_bits = slots, count, 0
    while room >> t.index_bits:
        t.index_bits += 1


cdef inline uint32_t slot_of(const Table* t, const Query* query) noexcept nogil:
    """Return what the slot of a hashed text with an index holds."""
    return <uint32_t> query.hash << t.index_bits | <uint32_t> (query.index + 1)


cdef inline void begin(const Table* t, Query* query) noexcept nogil:
    """Hash the text; place the search before its first slot."""
    query.hash = text_hash(query.column, query.text, query.size)
    query.slot = ((query.hash >> 32) * t.slot_count) >> 32  # Lemire 2019, Fast random integer generation in an interval
    query.left = t.slot_count
    prefetch(t.slots + 4 * query.slot)


cdef inline void next_candidate(const Table* t, Query* query) noexcept nogil:
    """Search for the next entry whose slot has the upper bits of the text's; at the end `slot` is the empty one."""
    cdef uint32_t slot, mask = (<uint32_t> 1 << t.index_bits) - 1
    cdef uint32_t wanted = <uint32_t> query.hash << t.index_bits
    query.index = ABSENT
    while query.left > 0:
        slot = read_32(t.slots + 4 * query.slot)
        if slot == 0:
            return
        query.left -= 1
        query.slot = query.slot + 1 if query.slot + 1 < t.slot_count else 0
        if slot & ~mask == wanted:
            query.index = <int64_t> (slot & mask) - 1
            if query.index < 0 or query.index >= t.count:
                query.index = DAMAGED
            return
    query.index = DAMAGED  # a quarter of the slots should be empty


cdef inline void finish(const Table* t, Query* query) noexcept nogil:
    """Compare the candidate with the text, then others until one is equal; set `index`."""
    cdef Query entry
    while query.index >= 0:
        if not is_inside(t, query.index, &entry):
            query.index = DAMAGED
        elif (entry.size == query.size and column_of(t, query.index) == query.column
                and memcmp(entry.text, query.text, query.size) == 0):
            return
        else:
            next_candidate(t, query)


cdef void search(const Table* t, Query* queries, int count) noexcept nogil:
    """Set the index of each query: of its entry, ABSENT or DAMAGED."""
    cdef Query entry
    cdef int i
    for i in range(count):
        begin(t, &queries[i])
    for i in range(count):
        next_candidate(t, &queries[i])
        if queries[i].index >= 0:
            prefetch(t.ends + t.end_width * queries[i].index)
            prefetch(t.columns + t.column_width * queries[i].index)
    for i in range(count):
        if queries[i].index >= 0 and is_inside(t, queries[i].index, &entry):
            prefetch(entry.text)
    for i in range(count):
        finish(t, &queries[i])


cdef int take(object text, Query* query) except -1:
    """Point the query at a text's UTF-8, which lives as long as the text; size -1 where it has none."""
    if isinstance(text, str):
        query.text = <const uint8_t*> PyUnicode_AsUTF8AndSize(text, &query.size)
        if query.text == NULL:
            query.size = ABSENT
            return untakable()
    elif isinstance(text, bytes):
        query.text = <const uint8_t*> PyBytes_AS_STRING(text)
        query.size = PyBytes_GET_SIZE(text)
    else:
        raise TypeError(f"a categorical value is {type(text).__name__}; expected str or bytes")
    return 0


cdef int untakable() except -1:
    """Drop the exception of half a surrogate pair; raise any other, which is one of memory."""
    if not PyErr_ExceptionMatches(UnicodeEncodeError):
        return -1
    PyErr_Clear()
    return 0


cdef int take_utf8(object text, Query* query) except -1:
    """Do as `take`, but raise DataError for a text that no file could hold."""
    take(text, query)
    if query.size < 0:
        raise DataError("half a surrogate pair in a text; expected valid Unicode")
    if isinstance(text, bytes):
        try:
            PyUnicode_DecodeUTF8(<const char*> query.text, query.size, NULL)
        except UnicodeDecodeError as error:
            raise DataError(f"a text is no UTF-8: {error.reason}") from None
    return 0

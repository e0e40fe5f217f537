"""libsvm and libffm text: lines to CSR arrays, without the GIL.

The grammar is described in codec.py. A chunk is a `bytes` object, which Python ends with a NUL that is not counted; no
scanner goes past a NUL, so none needs to compare with the end at every byte.
"""
import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memchr

include "fmcore/io/_decimal.pxi"


cpdef enum Problem:
    """The problems that a line may have; codec.py holds the sentences."""
    LABEL = 1
    WEIGHT
    QID
    PAIR
    FIELD
    NO_VALUE
    VALUE
    ZERO_INDEX
    INDEX_RANGE
    ID_RANGE
    GROUP_RANGE


cdef enum:
    MAX_INDEX = 2147483646
    NO_ROW = -1  # a line that is blank or a comment

cdef struct Grammar:
    bint fields  # field:index:value
    int64_t base  # subtracted from every index

cdef struct Scan:
    const char* at  # the next byte
    const char* end  # the NUL that ends the chunk
    const char* token  # where the token in hand begins
    int64_t field  # its 1-based position in the line

cdef struct Rows:
    int64_t* indptr
    float* values
    float* labels
    float* weights
    int64_t* numbers
    int64_t lines
    int64_t count
    int64_t nonzeros
    int64_t fields  # one more than the largest field
    int64_t qids


ctypedef fused Index:
    int32_t
    uint64_t


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\t' or c == c'\r' or c == c'\v' or c == c'\f'


cdef inline bint ends_token(char c) noexcept nogil:
    return <unsigned char> c <= 32 or c == c'#'


cdef inline bint ends_line(const Scan* s) noexcept nogil:
    return s.at[0] == c'\n' or s.at[0] == c'#' or (s.at[0] == 0 and s.at == s.end)


cdef inline int pair(Scan* s, Rows* out, const Grammar* grammar, Index* indices) noexcept nogil:
    """Read index:value, or field:index:value, into the next non-zero; 0 or a Problem."""
    cdef int64_t field = 0, index
    cdef uint64_t id = 0
    if grammar.fields:
        field = integer(&s.at)
        if field < 0 or field > MAX_INDEX or s.at[0] != c':':
            return FIELD
        s.at += 1
    index = integer(&s.at) if Index is int32_t else identifier(&s.at, &id)
    if index >= 0 and ends_token(s.at[0]):
        return FIELD if grammar.fields else NO_VALUE
    if index < 0 or s.at[0] != c':':
        return FIELD if grammar.fields else PAIR
    s.at += 1
    if s.at[0] == c'1' and ends_token(s.at[1]):
        out.values[out.nonzeros] = 1
        s.at += 1
    elif not number(&s.at, &out.values[out.nonzeros]) or not ends_token(s.at[0]):
        return VALUE
    if Index is int32_t:
        index -= grammar.base
        if index < 0:
            return ZERO_INDEX
        if index > MAX_INDEX:
            return INDEX_RANGE
        indices[out.nonzeros] = <int32_t> index
    else:
        if index != 0:
            return ID_RANGE
        if id < <uint64_t> grammar.base:
            return ZERO_INDEX
        indices[out.nonzeros] = id - <uint64_t> grammar.base
    out.nonzeros += 1
    out.fields = max(out.fields, field + 1)
    return 0


cdef inline int head(Scan* s, Rows* out) noexcept nogil:
    """Read label[:weight]; 0 or a Problem."""
    cdef float weight = 1
    if not number(&s.at, &out.labels[out.count]):
        return LABEL
    if s.at[0] == c':':
        s.at += 1
        if not number(&s.at, &weight) or weight < 0 or not ends_token(s.at[0]):
            return WEIGHT
    out.weights[out.count] = weight
    return 0 if ends_token(s.at[0]) else LABEL


cdef inline bint has_qid(const Scan* s) noexcept nogil:
    return (s.field == 2 and s.at[0] == c'q' and s.at[1] == c'i' and s.at[2] == c'd' and s.at[3] == c':')


cdef inline int qid(Scan* s, Rows* out) noexcept nogil:
    """Pass over qid:N; 0 or a Problem."""
    s.at += 4
    if integer(&s.at) < 0 or not ends_token(s.at[0]):
        return QID
    out.qids += 1
    return 0


cdef int line(Scan* s, Rows* out, const Grammar* grammar, Index* indices) noexcept nogil:
    """Read one line into the next row, which the caller counts; 0, NO_ROW or a Problem."""
    cdef int problem = 0
    s.field = 0
    while problem == 0:
        while is_blank(s.at[0]):
            s.at += 1
        if ends_line(s):
            return NO_ROW if s.field == 0 else 0
        s.field += 1
        s.token = s.at
        if s.field == 1:
            problem = head(s, out)
        elif has_qid(s):
            problem = qid(s, out)
        else:
            problem = pair(s, out, grammar, indices)
    return problem


cdef int64_t lines(const char* start, Scan* s, Rows* out, const Grammar* grammar, Index* indices, int64_t* problems,
                   int64_t room) noexcept nogil:
    """Read all lines; stop at a wrong one when problems has no room for another. Returns the number of problems."""
    cdef int64_t found = 0
    cdef int problem
    while s.at != s.end and found < room:
        out.lines += 1
        problem = line(s, out, grammar, indices)
        if problem == 0:
            out.numbers[out.count] = out.lines
            out.count += 1
            out.indptr[out.count] = out.nonzeros
        elif problem != NO_ROW:
            out.nonzeros = out.indptr[out.count]
            problems[4 * found] = problem
            problems[4 * found + 1] = out.lines
            problems[4 * found + 2] = s.field
            problems[4 * found + 3] = s.token - start
            found += 1
        s.at = <const char*> memchr(s.at, c'\n', s.end - s.at)
        s.at = s.end if s.at == NULL else s.at + 1
    return found


cdef struct Marks:
    Py_ssize_t lines  # line ends
    Py_ssize_t pairs  # colons


cdef Marks count(const char* text, Py_ssize_t size) noexcept nogil:
    """Count in blocks short enough for counters of a byte, of which compilers keep many in one vector."""
    cdef Marks marks = Marks(0, 0)
    cdef Py_ssize_t start, i
    cdef uint8_t lines, pairs
    for start in range(0, size, 255):
        lines = pairs = 0
        for i in range(start, min(start + 255, size)):
            lines += text[i] == c'\n'
            pairs += text[i] == c':'
        marks.lines += lines
        marks.pairs += pairs
    return marks


def parse(bytes chunk not None, bint fields, int base, Py_ssize_t room, bint wide=False):
    """Parse whole lines of libsvm (or, with fields, libffm) text.

    room: how many wrong lines are passed over before parsing stops; at least 1.
    wide: whether indices are ids of 64 bits (uint64), instead of int32.
    Returns indptr, indices, values, labels, weights, numbers (1-based lines), lines read, problems (int64
    (n, 4): Problem, line, field, offset of the token), largest field + 1, rows with a qid.
    """
    cdef const char* start = chunk
    cdef Py_ssize_t size = len(chunk)
    cdef Marks marks
    with nogil:
        marks = count(start, size)
    cdef Py_ssize_t most_rows = marks.lines + 1, most_nonzeros = marks.pairs + 1  # a non-zero has a colon
    room = min(room, most_rows)
    cdef int64_t[::1] indptr = np.zeros(most_rows + 1, np.int64)
    cdef uint8_t[::1] indices = np.empty(most_nonzeros * (8 if wide else 4), np.uint8)
    cdef float[::1] values = np.empty(most_nonzeros, np.float32)
    cdef float[::1] labels = np.empty(most_rows, np.float32)
    cdef float[::1] weights = np.empty(most_rows, np.float32)
    cdef int64_t[::1] numbers = np.empty(most_rows, np.int64)
    cdef int64_t[:, ::1] problems = np.empty((room, 4), np.int64)
    cdef Grammar grammar = Grammar(fields, base)
    cdef Scan scan = Scan(start, start + size, start, 0)
    cdef Rows rows = Rows(&indptr[0], &values[0], &labels[0], &weights[0], &numbers[0], 0, 0, 0, 0, 0)
    cdef int64_t found
    with nogil:
        if wide:
            found = lines(start, &scan, &rows, &grammar, <uint64_t*> &indices[0], &problems[0, 0], room)
        else:
            found = lines(start, &scan, &rows, &grammar, <int32_t*> &indices[0], &problems[0, 0], room)
    n, nonzeros = rows.count, rows.nonzeros
    typed = indices.base.view(np.uint64 if wide else np.int32)
    return (indptr.base[:n + 1], typed[:nonzeros], values.base[:nonzeros], labels.base[:n], weights.base[:n],
            numbers.base[:n], rows.lines, problems.base[:found].copy(), rows.fields, rows.qids)


# ---------------------------------------------------------------------------- fields and groups, where they are wanted
# They are read in a second pass over rows that are known to be sound, so that those who want neither, which is nearly
# everybody, have the code above to themselves.
cdef const int64_t MAX_GROUP = 9223372036854775807

cdef enum:
    NO_GROUP = -1
    TOO_LARGE = -2


cdef inline const char* next_token(const char* at) noexcept nogil:
    while not ends_token(at[0]):
        at += 1
    while is_blank(at[0]):
        at += 1
    return at


cdef inline int64_t digits_of(const char* at) noexcept nogil:
    """Return the number that the digits at `at` make, TOO_LARGE where it is no int64."""
    cdef int64_t value = 0
    while is_digit(at[0]):
        if value > (MAX_GROUP - (at[0] - c'0')) // 10:
            return TOO_LARGE
        value = value * 10 + (at[0] - c'0')
        at += 1
    return value


cdef inline bint begins_qid(const char* at) noexcept nogil:
    return at[0] == c'q' and at[1] == c'i' and at[2] == c'd' and at[3] == c':'


def extras(bytes chunk not None, const int64_t[::1] numbers, const int64_t[::1] indptr, bint fields):
    """Read the groups, and with `fields` (libffm only) the fields, of the rows that `parse` has found in a chunk.

    numbers, indptr: as `parse` gives them.
    Returns fields (int32, of each non-zero; None without), groups (int64, the qid of each row; -1 where it has none, -2
    where it is beyond int64), offsets (int64, where in the chunk the second token of each row stands).
    """
    cdef const char* start = chunk
    cdef const char* end = start + len(chunk)
    cdef const char* at = start
    cdef int64_t row, item, line = 1, rows = numbers.shape[0]
    cdef int32_t[::1] fields_of = np.empty(indptr[rows] if fields else 0, np.int32)
    cdef int64_t[::1] groups = np.full(rows, NO_GROUP, np.int64)
    cdef int64_t[::1] offsets = np.empty(rows, np.int64)
    with nogil:
        for row in range(rows):
            while line < numbers[row]:
                at = <const char*> memchr(at, c'\n', end - at) + 1
                line += 1
            while is_blank(at[0]):
                at += 1
            at = next_token(at)  # behind the label
            offsets[row] = at - start
            if begins_qid(at):
                groups[row] = digits_of(at + 4)
                at = next_token(at)
            if fields:
                for item in range(indptr[row], indptr[row + 1]):
                    fields_of[item] = <int32_t> digits_of(at)
                    at = next_token(at)
    return fields_of.base if fields else None, groups.base, offsets.base

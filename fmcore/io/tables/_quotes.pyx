"""Where the quotes of CSV open and close, by pyarrow's rule: a quote opens where a field begins and nowhere else."""
from libc.string cimport memchr

cdef enum:
    OUTSIDE  # of quotes
    INSIDE
    AT_QUOTE  # inside, after a quote that closes the field unless another follows
    AFTER  # a quoted field of several lines, and blanks perhaps
    FAR = 64  # bytes that are counted faster than looked at one by one


cdef inline unsigned char ends_line(unsigned char c, unsigned char before, bint blank) noexcept nogil:
    """Return 1 for the first character of a line end, that of a blank line only where it is wanted."""
    cdef unsigned char second = (c == c"\n") & (before == c"\r")
    return ((c == c"\n") | (c == c"\r")) & (1 - second) & (blank | (1 - ((before == c"\n") | (before == c"\r"))))


cdef Py_ssize_t count_lines(const unsigned char* text, Py_ssize_t n, unsigned char before, bint blank) noexcept nogil:
    """Count the lines that end in a text; before: the character before it."""
    cdef Py_ssize_t i = 1, end, count = ends_line(text[0], before, blank)
    cdef unsigned char few
    while i < n:
        few, end = 0, min(n, i + 192)
        while i < end:
            few += ends_line(text[i], text[i - 1], blank)
            i += 1
        count += few
    return count


cdef class QuoteScanner:
    """A scan over the rows of a table, piece by piece.

    delimiter: its byte. blank: whether blank lines are rows.
    """

    cdef unsigned char _delimiter, _before
    cdef bint _blank, _spans
    cdef int _state
    cdef Py_ssize_t _rows
    cdef readonly Py_ssize_t unclosed
    """The number, from 1, of the row whose quote is open at the end; 0 where there is none, or before the end."""
    cdef readonly set torn
    """The numbers of rows with a quoted field over several lines that other text than a delimiter follows."""

    def __init__(self, unsigned char delimiter, bint blank):
        self._delimiter, self._before, self._blank = delimiter, c"\n", blank
        self._state, self._spans, self._rows, self.unclosed = OUTSIDE, False, 0, 0
        self.torn = set()

    def scan(self, bytes piece):
        """Take in the next bytes."""
        cdef const unsigned char* text = piece
        cdef const void* found
        cdef Py_ssize_t n = len(piece), i = 0, end, rows = self._rows
        cdef unsigned char c, before = self._before, delimiter = self._delimiter
        cdef bint spans = self._spans, blank = self._blank
        cdef int state = self._state
        while i < n:
            if state == OUTSIDE:
                found = memchr(text + i, c'"', n - i)
                end = n if found is NULL else <const unsigned char*>found - text
                if end - i >= FAR:
                    rows += count_lines(text + i, end - i, before, blank)
                    before, i = text[end - 1], end
                while i < n:
                    c = text[i]
                    i += 1
                    if c == c'"':
                        if before == delimiter or before == c"\n" or before == c"\r":
                            state, spans = INSIDE, False
                            break
                    elif c == c"\n" or c == c"\r":
                        rows += ends_line(c, before, blank)
                    before = c
            elif state == INSIDE:
                while i < n:
                    c = text[i]
                    i += 1
                    if c == c'"':
                        state = AT_QUOTE
                        break
                    spans |= c == c"\n" or c == c"\r"
            elif state == AT_QUOTE:
                if text[i] == c'"':
                    state = INSIDE
                    i += 1
                else:
                    before = c'"'
                    state = AFTER if spans else OUTSIDE
            elif text[i] != delimiter and (text[i] == c" " or text[i] == c"\t"):
                i += 1
            else:
                if text[i] != delimiter and text[i] != c"\n" and text[i] != c"\r":
                    self.torn.add(rows + 1)
                state = OUTSIDE
        self._state, self._spans, self._rows, self._before = state, spans, rows, before

    def finish(self):
        """Take in the end of the rows."""
        if self._state == INSIDE:
            self.unclosed = self._rows + 1

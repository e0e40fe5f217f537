"""float32 as the shortest decimal text that reads back as the same float32.

The method is Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2021) at the width of float32: the
interval of the decimals that read back as x is scaled by a power of ten, and one of at most four candidates in it is
taken.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

import numpy as np

cdef enum:
    FIRST_POWER = -31  # powers of ten that float32 needs: 10**-31 ..
    LAST_POWER = 45  # .. 10**45

cdef uint64_t[LAST_POWER - FIRST_POWER + 1] POWERS


def _fill_powers():
    """Set POWERS[k]: 10**(k + FIRST_POWER), rounded up to its 64 leading bits."""
    for power in range(FIRST_POWER, LAST_POWER + 1):
        above, below = 10 ** max(power, 0), 10 ** max(-power, 0)
        shift = 63 - (above.bit_length() - 1 if power >= 0 else -below.bit_length())
        above, below = above << max(shift, 0), below << max(-shift, 0)
        POWERS[power - FIRST_POWER] = -(-above // below)


_fill_powers()


cdef inline uint32_t scaled(uint64_t power, uint32_t x) noexcept nogil:
    """Return power * x / 2**64, with its last bit set where something was cut off ("round to odd")."""
    cdef uint64_t low = (power & 0xFFFFFFFFu) * x
    cdef uint64_t high = (power >> 32) * x + (low >> 32)
    return <uint32_t>(high >> 32) | <uint32_t>((high & 0xFFFFFFFFu) > 1)


cdef uint32_t shortest(uint32_t mantissa, int32_t exponent, int32_t* ten) noexcept nogil:
    """Return the digits d of the shortest, then closest decimal d * 10**ten, for the bits of a finite float32 > 0."""
    cdef uint32_t c = mantissa | 0x800000u if exponent else mantissa
    cdef int32_t q = (exponent if exponent else 1) - 150  # x = c * 2**q
    cdef bint narrow = mantissa == 0 and exponent > 1  # the float below is only half as far as the one above
    cdef uint32_t odd = c & 1  # the ends of the interval read back as x only where c is even
    # floor(log10(2**q)), or of 3/4 * 2**q; right shifts of negative numbers are arithmetic in the C compilers in use.
    cdef int32_t k = (q * 1262611 - (524031 if narrow else 0)) >> 22
    cdef int32_t h = q + ((-k * 1741647) >> 19) + 1  # q + floor(log2(10**-k)) + 1
    cdef uint64_t power = POWERS[-k - FIRST_POWER]
    cdef uint32_t lower = scaled(power, (4 * c - 2 + narrow) << h) + odd
    cdef uint32_t middle = scaled(power, (4 * c) << h)
    cdef uint32_t upper = scaled(power, (4 * c + 2) << h) - odd
    cdef uint32_t s = middle // 4
    cdef uint32_t tens = s // 10
    cdef bint down, up
    if s >= 10:
        down, up = lower <= 40 * tens, 40 * tens + 40 <= upper
        if down != up:
            ten[0] = k + 1
            return tens + up
    ten[0] = k
    down, up = lower <= 4 * s, 4 * s + 4 <= upper
    if down != up:
        return s + up
    up = middle > 4 * s + 2 - (s & 1)  # a tie goes to the even digit
    return s + up


cdef inline int write_digits(uint32_t digits, char* out) noexcept nogil:
    """Decimal digits, at most 10; their count."""
    cdef char[10] reverse
    cdef int count = 0, i
    while True:
        reverse[count] = <char>(48 + digits % 10)
        count += 1
        digits //= 10
        if digits == 0:
            break
    for i in range(count):
        out[i] = reverse[count - 1 - i]
    return count


cdef int place_point(char* out, int count, int32_t ten) noexcept nogil:
    """Turn count digits times 10**ten into text in place; its length.

    Plain from 1e-5 up to 1e10, otherwise with an exponent: 0.00012, 1500, 1.5e+10 without the plus.
    """
    cdef int point = count + ten  # digits before the decimal point
    cdef int length
    if 0 < point <= 10:
        if ten >= 0:
            memset(out + count, c"0", ten)
            return point
        memmove(out + point + 1, out + point, count - point)
        out[point] = c"."
        return count + 1
    if -5 < point <= 0:
        memmove(out + 2 - point, out, count)
        memset(out, c"0", 2 - point)
        out[1] = c"."
        return count + 2 - point
    if count > 1:
        memmove(out + 2, out + 1, count - 1)
        out[1] = c"."
        count += 1
    out[count] = c"e"
    length = count + 1
    if point <= 0:
        out[length] = c"-"
        length += 1
    return length + write_digits(point - 1 if point > 0 else 1 - point, out + length)


cdef int format_float32(float x, char* out) noexcept nogil:
    """Write the shortest text that reads back as x; its length, at most 24. Also nan, inf, -inf, 0 and -0."""
    cdef uint32_t bits, digits
    cdef int32_t ten = 0
    cdef int sign, count
    memcpy(&bits, &x, 4)
    sign = bits >> 31
    out[0] = c"-"
    if (bits & 0x7FFFFFFFu) > 0x7F800000u:
        memcpy(out, b"nan", 3)
        return 3
    out += sign
    if (bits & 0x7FFFFFFFu) == 0x7F800000u:
        memcpy(out, b"inf", 3)
        return sign + 3
    if (bits & 0x7FFFFFFFu) == 0:
        out[0] = c"0"
        return sign + 1
    digits = shortest(bits & 0x7FFFFFu, (bits >> 23) & 0xFF, &ten)
    while digits % 10 == 0:
        digits //= 10
        ten += 1
    count = write_digits(digits, out)
    return sign + place_point(out, count, ten)


def lines(scores):
    """Return bytes: a float32 score a line."""
    return table(scores, b"", b"\n", b"\n")


def table(scores, bytes before, bytes low, bytes high, list prefixes=None, bytes odd=None):
    """Return bytes: for each float32 score its prefix, `before`, its text, and `high` from 0.5 up, else `low`.

    prefixes: list of bytes, one a row, or None. odd: the text of a score that is not finite, instead of nan or inf.
    The GIL is released while they are written.
    """
    cdef const float[::1] x = np.ascontiguousarray(scores, np.float32)
    cdef Py_ssize_t count = x.shape[0], i
    cdef Prefixes prefix = Prefixes(prefixes, count)
    cdef Text first = text_of(before), small = text_of(low), large = text_of(high), strange = text_of(odd)
    cdef char* start = room(count * (LONGEST + first.size + max(small.size, large.size) + strange.size) + prefix.size)
    cdef char* out = start
    with nogil:
        for i in range(count):
            out = append(prefix.append(out, i), first)
            if strange.bytes != NULL and not isfinite(x[i]):
                out = append(out, strange)
            else:
                out += format_float32(x[i], out)
            out = append(out, large if x[i] >= 0.5 else small)
    return taken(start, out)


def rows(numbers, bytes before, bytes between, bytes after, list prefixes=None):
    """Return bytes: for each row of float32 (rows, columns) prefix, `before`, numbers with `between` them, `after`.

    prefixes: list of bytes, one a row, or None. The GIL is released while they are written.
    """
    cdef const float[:, ::1] x = np.ascontiguousarray(numbers, np.float32)
    cdef Py_ssize_t count = x.shape[0], columns = x.shape[1], i, j
    cdef Prefixes prefix = Prefixes(prefixes, count)
    cdef Text first = text_of(before), inner = text_of(between), last = text_of(after)
    cdef char* start = room(count * (columns * (LONGEST + inner.size) + first.size + last.size) + prefix.size)
    cdef char* out = start
    with nogil:
        for i in range(count):
            out = append(prefix.append(out, i), first)
            for j in range(columns):
                if j:
                    out = append(out, inner)
                out += format_float32(x[i, j], out)
            out = append(out, last)
    return taken(start, out)


cdef struct Text:
    const char* bytes  # NULL: none
    Py_ssize_t size


cdef inline Text text_of(bytes text) noexcept:
    """Return what a bytes object holds, valid as long as the object is kept."""
    return Text(NULL, 0) if text is None else Text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline char* append(char* out, Text text) noexcept nogil:
    """Copy a text; the place after it."""
    memcpy(out, text.bytes, <size_t> text.size)
    return out + text.size


@cython.final
cdef class Prefixes:
    """A text (bytes) before each row, or None for no such texts: one behind the other, to be copied without the GIL."""

    cdef object kept
    cdef const char* texts
    cdef const int64_t* bounds  # where each begins and the last one ends; NULL: there are none
    cdef Py_ssize_t size

    def __init__(self, list texts, Py_ssize_t rows):
        cdef bytes joined
        cdef const int64_t[::1] bounds
        if texts is None:
            return
        if len(texts) != rows:
            raise ValueError("one prefix a row")
        joined = b"".join(texts)
        bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        self.kept = joined, bounds
        self.texts, self.bounds, self.size = joined, &bounds[0], len(joined)

    cdef inline char* append(self, char* out, Py_ssize_t row) noexcept nogil:
        """Copy a row's; the place after it."""
        if self.bounds == NULL:
            return out
        return append(out, Text(self.texts + self.bounds[row], self.bounds[row + 1] - self.bounds[row]))


cdef char* room(Py_ssize_t size) except NULL:
    """Memory for so many bytes, until it is `taken`."""
    cdef char* start = <char*>malloc(size + 1)
    if start == NULL:
        raise MemoryError
    return start


cdef bytes taken(char* start, char* stop):
    """Return what was written there, as its own object; the memory is free again."""
    try:
        return PyBytes_FromStringAndSize(start, stop - start)
    finally:
        free(start)

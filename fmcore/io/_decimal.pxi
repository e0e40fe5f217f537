# Decimal numbers in text to float32, exactly as np.float32(float(text)), without the GIL but for one text in millions.
#
# The text ends with a byte that no number holds (a NUL at the latest), so scanners need not compare with an end.
from cpython.conversion cimport PyOS_string_to_double
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_DIGITS = 19  # as many always fit 64 bits

cdef double[23] POWERS  # 10**0 to 10**22, the powers of ten that a double holds exactly
for exponent in range(23):
    POWERS[exponent] = float(10 ** exponent)

cdef struct Decimal:
    uint64_t mantissa  # of the first MAX_DIGITS digits
    int64_t exponent  # of ten
    int kept  # digits in the mantissa, leading zeros not counted


cdef inline bint is_digit(char c) noexcept nogil:
    return <unsigned char> (c - c'0') < 10


cdef inline int64_t integer(const char** at) noexcept nogil:
    """Read the digits at at[0] as a number, held at 10**10 where larger; -1 without any."""
    cdef const char* p = at[0]
    cdef uint64_t value = 0
    while is_digit(p[0]):  # nothing else in here: a bound would take longer than all of the rest
        value = value * 10 + <uint64_t> (p[0] - c'0')
        p += 1
    if p - at[0] > 10 and (natural(at[0], &value) != 0 or value > 10000000000ULL):
        value = 10000000000ULL
    if p == at[0]:
        return -1
    at[0] = p
    return <int64_t> value


cdef int natural(const char* p, uint64_t* out) noexcept nogil:
    """Read the digits at p as a number of 64 bits; 0, -1 without any, 1 where it is larger."""
    cdef const char* first = p
    cdef uint64_t value = 0, digit
    cdef int large = 0
    while is_digit(p[0]):
        digit = <uint64_t> (p[0] - c'0')
        if value >= 1844674407370955161ULL:  # a tenth of 2**64
            large |= value > 1844674407370955161ULL or digit > 5
        value = value * 10 + digit
        p += 1
    out[0] = value
    return large if p != first else -1


cdef inline int identifier(const char** at, uint64_t* out) noexcept nogil:
    """Read the digits at at[0] as a number of 64 bits; 0, -1 without any, 1 where it is larger."""
    cdef const char* p = at[0]
    cdef uint64_t value = 0
    cdef int found
    while is_digit(p[0]):
        value = value * 10 + <uint64_t> (p[0] - c'0')
        p += 1
    found = natural(at[0], &value) if p - at[0] > 19 else 0 if p != at[0] else -1
    at[0], out[0] = p, value
    return found


cdef inline const char* digits(const char* p, Decimal* out, int64_t step_kept, int64_t step_cut) noexcept nogil:
    """Take digits into out; a kept one moves the exponent by step_kept, one cut off by step_cut."""
    while is_digit(p[0]):
        if out.kept < MAX_DIGITS:
            out.mantissa = out.mantissa * 10 + (p[0] - c'0')
            out.kept += out.mantissa != 0
            out.exponent += step_kept
        else:
            out.exponent += step_cut
        p += 1
    return p


cdef inline bint narrow(double x, float* out) noexcept nogil:
    """Round to float32; False where that leaves the finite numbers."""
    cdef double overflow = 3.4028235677973366e38  # half a step above the largest float32
    if not (-overflow < x < overflow):
        return False
    out[0] = <float> x
    return True


cdef bint scaled(uint64_t mantissa, int64_t power, float* out) noexcept nogil:
    """Set out to float32(float64(mantissa * 10**power)) where plain arithmetic is sure of it; else False.

    Where doubles hold the mantissa and the power exactly, one product or quotient is correctly rounded (Clinger 1990).
    Any other approximation is off by less than 2**-48 of itself (digits cut off, conversion, at most five roundings);
    as rounding is monotone, it is right wherever both ends of that interval round to the same float32.
    """
    cdef double x = <double> mantissa
    cdef float low = 0, high = 0
    if mantissa == 0 or power < -70:  # below half the smallest float32
        out[0] = 0
        return True
    if power > 40:
        return False
    if mantissa <= 1ULL << 53 and -22 <= power <= 22:
        return narrow(x / POWERS[-power] if power < 0 else x * POWERS[power], out)
    while power > 22:
        x *= POWERS[22]
        power -= 22
    while power < -22:
        x /= POWERS[22]
        power += 22
    x = x / POWERS[-power] if power < 0 else x * POWERS[power]
    if not (narrow(x * (1 - 2.0 ** -48), &low) and narrow(x * (1 + 2.0 ** -48), &high)):
        return False
    out[0] = low
    return low == high


cdef bint exact(const char* text, float* out) noexcept with gil:
    """Set out to float32(float(text)) by Python's own conversion; False where it is not finite."""
    cdef char* stop
    try:
        return narrow(PyOS_string_to_double(text, &stop, NULL), out)
    except (ValueError, MemoryError):
        return False


cdef inline bint number(const char** at, float* out) noexcept nogil:
    """Read the number at at[0], [+-] digits [. digits] [e [+-] digits]; False where there is no finite one."""
    cdef const char* p = at[0]
    cdef const char* first
    cdef Decimal decimal = Decimal(0, 0, 0)
    cdef int64_t power
    cdef bint negative = p[0] == c'-', minus, has_digits
    p += p[0] == c'-' or p[0] == c'+'
    first = p
    p = digits(p, &decimal, 0, 1)
    has_digits = p != first
    if p[0] == c'.':
        first = p + 1
        p = digits(first, &decimal, -1, 0)
        has_digits = has_digits or p != first
    if not has_digits:
        return False
    if p[0] == c'e' or p[0] == c'E':
        p += 1
        minus = p[0] == c'-'
        p += p[0] == c'-' or p[0] == c'+'
        power = integer(&p)
        if power < 0:
            return False
        decimal.exponent += -power if minus else power
    if not scaled(decimal.mantissa, decimal.exponent, out):
        if not exact(at[0], out):
            return False
    elif negative:
        out[0] = -out[0]
    at[0] = p
    return True

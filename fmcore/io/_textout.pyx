"""Rows as libsvm text, without the GIL."""
import numpy as np

from libc.math cimport floor, log10
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

include "_decimal.pxi"

cdef enum:
    LONGEST_INDEX = 10
    LONGEST_NUMBER = 16  # -0.000123456789, with a byte to spare
    SURE_DIGITS = 9  # tell any two float32 apart


cdef inline double times_power(double x, int power) noexcept nogil:
    """x * 10**power, nearly; one of up to 38 + 45 is reached in steps."""
    while power > 22:
        x *= POWERS[22]
        power -= 22
    while power < -22:
        x /= POWERS[22]
        power += 22
    return x / POWERS[-power] if power < 0 else x * POWERS[power]


cdef int64_t shortest(float x, int* power) noexcept nogil:
    """The integer with the fewest digits for which integer * 10**power reads as x > 0."""
    cdef int decade = <int> floor(log10(x)), digits
    cdef int64_t mantissa = 0
    cdef float back = 0
    for digits in range(1, SURE_DIGITS + 1):
        power[0] = decade - digits + 1
        mantissa = <int64_t> (times_power(x, -power[0]) + 0.5)
        if scaled(mantissa, power[0], &back) and back == x:
            break
    while mantissa % 10 == 0:  # 9.9999997e-06 rounds up to 10 * 10**-6
        mantissa //= 10
        power[0] += 1
    return mantissa


cdef inline char* put_integer(char* at, int64_t value) noexcept nogil:
    cdef char[20] reversed_digits
    cdef int count = 0
    while value > 9:
        reversed_digits[count] = c'0' + value % 10
        value //= 10
        count += 1
    at[0] = c'0' + value
    while count > 0:
        count -= 1
        at += 1
        at[0] = reversed_digits[count]
    return at + 1


cdef char* put_decimal(char* at, int64_t mantissa, int power) noexcept nogil:
    """mantissa * 10**power, as 1230, 1.23, 0.00123 or 1.23e-8, whichever its size asks for."""
    cdef char[20] text
    cdef int digits = <int> (put_integer(text, mantissa) - text), whole = digits + power
    if power >= 0 and whole <= 9:
        memcpy(at, text, digits)
        memset(at + digits, c'0', power)
        return at + whole
    if 0 < whole <= 9:
        memcpy(at, text, whole)
        at[whole] = c'.'
        memcpy(at + whole + 1, text + whole, -power)
        return at + digits + 1
    if -3 <= whole <= 0:
        memcpy(at, b"0.000", 2 - whole)
        memcpy(at + 2 - whole, text, digits)
        return at + 2 - whole + digits
    at[0] = text[0]
    at[1] = c'.'
    memcpy(at + 2, text + 1, digits - 1)
    at += digits + 1 if digits > 1 else 1
    at[0] = c'e'
    at[1] = c'-'
    return put_integer(at + 2 if whole < 1 else at + 1, abs(whole - 1))


cdef inline char* put_number(char* at, float x) noexcept nogil:
    """The shortest decimal that reads as x, a finite number."""
    cdef int power
    cdef int64_t mantissa
    if x < 0:
        at[0] = c'-'
        at += 1
        x = -x
    if x < 10000000 and x == floor(x):
        return put_integer(at, <int64_t> x)
    mantissa = shortest(x, &power)
    return put_decimal(at, mantissa, power)


def write(const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] values,
          const float[::1] labels, const float[::1] weights):
    """Rows as lines label[:weight] index:value ... (bytes).

    indptr: int64 (rows + 1,). indices: int32 (non-zeros,), 0 or more. values: float32 (non-zeros,) or None.
    labels: float32 (rows,). weights: float32 (rows,) or None. The caller has seen to it that all numbers are finite.
    """
    cdef bint ones = values is None, weighted = weights is not None
    cdef Py_ssize_t rows = labels.shape[0], row, item
    most = rows * (2 * LONGEST_NUMBER + 2) + indices.shape[0] * (LONGEST_INDEX + LONGEST_NUMBER + 2)
    cdef char[::1] out = np.empty(most + 1, np.int8)
    cdef char* at = &out[0]
    with nogil:
        for row in range(rows):
            at = put_number(at, labels[row])
            if weighted:
                at[0] = c':'
                at = put_number(at + 1, weights[row])
            for item in range(indptr[row], indptr[row + 1]):
                at[0] = c' '
                at = put_integer(at + 1, indices[item])
                at[0] = c':'
                at = put_number(at + 1, 1 if ones else values[item])
            at[0] = c'\n'
            at += 1
    return out.base[:at - &out[0]].tobytes()

"""Texts that may have another spelling, found among many that have none."""
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND

cdef enum:  # classes of characters
    LAWFUL = 1  # in numbers and times
    MARK = 2  # in those that are no plain integers and dates
    TRUTH = 4  # the first of a truth value

cdef unsigned char[256] CLASSES

for code in bytearray(b"0123456789.eE+-:TZz UC"):
    CLASSES[code] = LAWFUL
for code in bytearray(b".eE:"):
    CLASSES[code] |= MARK
for code in bytearray(b"tTfF"):
    CLASSES[code] |= TRUTH


cdef bint may_be_respelled(str text) noexcept:
    """Return whether a text is as short as a truth value and begins like one, or looks like a number or a time."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), i
    cdef const unsigned char* characters
    cdef unsigned char first, found
    if length < 2 or PyUnicode_KIND(text) != 1:
        return False
    characters = <const unsigned char*>PyUnicode_1BYTE_DATA(text)
    first = characters[0]
    if CLASSES[first] & TRUTH:
        return length < 6
    if first != c"-" and not c"0" <= first <= c"9":
        return False
    found = length == 2 and first == c"-"  # of which "-0" has another spelling
    for i in range(length):
        if not CLASSES[characters[i]] & LAWFUL:
            return False
        found |= CLASSES[characters[i]] & MARK
    return found != 0


def respellable(list texts):
    """Return the positions of the texts (list of str, without outer blanks) that may have another spelling."""
    cdef Py_ssize_t i
    cdef str text
    found = []
    for i in range(len(texts)):
        text = texts[i]
        if text is not None and may_be_respelled(text):
            found.append(i)
    return found

# Shortest decimal text of float32, for other extensions.
cdef enum:
    LONGEST = 24  # bytes that `format_float32` may write

cdef int format_float32(float x, char* out) noexcept nogil

# Shortest decimal text of float32, for other extensions.
cdef int format_float32(float x, char* out) noexcept nogil

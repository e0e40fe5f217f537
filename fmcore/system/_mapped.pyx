# A file mapped into memory, and what becomes of it when it is cut off meanwhile (see mapped.h).
from cpython.buffer cimport PyBuffer_FillInfo
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, mmap, munmap
from posix.unistd cimport close, dup


cdef extern from "mapped.h":
    ctypedef struct mapped_span:
        char *start
        int lost
    int catch_bus_errors()
    mapped_span *mapped_span_of(void *start, size_t size)


cdef extern from "Python.h":
    object PyErr_SetFromErrno(object kind)


cdef class Mapping:
    """The bytes of an open file, read-only, as a buffer; read when they are used. Raises OSError."""

    cdef void *start
    cdef size_t size
    cdef mapped_span *span
    cdef int descriptor

    def __cinit__(self, int descriptor, size_t size):
        self.descriptor = -1
        self.start = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0)
        if self.start == MAP_FAILED:
            self.start = NULL
            PyErr_SetFromErrno(OSError)
        self.size = size
        self.span = mapped_span_of(self.start, size)
        self.descriptor = dup(descriptor)
        if self.descriptor < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.span != NULL:
            self.span.start = NULL
        if self.start != NULL:
            munmap(self.start, self.size)
        if self.descriptor >= 0:
            close(self.descriptor)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.start, self.size, 1, flags)

    def fileno(self):
        """Return its descriptor of the file, which stays open as long as the mapping."""
        return self.descriptor

    @property
    def lost(self):
        """Whether some of the bytes could not be read and are zeros instead."""
        return self.span != NULL and self.span.lost != 0


def guard():
    """Replace pages of mappings that cannot be read by zeros in this process, instead of ending it; see `lost`."""
    if catch_bus_errors() < 0:
        PyErr_SetFromErrno(OSError)

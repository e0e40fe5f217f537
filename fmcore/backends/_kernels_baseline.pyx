# cython: language_level=3
# The kernels of _kernels.pxi, built for any processor of this architecture.
include "_kernels.pxi"

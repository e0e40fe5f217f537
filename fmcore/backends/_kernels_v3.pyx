# cython: language_level=3
# The kernels of _kernels.pxi, built for x86-64-v3.
include "_kernels.pxi"

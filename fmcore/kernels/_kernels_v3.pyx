# The kernels, built for x86-64-v3.
include "_kernels_baseline.pyx"

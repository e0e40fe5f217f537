# The kernels, built for any processor of this architecture.
include "_parameters.pxi"
include "_score.pxi"
include "_group.pxi"
include "_job.pxi"
include "_sparse.pxi"
include "_dense.pxi"
include "_train.pxi"

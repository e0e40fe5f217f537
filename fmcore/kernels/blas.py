"""SciPy's matrix product for the kernels, kept to one thread.

SciPy is imported where the first dense block is met, because importing it takes longer than starting `fm` itself. The
kernels get the function as a capsule rather than by cimport, so that they are built and loaded without SciPy.
"""

from contextlib import contextmanager
from functools import cache
from threading import Lock

FLOATS = "__pyx_t_5scipy_6linalg_11cython_blas_s *"
SGEMM = (
    f"void (char *, char *, int *, int *, int *, {FLOATS}, {FLOATS}, int *, {FLOATS}, int *, {FLOATS}, {FLOATS}, int *)"
)
_lock = Lock()
_limits = []  # on BLAS: one entry, always the same limit, for each caller that is inside `one_thread`


@cache
def sgemm():
    """Return a capsule of BLAS' sgemm; None where SciPy was built with other types for it, such as 64-bit sizes."""
    from scipy import LowLevelCallable
    from scipy.linalg import cython_blas

    found = LowLevelCallable.from_cython(cython_blas, "sgemm")
    return found.function if found.signature == SGEMM else None


@contextmanager
def one_thread():
    """Limit BLAS to one thread while any caller is inside: splitting a product among several changes the last digits.

    OpenBLAS, MKL and BLIS obey; Accelerate has no such setting.
    """
    with _lock:
        _limits.append(_limits[0] if _limits else _libraries().limit(limits=1))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


@cache
def _libraries():
    """Return a controller of all BLAS libraries that are loaded once SciPy is."""
    from threadpoolctl import ThreadpoolController

    sgemm()
    return ThreadpoolController().select(user_api="blas")

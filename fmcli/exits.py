"""How a process ends: SIGTERM as an exception, and what an exception comes down to."""
import signal

from fmcore.errors import ResourceError
from fmcore.publish import FULL

INTERRUPTED, TERMINATED = 130, 143


class Terminated(BaseException):
    """SIGTERM has come; not an Exception, so that nothing on the way takes it for a failure of its own."""


def terminate(number, _frame):
    """The signal handler that raises Terminated, once."""
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut off the tidying up
    raise Terminated


def recognized(error, *, memory):
    """The ResourceError that a full disk or exhausted memory comes down to, else the exception itself.

    memory: what to try where memory is exhausted.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return ResourceError(f"the output cannot be written: {FULL[error.errno]}")
    if isinstance(error, MemoryError):
        return ResourceError(f"out of memory; {memory}")
    return error

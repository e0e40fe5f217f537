"""How a process ends: signals as exceptions, and what an exception comes down to."""
import signal

from fmcore.errors import ResourceError
from fmcore.publish import FULL

INTERRUPTED, TERMINATED = 130, 143
AGAIN = 3  # seconds, far longer than tidying up takes


class Terminated(BaseException):
    """SIGTERM has come; not an Exception, so that nothing on the way takes it for a failure of its own."""


def listen():
    """Let SIGTERM raise Terminated and SIGINT KeyboardInterrupt; where SIGINT is ignored it stays so."""
    signal.signal(signal.SIGTERM, terminate)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)


def terminate(_number, _frame):
    """The signal handler that raises Terminated."""
    raise_until_settled(Terminated)


def interrupt(_number, _frame):
    """The signal handler that raises KeyboardInterrupt."""
    raise_until_settled(KeyboardInterrupt)


def raise_until_settled(kind):
    """Raise an exception that ends the process; further signals do not count, so that none cuts off the tidying up.

    It is raised again every AGAIN seconds until `settled` is called: one that is raised within a callback of Python's
    own (the lock of an import, a destructor) is dropped, and a read that is just beginning never hears of it.
    """
    def again(_number, _frame):
        raise kind

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    raise kind


def settled():
    """The exception has arrived where it is dealt with."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def recognized(error, *, memory):
    """The ResourceError that a full disk or exhausted memory comes down to, else the exception itself.

    memory: what to try where memory is exhausted.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return ResourceError(f"the output cannot be written: {FULL[error.errno]}")
    if isinstance(error, MemoryError):
        return ResourceError(f"out of memory; {memory}")
    return error

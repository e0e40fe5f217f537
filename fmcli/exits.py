"""How a process ends: signals as exceptions, and what an exception comes down to."""

import errno
import os
import signal
import sys
import traceback
from contextlib import suppress
from functools import cache

from fmcore.errors import FMError, ResourceError
from fmcore.system import publish

HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
AGAIN = 10  # seconds, far longer than tidying up takes, also on a machine that is busy
NO_THREAD = ("can't start new thread", "Failed to launch worker thread")  # Python's words, and pyarrow's
NO_MEMORY = ("failed to map segment", "annot allocate memory")  # the dynamic linker's


class Terminated(BaseException):
    """SIGTERM has come; not an Exception, so that nothing on the way takes it for a failure of its own."""

    exit_code = TERMINATED


class HungUp(Terminated):
    """SIGHUP has come: the terminal is gone."""

    exit_code = HUNG_UP


class Interrupted(KeyboardInterrupt):
    """Ctrl-C has come. Where Python's own exception passes an exec() of text, as while a class is made, Python ends
    the process by that signal at last, whoever has dealt with it.
    """

    exit_code = INTERRUPTED


def listen():
    """Let SIGTERM raise Terminated, SIGHUP HungUp, and SIGINT Interrupted.

    Where SIGHUP or SIGINT was ignored when this process started (nohup, a job in the background) it stays so.
    """
    for number in heeded():
        signal.signal(number, HANDLERS[number])
    sys.unraisablehook = dropped


def dropped(told):
    """Say nothing of an exception of ours that a callback of Python's has dropped, for it is raised again."""
    if not issubclass(told.exc_type, (Interrupted, Terminated)):
        sys.__unraisablehook__(told)


def terminate(_number, _frame):
    """The signal handler that raises Terminated."""
    raise_until_settled(Terminated)


def interrupt(_number, _frame):
    """The signal handler that raises Interrupted."""
    raise_until_settled(Interrupted)


def hang_up(_number, _frame):
    """The signal handler that raises HungUp."""
    raise_until_settled(HungUp)


HANDLERS = {signal.SIGTERM: terminate, signal.SIGINT: interrupt, signal.SIGHUP: hang_up}


@cache  # once for all: later on they are ignored for other reasons
def heeded():
    """The signals that count."""
    return [number for number in HANDLERS if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN]


def raise_until_settled(kind):
    """Raise an exception that ends the process; further signals do not count, so that none cuts off the tidying up.

    It is raised again every AGAIN seconds until `settled` is called: one that is raised within a callback of Python's
    own (the lock of an import, a destructor) is dropped, and a read that is just beginning never hears of it.
    """

    def again(_number, _frame):
        raise kind

    for number in HANDLERS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    raise kind


def settled():
    """The exception has arrived where it is dealt with."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def hold_standard_streams():
    """Open what is closed of descriptors 0 to 2, to nowhere.

    Else a file that is opened later gets such a number, and what a library prints on standard error ends up in it.
    Python has noticed by now which ones are closed, and does not use them.
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest number that is free
            pass
        os.close(descriptor)


def let_go(error):
    """Drop what the frames that an exception has come through still hold.

    A reader of pyarrow's among it has threads, and one that is alive when Python ends takes the process down with it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def so_far():
    """What has become of the outputs, for one who ends the process."""
    written = publish.renamed()
    return f"written before that: {', '.join(written)}" if written else "no file was written or replaced"


def recognized(error, *, memory):
    """The ResourceError that a full disk or exhausted memory comes down to, else the exception itself.

    memory: what to try where memory is exhausted.
    """
    if isinstance(error, FMError) or not isinstance(error, Exception):
        return error
    number, text = getattr(error, "errno", None), str(error)
    if number in publish.LACKS and number != errno.EIO:  # which may be that of an input
        return ResourceError(
            f"{getattr(error, 'filename', None) or 'the output'} cannot be written: {publish.LACKS[number]}"
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in text for words in NO_MEMORY):
        return ResourceError(f"out of memory; {memory}")
    if any(words in text for words in NO_THREAD):
        return ResourceError(
            "no further thread could be started; take fewer with --threads, or raise what limits them (ulimit -u, -v)"
        )
    return error

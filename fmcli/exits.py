"""How a process ends: signals as exceptions, and which error is behind an exception."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any, NoReturn

from fmcore.errors import FMError, ResourceError
from fmcore.system import publish

HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
AGAIN = 10  # seconds, far longer than cleaning up takes, also on a machine that is busy
NO_THREAD = ("can't start new thread", "Failed to launch worker thread")  # Python's words, and pyarrow's
NO_MEMORY = ("failed to map segment", "annot allocate memory")  # the dynamic linker's


class Terminated(BaseException):
    """The arrival of SIGTERM; not an Exception, so that no handler of errors on the way catches it."""

    exit_code = TERMINATED


class HungUp(Terminated):
    """The arrival of SIGHUP: the terminal is gone."""

    exit_code = HUNG_UP


class Interrupted(KeyboardInterrupt):
    """The arrival of Ctrl-C.

    Where Python's own exception passes an exec() of text, as while a class is made, Python ends the process by that
    signal at last, even where the exception was handled.
    """

    exit_code = INTERRUPTED


def listen() -> None:
    """Make SIGTERM raise Terminated, SIGHUP HungUp, and SIGINT Interrupted.

    Where SIGHUP or SIGINT was ignored when this process started (nohup, a job in the background) it stays so.
    """
    for number in heeded():
        signal.signal(number, HANDLERS[number])
    sys.unraisablehook = dropped


def dropped(unraisable: Any) -> None:
    """Report an exception that a callback of Python's has dropped, unless it is one of ours, which is raised again."""
    if not issubclass(unraisable.exc_type, (Interrupted, Terminated)):
        sys.__unraisablehook__(unraisable)


def terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal by raising Terminated."""
    raise_until_handled(Terminated)


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal by raising Interrupted."""
    raise_until_handled(Interrupted)


def hang_up(_number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal by raising HungUp."""
    raise_until_handled(HungUp)


HANDLERS: dict[int, Callable[[int, FrameType | None], NoReturn]] = {
    signal.SIGTERM: terminate,
    signal.SIGINT: interrupt,
    signal.SIGHUP: hang_up,
}


@cache  # asked once: later on signals are ignored for other reasons
def heeded() -> list[int]:
    """Return the signals to handle: those that were not ignored when this process started, and SIGTERM."""
    return [number for number in HANDLERS if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN]


def raise_until_handled(kind: type[BaseException]) -> NoReturn:
    """Raise an exception that ends the process; ignore further signals, so that none interrupts cleaning up.

    It is raised again every AGAIN seconds until `handled` is called: one that is raised within a callback of Python's
    own (the lock of an import, a destructor) is dropped, and a read that is just beginning is not interrupted by it.
    """

    def again(_number, _frame):
        raise kind

    for number in HANDLERS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    raise kind


def handled() -> None:
    """Stop raising: the exception has arrived where it is handled."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def hold_standard_streams() -> None:
    """Open those of descriptors 0 to 2 that are closed, to the null device.

    Otherwise a file that is opened later gets such a number, and what a library prints on standard error ends up in it.
    Python has noticed by now which ones are closed, and does not use them.
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest number that is free
            pass
        os.close(descriptor)


def release(error: BaseException | None) -> None:
    """Drop the objects held by the frames that an exception has come through.

    A reader of pyarrow's among them has threads, and one that is alive when Python ends crashes the process.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def so_far() -> str:
    """Return which outputs were written, for a user who ends the process."""
    written = publish.renamed()
    return f"written before that: {', '.join(written)}" if written else "no file was written or replaced"


def recognized(error: BaseException, *, memory: str) -> BaseException:
    """Return the ResourceError where a full disk or exhausted memory is behind an exception, else the exception itself.

    memory: advice for where memory is exhausted.
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
            "no further thread could be started; use fewer with --threads, or raise what limits them (ulimit -u, -v)"
        )
    return error

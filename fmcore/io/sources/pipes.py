"""Named pipes that a feeder makes and fills one after the other: waiting for them can be ended from outside."""

import itertools
import math
import os
import re
import select
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from fmcore.errors import DataError, StoppedError, UsageError
from fmcore.io.sources.source import STDIN, Source, require_local

STEP = 0.05  # seconds between two polls
HANG_UP_MEANS_LEFT = sys.platform == "linux"  # elsewhere, a pipe that no writer has opened yet is hung up as well


def never():
    """Return False."""
    return False


@dataclass(frozen=True)
class PipeMode:
    """Input by pipes: pass i over a channel comes through PREFIX_i.

    timeout: seconds that a pass waits for its pipe and the first byte; after that, a slow writer is waited for.
    """

    timeout: float = 300


@dataclass(frozen=True)
class Pipe(Source):
    """A named pipe that may not exist yet; a regular file in its place is accepted.

    cancelled: once set, by any thread, waiting ends with a DataError.
    stopped: called while waiting, which ends with a StoppedError once it returns True.
    """

    timeout: float = PipeMode.timeout
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)
    stopped: object = field(default=never, compare=False)


def pipes(names, mode):
    """Return the endless series of a channel's Pipes, PREFIX_0, PREFIX_1, ...; UsageError unless names hold one."""
    if len(names) != 1:
        raise UsageError(
            f"in pipe mode a channel is one prefix of named pipes (PREFIX_0, PREFIX_1, ...), but {len(names)} are named"
        )
    prefix = os.fspath(names[0])
    if prefix in ("", STDIN):
        raise UsageError(f"{prefix!r} is no prefix of named pipes; it is train where they are train_0, train_1, ...")
    require_local(prefix)
    return (Pipe(f"{prefix}_{number}", timeout=mode.timeout) for number in itertools.count())


def existing_pipes(prefix):
    """Return the paths of PREFIX_0, PREFIX_1, ... that exist."""
    prefix = Path(prefix)
    named = re.compile(re.escape(prefix.name) + r"_\d+", re.ASCII)
    return sorted(str(path) for path in prefix.parent.glob("*") if named.fullmatch(path.name))


def open_pipe(pipe):
    """Return a binary handle of a Pipe, with read1 and close.

    Waits until the path exists; the first read1 waits for the first byte, or for a writer that leaves without one. A
    pipe is opened and read without blocking, and polled every STEP seconds, so that `cancelled` and signals are
    noticed. Both waits together take no longer than the timeout, else DataError.
    """
    end = time.monotonic() + pipe.timeout
    while (status := _status(pipe)) is None:
        if time.monotonic() > end:
            raise DataError(
                f"no such pipe has appeared within {pipe.timeout:g} s; start its writer, or wait "
                "longer with --pipe-timeout",
                source=pipe.name,
            )
        _require_waiting(pipe)
        time.sleep(min(STEP, pipe.timeout))
    try:
        if stat.S_ISFIFO(status.st_mode):
            return _Reader(pipe, os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK), end)
        return Path(pipe.path).open("rb")
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror}", source=pipe.name) from error


def _status(pipe):
    try:
        return Path(pipe.path).stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be opened: {getattr(error, 'strerror', None) or error}", source=pipe.name) from error


def _require_waiting(pipe):
    if pipe.cancelled.is_set():
        raise DataError("waiting for this pipe was cancelled", source=pipe.name)
    if pipe.stopped():
        raise StoppedError(f"stopped while waiting for {pipe.name}; there is no model to save")


class _Reader:
    """A named pipe opened without blocking.

    By POSIX such a read returns no bytes where no process has the pipe open for writing, whether the writer has left or
    none has come yet, and fails with EAGAIN where a writer has the pipe open but has written nothing new. To know which
    of the two an empty read means, the reader records whether it ever noticed a writer: by a byte, by EAGAIN, or on
    Linux by POLLHUP.
    """

    def __init__(self, pipe, descriptor, end):
        self._pipe, self._descriptor, self._end = pipe, descriptor, end
        self._noticed = False  # whether a writer has ever had the pipe open
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)

    def read1(self, size):
        """Return up to size bytes, as soon as there are any; none once every writer has left."""
        while (data := self._read(size)) is None or not (data or self._noticed):
            self._wait()
        if data:
            self._noticed, self._end = True, math.inf
        return data

    def close(self):
        """Close the pipe, so that its writer gets a broken pipe."""
        os.close(self._descriptor)

    def _read(self, size):
        try:
            return os.read(self._descriptor, size)
        except BlockingIOError:
            self._noticed = True
            return None

    def _wait(self):
        _require_waiting(self._pipe)
        if time.monotonic() > self._end:
            raise DataError(
                f"the pipe exists, but nothing was written to it within {self._pipe.timeout:g} s; start "
                "its writer, or wait longer with --pipe-timeout",
                source=self._pipe.name,
            )
        events = self._poller.poll(STEP * 1000)
        if events and events[0][1] & select.POLLHUP:
            if HANG_UP_MEANS_LEFT:
                self._noticed = True
            else:
                time.sleep(STEP)

"""Named pipes that a feeder makes and fills one after the other: waited for, and read so that waiting can be ended."""

import itertools
import math
import os
import select
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from fmcore.errors import DataError, StoppedError, UsageError
from fmcore.io.sources.source import REMOTE, STDIN, Source

STEP = 0.05  # seconds between looks whether there is something new
HANG_UP_TELLS = sys.platform == "linux"  # elsewhere a pipe that no writer has opened yet looks hung up as well


def never():
    """False, whenever it is asked."""
    return False


@dataclass(frozen=True)
class PipeMode:
    """Input by pipes: pass i over a channel comes through PREFIX_i.

    timeout: seconds that a pass waits for its pipe and the first byte; a writer that has begun may take its time.
    """

    timeout: float = 300


@dataclass(frozen=True)
class Pipe(Source):
    """A named pipe that may have to be waited for; a regular file in its place will do.

    cancelled: once set, by whatever thread, waiting ends with a DataError.
    stopped: asked while waiting, which ends with a StoppedError once it says True.
    """

    timeout: float = PipeMode.timeout
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)
    stopped: object = field(default=never, compare=False)


def pipes(names, mode):
    """The endless row of a channel's Pipes, PREFIX_0, PREFIX_1, ...; UsageError where names hold no one prefix."""
    if len(names) != 1:
        raise UsageError(
            f"in pipe mode a channel is one prefix of named pipes (PREFIX_0, PREFIX_1, ...), but {len(names)} are named"
        )
    prefix = os.fspath(names[0])
    if prefix in ("", STDIN):
        raise UsageError(f"{prefix!r} is no prefix of named pipes; it is train where they are train_0, train_1, ...")
    if prefix.startswith("s3://"):
        raise UsageError(f"{prefix} {REMOTE}")
    return (Pipe(f"{prefix}_{number}", timeout=mode.timeout) for number in itertools.count())


def open_pipe(pipe):
    """A binary handle of a Pipe, with read1 and close.

    Waits until the path is there; the first read1 waits for the first byte, or for a writer that leaves without one. A
    pipe is opened and read without blocking, and looked at every STEP seconds, so that `cancelled` and signals reach
    whoever waits. Both waits together take no longer than the timeout, else DataError.
    """
    end = time.monotonic() + pipe.timeout
    while (status := _status(pipe)) is None:
        if time.monotonic() > end:
            raise DataError(
                f"no such pipe has appeared within {pipe.timeout:g} s; start whoever feeds it, or wait "
                "longer with --pipe-timeout",
                source=pipe.name,
            )
        _go_on(pipe)
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


def _go_on(pipe):
    if pipe.cancelled.is_set():
        raise DataError("nobody waits for this pipe any more", source=pipe.name)
    if pipe.stopped():
        raise StoppedError(f"stopped while waiting for {pipe.name}; there is no model to save")


class _Reader:
    """A named pipe opened without blocking.

    By POSIX a read then gives no byte at all where no process has the pipe open for writing, be it that the writer has
    left or that none has come yet, and fails with EAGAIN where one has, but has written nothing new. Which of the two
    an empty read means shows in whether a writer was ever noticed: by a byte, by EAGAIN, or on Linux by POLLHUP.
    """

    def __init__(self, pipe, descriptor, end):
        self._pipe, self._descriptor, self._end = pipe, descriptor, end
        self._noticed = False  # whether a writer has ever been there
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)

    def read1(self, size):
        """Up to size bytes, as soon as there are any; none once every writer has left."""
        while (data := self._read(size)) is None or not (data or self._noticed):
            self._wait()
        if data:
            self._noticed, self._end = True, math.inf
        return data

    def close(self):
        """Close it, which tells a writer that nobody reads on."""
        os.close(self._descriptor)

    def _read(self, size):
        try:
            return os.read(self._descriptor, size)
        except BlockingIOError:
            self._noticed = True
            return None

    def _wait(self):
        _go_on(self._pipe)
        if time.monotonic() > self._end:
            raise DataError(
                f"the pipe is there, but nothing was written to it within {self._pipe.timeout:g} s; start "
                "whoever feeds it, or wait longer with --pipe-timeout",
                source=self._pipe.name,
            )
        events = self._poller.poll(STEP * 1000)
        if events and events[0][1] & select.POLLHUP:
            if HANG_UP_TELLS:
                self._noticed = True
            else:
                time.sleep(STEP)

"""Output files that appear whole or not at all: written beside, flushed to disk, renamed at the end.

What a killed process left beside a file goes when the file is next written. A process that lives holds a lock on what
it writes, so that none takes away what is another's.
"""
import errno
import fcntl
import os
import re
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from fmcore.errors import ResourceError, UsageError

LONGEST = 40  # characters of a target's name within that of its temporary file
STDOUT = ("-", "/dev/stdout", "/dev/fd/1")
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "the file would exceed the largest size allowed"}
_BEING_WRITTEN = set()  # regular files that this process has open as outputs


@contextmanager
def whole(path):
    """A binary file handle whose content becomes the file `path` when the block ends without an exception.

    Otherwise the old file, if any, stays as it was. "-" is standard output; what is there and is no regular file (a
    named pipe, /dev/null, /dev/fd/N) is written straight to. Raises UsageError at once where the file cannot be
    written, and ResourceError where the disk fills up.
    """
    with together(path) as (handle,):
        yield handle


@contextmanager
def together(*paths):
    """Handles for several files, renamed only after all are complete, in the order given; else as `whole`."""
    targets = []
    try:
        for path in paths:
            targets.append(_target(os.fspath(path)))
            targets[-1].open()  # known by now to whoever tidies up, should an interrupt come in between
        yield tuple(target.handle for target in targets)
        for target in targets:
            target.complete()
        for target in targets:
            target.publish()
    except OSError as error:
        if error.errno in FULL:
            raise ResourceError(f"{_names(paths)} cannot be written: {FULL[error.errno]}") from error
        raise
    finally:
        for target in targets:
            target.discard()


def prepare(path):
    """Get ready for a file that one process writes again and again: whether it can be, and no remains beside it.

    Raises UsageError where `whole` would, and for what is no regular file.
    """
    target = _target(os.fspath(path), renamed=True)
    try:
        target.open()
    finally:
        target.discard()


def _names(paths):
    return ", ".join("standard output" if path in STDOUT else os.fspath(path) for path in paths)


def _target(path, *, renamed=False):
    """What `path` is as an output; renamed: UsageError where it cannot be renamed onto."""
    if renamed and path in STDOUT:
        raise UsageError("standard output cannot be written again and again; name a file")
    if path in STDOUT:
        if sys.stdout is None:
            raise UsageError("standard output cannot be written: it is closed")
        return _Straight(sys.stdout.buffer)
    if not path:
        raise UsageError("the name of an output is empty; is a variable of the shell not set?")
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return _Beside(path, None)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} cannot be written: it is a folder")
    if not os.access(path, os.W_OK):
        raise UsageError(f"{path} cannot be written: it is write-protected")
    if stat.S_ISREG(mode) and not path.startswith(("/dev/fd/", "/proc/")):
        return _Beside(path, stat.S_IMODE(mode))
    if renamed:
        raise UsageError(f"{path} cannot be written again and again: it is not a regular file")
    return _Straight(Path(path).open("wb"), closes=True)


class _Straight:
    """A target that cannot be renamed onto."""

    def __init__(self, handle, *, closes=False):
        self.handle, self._closes = handle, closes

    def open(self):
        """It is open."""

    def complete(self):
        self.handle.flush()
        if self._closes:
            self.handle.close()

    def publish(self):
        """Nothing is left to do."""

    def discard(self):
        if self._closes:
            with suppress(OSError):  # what is still buffered has nowhere to go
                self.handle.close()


class _Beside:
    """A regular file, written under a hidden temporary name in the same folder; mode: that of the file it replaces."""

    def __init__(self, path, mode):
        self._target = Path(os.path.realpath(path))  # through a link, so that the link stays one
        if self._target in _BEING_WRITTEN:
            raise UsageError(f"{path} is named for two outputs, of which one would replace the other")
        self._temporary = self._target.with_name(self._temporary_name(os.urandom(6).hex()))
        self._path, self._mode, self.handle, self._lock = path, mode, None, None

    def _temporary_name(self, word):
        return f".{self._target.name[:LONGEST]}.{word}.tmp"

    def _tidy(self):
        """Remove what killed processes left for the same target, where the name tells that it is for it."""
        if len(self._target.name) <= LONGEST:
            left = re.compile(re.escape(self._temporary_name("WORD")).replace("WORD", "[0-9a-f]{12}"))
            with suppress(OSError), os.scandir(self._target.parent) as entries:
                for entry in entries:
                    if left.fullmatch(entry.name):
                        _remove_unless_locked(entry.path)

    def _create(self):
        self.handle = self._temporary.open("xb")  # its name is a path, by which a writer may read it again
        self._lock = os.dup(self.handle.fileno())  # holds on where the handle is closed
        with suppress(OSError):  # some file systems have no locks, and then nobody tidies up
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not self._temporary.exists():  # somebody tidied up just before it was locked
            self._close()
            self._create()

    def open(self):
        _BEING_WRITTEN.add(self._target)
        self._tidy()
        try:
            self._create()
        except OSError as error:
            if error.errno in FULL:
                raise
            folder = self._target.parent
            why = error.strerror if folder.is_dir() else f"there is no folder {folder}"
            raise UsageError(f"{self._path} cannot be written: {why}") from error
        if self._mode is not None:
            os.fchmod(self.handle.fileno(), self._mode)

    def complete(self):
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.handle.close()

    def publish(self):
        self._temporary.replace(self._target)
        with suppress(OSError):  # some file systems do not sync folders; the rename itself is done
            folder = os.open(self._target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self):
        _BEING_WRITTEN.discard(self._target)
        self._temporary.unlink(missing_ok=True)
        self._close()

    def _close(self):
        if self.handle is not None:
            with suppress(OSError):  # what is still buffered has nowhere to go
                self.handle.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_unless_locked(path):
    """Remove a temporary file that no process writes any more."""
    with suppress(OSError):  # which is also how a lock shows
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(path).unlink()
        finally:
            os.close(descriptor)

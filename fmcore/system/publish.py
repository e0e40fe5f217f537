"""Output files that appear whole or not at all: written to a temporary file, flushed to disk, renamed at the end.

Temporary files left by a killed process are removed when their target is next written. A running process holds a lock
on its temporary files, so that no other process removes them.
"""

import errno
import fcntl
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from fmcore.errors import FMError, ResourceError, UsageError

LONGEST = 40  # characters of a target's name within that of its temporary file
STDOUT = ("-", "/dev/stdout", "/dev/fd/1")
LACKS = {  # causes of a failure to write, and what to try
    errno.ENOSPC: "the disk is full; free some space on it, or write to another disk",
    errno.EDQUOT: "the disk quota is used up; free some space, or write to another disk",
    errno.EFBIG: "the file would exceed the largest size allowed (ulimit -f, or that of the file system)",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk reports an error; look at the system's log, or write to another disk",
}
_BEING_WRITTEN: set[Path] = set()  # regular files that this process has open as outputs
_RENAMED: dict[str, None] = {}  # names of the files that this process has published, in order
_group: ContextVar[Any] = ContextVar("group", default=None)  # complete targets that wait for others of `all_or_none`


@contextmanager
def whole(path: str | os.PathLike[str], *, at_once: bool = False) -> Iterator[IO[bytes]]:
    """Provide a binary file handle whose content becomes the file `path` when the block ends without an exception.

    Otherwise the old file, if any, stays as it was. "-" is standard output; an existing path that is no regular file (a
    named pipe, /dev/null, /dev/fd/N) is written to directly. Raises UsageError at once where the file cannot be
    written, and ResourceError where the disk fills up; both name the file.
    at_once: do not wait for others of `all_or_none`.
    """
    with together(path, at_once=at_once) as (handle,):
        yield handle


@contextmanager
def together(*paths: str | os.PathLike[str], at_once: bool = False) -> Iterator[tuple[IO[bytes], ...]]:
    """Provide handles for several files, renamed only after all are complete, in the order given; else as `whole`."""
    targets, group = [], None if at_once else _group.get()
    try:
        for path in paths:
            targets.append(_target(os.fspath(path)))
            targets[-1].open()  # after it is listed, so that `finally` discards it even where an interrupt comes here
        yield tuple(target.handle for target in targets)
        for target in targets:
            target.complete()
        if group is None:
            _publish(targets)
        else:
            group += targets
            targets = []
    finally:
        for target in targets:
            target.discard()


@contextmanager
def all_or_none() -> Iterator[None]:
    """Publish the files of `whole` and `together` when the block ends without an exception, and none if it fails.

    So a file that does not fit on its disk keeps the others from appearing. Blocks may be nested; the outermost one
    counts. Where the reader of one of the outputs has left (BrokenPipeError), the complete files are still published.
    """
    if _group.get() is not None:
        yield
        return
    complete: list[_Straight | _Beside] = []
    token = _group.set(complete)
    try:
        try:
            yield
        except BrokenPipeError:
            _publish(complete)
            raise
        _publish(complete)
    finally:
        _group.reset(token)
        for target in complete:
            target.discard()


def renamed() -> list[str]:
    """Return the names of the files that this process has written so far."""
    return list(_RENAMED)


def _publish(targets: "list[_Straight | _Beside]") -> None:
    for target in targets:
        target.require()
    for target in targets:
        target.rename()
    for target in targets:
        target.sync_folder()


def prepare(path: str | os.PathLike[str]) -> None:
    """Check that a file that is written again and again can be written, and remove temporary files left beside it.

    Raises UsageError where `whole` would, and where the path is not a regular file.
    """
    target = _target(os.fspath(path), renamed=True)
    try:
        target.open()
    finally:
        target.discard()


class _File(io.FileIO):
    """An open file; errors on writing to it call it `shown`."""

    def __init__(self, file: str | int | Path, mode: str, shown: str, **options: Any) -> None:
        with explained(shown):
            super().__init__(file, mode, **options)
        self._shown = shown

    def write(self, data: Any) -> int:
        """Write like io.FileIO, with errors that name the file."""
        with explained(self._shown):
            return super().write(data)


@contextmanager
def explained(shown: str) -> Iterator[None]:
    """Turn a failure to write into an error that names the file and the cause; a broken pipe passes unchanged."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        cause = LACKS.get(error.errno or 0)
        kind = ResourceError if cause else UsageError
        raise kind(f"{shown} cannot be written: {cause or error.strerror or error}") from error


def _target(path: str, *, renamed: bool = False) -> "_Straight | _Beside":
    """Return the target for an output `path`; renamed: raise UsageError where it cannot be replaced by a rename."""
    if renamed and path in STDOUT:
        raise UsageError("standard output cannot be written again and again; name a file")
    if path in STDOUT:
        if sys.stdout is None:
            raise UsageError("standard output cannot be written: it is closed")
        sys.stdout.flush()
        return _Straight(_File(sys.stdout.fileno(), "wb", "standard output", closefd=False))
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
    return _Straight(_File(path, "wb", path))


class _Straight:
    """A target that cannot be replaced by a rename."""

    def __init__(self, file: _File) -> None:
        self.handle = io.BufferedWriter(file)

    def open(self) -> None:
        """Do nothing: the file is open already."""

    def complete(self) -> None:
        self.handle.close()

    def require(self) -> None:
        """Do nothing: no file can be missing."""

    def rename(self) -> None:
        """Do nothing: the bytes are already in place."""

    def sync_folder(self) -> None:
        """Do nothing: there was no rename."""

    def discard(self) -> None:
        with suppress(OSError, FMError):  # bytes still buffered cannot be written
            self.handle.close()


class _Beside:
    """A regular file, written under a hidden temporary name in the same folder; mode: that of the file it replaces."""

    def __init__(self, path: str, mode: int | None) -> None:
        self._target = Path(os.path.realpath(path))  # through a link, so that the link stays one
        if self._target in _BEING_WRITTEN:
            raise UsageError(f"{path} is named for two outputs, and one would replace the other")
        self._temporary = self._target.with_name(self._temporary_name(os.urandom(6).hex()))
        self._path, self._mode = path, mode
        self.handle: Any = None
        self._lock: int | None = None

    def _temporary_name(self, word: str) -> str:
        return f".{self._target.name[:LONGEST]}.{word}.tmp"

    def _tidy(self) -> None:
        """Remove the files that killed processes left for the same target, as far as their names show the target."""
        if len(self._target.name) <= LONGEST:
            left = re.compile(re.escape(self._temporary_name("WORD")).replace("WORD", "[0-9a-f]{12}"))
            with suppress(OSError), os.scandir(self._target.parent) as entries:
                for entry in entries:
                    if left.fullmatch(entry.name):
                        _remove_unless_locked(entry.path)

    def _create(self) -> None:
        # The handle's name is a path, so that a writer can open the file again.
        self.handle = io.BufferedWriter(_File(self._temporary, "xb", self._path))
        with explained(self._path):
            self._lock = os.dup(self.handle.fileno())  # keeps the lock when the handle is closed
        with suppress(OSError):  # some file systems have no locks; temporary files stay there
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not self._temporary.exists():  # another process removed it just before it was locked
            self._close()
            self._create()

    def open(self) -> None:
        _BEING_WRITTEN.add(self._target)
        if not self._target.parent.exists():
            raise UsageError(f"{self._path} cannot be written: there is no folder {self._target.parent}")
        self._tidy()
        self._create()
        if self._mode is not None:
            with explained(self._path):
                os.fchmod(self.handle.fileno(), self._mode)

    def complete(self) -> None:
        with explained(self._path):
            self.handle.flush()
            os.fsync(self.handle.fileno())
            self.handle.close()

    def require(self) -> None:
        """Raise UsageError where the temporary file no longer exists."""
        with explained(self._path):
            exists = self._temporary.exists()
        if not exists:
            missing = "its folder" if not self._target.parent.is_dir() else "the temporary file beside it"
            raise UsageError(f"{self._path} cannot be written: {missing} was removed meanwhile")

    def rename(self) -> None:
        with explained(self._path):
            self._temporary.replace(self._target)
        _RENAMED[self._path] = None

    def sync_folder(self) -> None:
        """Flush the folder to disk, so that the rename survives a crash."""
        with suppress(OSError):  # some file systems do not sync folders; the rename itself is done
            folder = os.open(self._target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        _BEING_WRITTEN.discard(self._target)
        with suppress(OSError):  # the disk or folder accepts no more changes
            self._temporary.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self.handle is not None:
            with suppress(OSError, FMError):  # bytes still buffered cannot be written
                self.handle.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_unless_locked(path: str) -> None:
    """Remove a temporary file that no process writes any more."""
    with suppress(OSError):  # also raised where another process holds the lock
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(path).unlink()
        finally:
            os.close(descriptor)

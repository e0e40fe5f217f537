"""Sources as byte streams that can be peeked into, decompressed on the way; outputs compressed by their suffix."""

import bz2
import errno
import gzip
import io
import sys
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from fmcore.errors import DataError, ResourceError, UsageError
from fmcore.io.sources.pipes import Pipe, open_pipe
from fmcore.io.sources.ranges import ByteRange, Window
from fmcore.io.sources.source import CUT_OFF, STDIN
from fmcore.system import publish

BLOCK = 8 << 10  # bytes read at a time when peeking
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
LONGEST_HEAD = 1 << 20  # bytes that can be peeked at, at most


class ByteStream(io.BufferedIOBase):
    """The bytes of `handle` in order; unread bytes can be peeked at. Failures are DataErrors that name the source.

    handle: a binary file with read1 (which returns what is available and waits only while nothing is).
    compression: "gzip", "bzip2", "zstd" or None. size: bytes that a regular file had when it was found, else None.
    start: the offset in the file where they begin, 0 except for a ByteRange.
    """

    def __init__(self, handle, name, *, compression=None, raw=None, size=None, start=0):
        super().__init__()
        self.name, self.compression, self.start = name, compression, start
        self._handle, self._raw, self._size = handle, raw, size
        self._peeked, self._ended, self._taken = b"", False, 0

    @property
    def consumed(self):
        """Return the bytes read from the source so far, as they are in it (compressed)."""
        return self._taken if self._raw is None else self._raw.consumed

    def readable(self):
        """Return True."""
        return True

    def head(self, enough):
        """Return the first bytes not yet read, without consuming them.

        Waits until enough(bytes) is true, the source ends, or LONGEST_HEAD is reached, and for no byte longer.
        """
        while not enough(self._peeked) and len(self._peeked) < LONGEST_HEAD:
            data = self._pull(BLOCK)
            if not data:
                break
            self._peeked += data
        return self._peeked

    def read1(self, size=-1):
        """Return up to size bytes: those peeked at before, or the result of one read of the source; none at the end."""
        size = BLOCK if size is None or size < 0 else size
        data, self._peeked = self._peeked[:size], self._peeked[size:]
        return data or (self._pull(size) if size else b"")

    def read(self, size=-1):
        """Return `size` bytes, or all to the end; fewer only at the end."""
        if size is None or size < 0:
            return b"".join(iter(self.read1, b""))
        parts = []
        while size and (data := self.read1(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def close(self):
        """Close the source, unless it is standard input."""
        if not self.closed:
            super().close()
            self._handle.close()
            if self._raw is not None:
                self._raw.close()

    def _pull(self, size):
        if self._ended:  # a terminal would wait for more input
            return b""
        try:
            data = self._handle.read1(size)
        except EOFError as error:
            problem = f"the {self.compression} data ends too early: the file is cut off"
            raise DataError(problem, source=self.name) from error
        except (OSError, ValueError, zlib.error) as error:
            what = f"damaged {self.compression} data" if self.compression else "cannot be read"
            raise DataError(f"{what}: {error}", source=self.name) from error
        self._taken += len(data)
        self._ended = not data
        if self._ended and self._size is not None and self._taken < self._size:
            raise DataError(CUT_OFF.format(self._taken, self._size), source=self.name)
        return data


class _Compressed(io.RawIOBase):
    """The input of a decompressor: returns the available bytes, so that a slow pipe is decompressed as it comes."""

    def __init__(self, stream):
        super().__init__()
        self._stream = stream

    def readable(self):
        return True

    def read(self, size=-1):
        self._stream.head(lambda head: len(head) >= 2)  # gzip takes the two bytes of a member's magic in one read
        return self._stream.read1(size)


class _StandardInput(io.RawIOBase):
    """Standard input, left open when its reader is closed."""

    def __init__(self):
        super().__init__()
        if sys.stdin is None:
            raise UsageError("standard input (-) is closed")
        self.read1 = sys.stdin.buffer.read1


def _zstd_reader(handle):
    import pyarrow as pa

    return pa.CompressedInputStream(handle, "zstd")


def _zstd_writer(handle):
    import pyarrow as pa

    return pa.CompressedOutputStream(_KeptOpen(handle), "zstd")


class _KeptOpen(io.RawIOBase):
    """A handle that stays open when pyarrow, done with compressing, closes it."""

    def __init__(self, handle):
        super().__init__()
        self.write = handle.write

    def writable(self):
        return True

    def flush(self):
        """Do nothing: the handle's owner flushes it, and may close it before this object is collected."""


class Compression(NamedTuple):
    """One kind of compression: how a file shows it, and functions that read and write it."""

    name: str
    suffix: str
    magic: bytes
    reader: object  # binary handle -> handle of the plain bytes
    writer: object


COMPRESSIONS = (
    Compression(
        "gzip",
        ".gz",
        b"\x1f\x8b",
        lambda handle: gzip.GzipFile(fileobj=handle, mode="rb"),
        lambda handle: gzip.GzipFile("", "wb", 6, handle, mtime=0),
    ),  # without name and time: the same input gives the same bytes
    Compression("bzip2", ".bz2", b"BZh", bz2.BZ2File, lambda handle: bz2.BZ2File(handle, "wb")),
    Compression("zstd", ".zst", b"\x28\xb5\x2f\xfd", _zstd_reader, _zstd_writer),
)

SKIPPABLE = [bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60)]  # frames of zstd without content
MAGICS = [*((kind.magic, kind) for kind in COMPRESSIONS), *((magic, COMPRESSIONS[2]) for magic in SKIPPABLE)]


def open_source(source):
    """Open a Source as a ByteStream of its plain bytes.

    Compression is detected from the first bytes, whatever the name; members written one after another are read as one.
    Waits for a named pipe's writer, and for a Pipe as `open_pipe` describes. A ByteRange gives its units as they are,
    never decompressed. Raises DataError where the file cannot be opened, or where its name ends with .gz, .bz2 or .zst
    but its content is something else.
    """
    if isinstance(source, ByteRange):
        return _open_range(source)
    raw = ByteStream(_open(source), source.name, size=source.size)
    with ExitStack() as on_failure:
        on_failure.callback(raw.close)
        kind, named = _by_content(raw), _by_suffix(source.path)
        if named not in (None, kind):
            raise DataError(f"its name ends with {named.suffix}, but it holds no {named.name} data", source=source.name)
        on_failure.pop_all()
    if kind is None:
        return raw
    return ByteStream(kind.reader(_Compressed(raw)), source.name, compression=kind.name, raw=raw)


def _open_range(source):
    with ExitStack() as on_failure:
        file = on_failure.enter_context(_open(source))
        window = Window(file, source)
        on_failure.pop_all()
    return ByteStream(window, source.name, size=window.size, start=window.start)


def _open(source):
    if source.path == STDIN:
        return _StandardInput()
    if isinstance(source, Pipe):
        return open_pipe(source)
    try:
        return Path(source.path).open("rb")
    except OSError as error:
        if error.errno in OUT_OF_FILES:
            raise ResourceError(f"{source.name}: {publish.LACKS[error.errno]}") from error
        raise DataError(f"cannot be opened: {error.strerror}", source=source.name) from error


@contextmanager
def open_output(path):
    """Provide a binary handle for an output, compressed by its suffix, that appears whole or not at all."""
    kind = _by_suffix(path)
    with publish.whole(path) as handle:
        if kind is None:
            yield handle
        else:
            with kind.writer(handle) as compressed:
                yield compressed


def compression_of(path):
    """Return the name of the compression that the path's suffix asks for, or None."""
    kind = _by_suffix(path)
    return kind and kind.name


def _by_suffix(path):
    return next((kind for kind in COMPRESSIONS if str(path).lower().endswith(kind.suffix)), None)


def _by_content(stream):
    def enough(head):
        return all(len(head) >= len(magic) or not magic.startswith(head) for magic, _ in MAGICS)

    head = stream.head(enough)
    return next((kind for magic, kind in MAGICS if head.startswith(magic)), None)

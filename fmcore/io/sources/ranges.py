"""Byte ranges of files: each holds the units (lines or records) that begin in it, so every unit is in one of them."""

import os
import struct
from dataclasses import dataclass, field

from fmcore.errors import DataError
from fmcore.io.formats import FORMATS
from fmcore.io.sources.source import CUT_OFF, Source

WINDOW = 64 << 10  # bytes searched at a time
LONGEST_UNIT = 1 << 30  # bytes in which a unit must begin; a file without one is damaged, or of another format
FRAMES = 9  # headers that must follow one another where a record is taken to begin


def can_cut(name):
    """Return whether units of a format, or of what else a file's content is called, are found from anywhere in it."""
    return name in FORMATS and FORMATS[name].cut


@dataclass(frozen=True, kw_only=True)
class ByteRange(Source):
    """The units of an uncompressed file whose first byte lies in [start, stop), in `format`, one that `can_cut`.

    size: stop - start. Errors and origins count units, and bytes, from the first unit that begins there.
    """

    start: int
    stop: int
    format: str
    size: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "size", self.stop - self.start)

    @property
    def name(self):
        """Return the range's name in messages."""
        return f"{self.path}[{self.start}:{self.stop}]"

    @property
    def rereadable(self):
        """Return True."""
        return True


class Window:
    """The bytes of a ByteRange's units, as a handle with read1 and close.

    file: the whole file, seekable. start: the offset in it of the first byte. size: how many bytes there are.
    Raises DataError where the file is now shorter than the range's end, or no unit begins within LONGEST_UNIT.
    """

    def __init__(self, file, source):
        try:
            self.start, stop = _bounds(file, source)
            file.seek(self.start)
        except DataError as error:
            raise error.moved(source.name) from None
        except OSError as error:
            raise DataError(f"cannot be read: {error}", source=source.name) from error
        self.size = self._left = stop - self.start
        self._file = file

    def read1(self, size):
        """Return up to size bytes; none at the end."""
        data = self._file.read1(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self):
        """Close the file."""
        self._file.close()


def boundary(file, offset, format):  # noqa: A002  (ReadOptions' word)
    """Return where in a seekable binary file the first unit begins at `offset` or later; the file's end without one.

    A line begins at byte 0 and behind each newline. A record begins at byte 0, and at a frame header that others
    follow as their lengths state, FRAMES in all or up to the end: the magic alone may occur in a payload, as not every
    writer splits records there. A payload that holds whole records can still be mistaken for them; the reader of the
    range before it then finds a record cut off, so that no record is left out, or read twice, without an error.
    Raises DataError where no unit begins within LONGEST_UNIT.
    """
    if offset <= 0:
        return 0
    end = file.seek(0, os.SEEK_END)
    find, at = (_record, offset + -offset % 4) if format == "recordio" else (_line, offset - 1)
    while piece := _read(file, at, WINDOW):
        if (found := find(file, end, at, piece)) is not None:
            return found
        at += len(piece)
        if at - offset > LONGEST_UNIT:
            raise DataError(f"nothing that is {format} begins in the {LONGEST_UNIT >> 20} MiB behind byte {offset:,}")
    return end


def cut(source, format, size):  # noqa: A002  (ReadOptions' word)
    """Return the ByteRanges of `size` bytes, the last of fewer, that cover a file; none for an empty one."""
    return [
        ByteRange(source.path, start=start, stop=min(start + size, source.size), format=format)
        for start in range(0, source.size, size)
    ]


def _bounds(file, source):
    end = file.seek(0, os.SEEK_END)
    if end < source.stop:
        raise DataError(CUT_OFF.format(end, source.stop))
    return (boundary(file, offset, source.format) for offset in (source.start, source.stop))


def _line(_file, _end, at, piece):
    """Return where in a piece, read at byte `at`, the first newline ends; None without one."""
    found = piece.find(b"\n") + 1
    return at + found if found else None


def _record(file, end, at, piece):
    """Return where in a piece, read at byte `at`, the first record begins; None without one."""
    from fmcore.io.recordio.codec import MAGIC  # here, as it imports NumPy, which other formats do not need

    found = piece.find(MAGIC)
    while found >= 0:
        if found % 4 == 0 and _chains(file, at + found, end):
            return at + found
        found = piece.find(MAGIC, found + 1)
    return None


def _chains(file, at, end):
    """Return whether a record begins at byte `at`, followed by FRAMES frames, or by frames up to the end."""
    from fmcore.io.recordio.codec import LENGTH_MASK, MAGIC

    inside = False  # whether a record of several parts has begun and not ended
    for _ in range(FRAMES):
        if at == end:
            break
        head = _read(file, at, 8)
        if len(head) < 8 or head[:4] != MAGIC:
            return False
        word = struct.unpack("<4xI", head)[0]
        part, size = word >> 29, word & LENGTH_MASK
        if part not in ((2, 3) if inside else (0, 1)):
            return False
        inside = part in {1, 2}
        at += 8 + (size + 3) // 4 * 4
    else:
        return True
    return not inside


def _read(file, at, size):
    file.seek(at)
    return file.read(size)

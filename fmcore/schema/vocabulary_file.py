r"""The file of a vocabulary: a table that anyone can read.

UTF-8 text, tab-separated, one feature a line in the order of the indices from 0, under the header
`index<TAB>column<TAB>value`. A numeric column has an empty value; its buckets, such as `[17,21)`, follow it. Within
column and value a backslash, tab, newline and carriage return are written `\\`, `\t`, `\n`, `\r`.
"""

import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fmcore.errors import DataError
from fmcore.schema.buckets import Buckets, is_bucket
from fmcore.schema.features import Listed
from fmcore.schema.own import Entry

LONGEST_LINE = 8 << 20  # bytes; a table's row has at most 2 MiB, and each of them may take two
HEADER = b"index\tcolumn\tvalue"
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
UNESCAPES = {written: char for char, written in ESCAPES.items()}


class Listing(NamedTuple):
    """The features that a vocabulary lists.

    own: (column, None) of numeric columns and of other features that columns have of their own, (column, text) of
    buckets, by index. buckets: those of each column. values: the others, after them.
    """

    own: tuple[Entry, ...]
    buckets: dict[str, Buckets]
    values: Listed


def write(handle: BinaryIO, entries: Iterable[tuple[str, str | None]]) -> None:
    """Write (column, value or None) pairs, by index, to a binary handle."""
    handle.write(HEADER + b"\n")
    handle.writelines(
        f"{index}\t{_escape(column)}\t{_escape(value or '')}\n".encode()
        for index, (column, value) in enumerate(entries)
    )


def read(path: Path) -> Listing:
    """Return what that file lists.

    Raises DataError with the line for a wrong header, index, order, duplicate, bucket, escape or encoding.
    """
    found = _Lines()
    try:
        _require_end(path)
        with path.open("rb") as handle:
            _check_header(handle.readline(LONGEST_LINE))
            for number, line in enumerate(iter(lambda: handle.readline(LONGEST_LINE), b""), 2):
                found.add(line, number)
        return found.listing()
    except DataError as error:
        raise error.moved(str(path)) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", source=str(path)) from None


class _Lines:
    """The lines of a vocabulary so far."""

    def __init__(self) -> None:
        self._own: dict[str, list[str]] = {}  # column -> the texts of its buckets
        self._values, self._size = Listed(), 0  # the latter: of own features
        self._first: dict[str, int] = {}  # column -> the line of its first bucket

    def add(self, line: bytes, number: int) -> None:
        fields, index = _fields(line, number), number - 2
        if len(fields) != 3:
            raise DataError(f"{len(fields)} fields between tabs, expected index, column and value", number=number)
        written, column, value = fields
        if written != str(index):
            raise DataError(f"index {written!r}, expected {index}: indices ascend from 0 without gaps", number=number)
        if self._follows(column) and is_bucket(value):
            self._first.setdefault(column, number)
            self._own[column].append(value)
            self._size += 1
        elif value:
            self._add_value(column, value, number)
        else:
            self._add_own(column, number)

    def _follows(self, column: str) -> bool:
        """Return whether that column was listed last, without a value."""
        return not len(self._values) and bool(self._own) and column == next(reversed(self._own))

    def _add_value(self, column: str, value: str, number: int) -> None:
        if self._values.add(column, value) != number - 2 - self._size:
            raise DataError(f"column {column!r} with the value {value!r} is listed a second time", number=number)
        if column in self._own:
            raise _both(column, number)

    def _add_own(self, column: str, number: int) -> None:
        if column in self._own:
            raise DataError(f"column {column!r} with the value '' is listed a second time", number=number)
        if column in self._values.names:
            raise _both(column, number)
        if len(self._values):
            raise DataError(f"column {column!r} has no value; numeric columns come before all values", number=number)
        self._own[column], self._size = [], self._size + 1

    def listing(self) -> Listing:
        own = [(column, text) for column, texts in self._own.items() for text in (None, *texts)]
        return Listing(tuple(own), {column: self._buckets(column) for column in self._first}, self._values)

    def _buckets(self, column: str) -> Buckets:
        try:
            return Buckets.of_texts(self._own[column])
        except DataError as error:
            error.number = self._first[column]
            error.problem = f"column {column!r}: {error.problem}"
            raise


def _both(column: str, number: int) -> DataError:
    return DataError(f"column {column!r} is both numeric (no value) and categorical", number=number)


def _require_end(path: Path) -> None:
    """Refuse pipes and devices, which may never end: a model may name any path as its vocabulary."""
    if stat.S_IFMT(path.stat().st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
        raise DataError("not a regular file; expected a vocabulary")


def _check_header(line: bytes) -> None:
    if line.rstrip(b"\r\n") != HEADER:
        expected = HEADER.decode().replace("\t", "<TAB>")
        raise DataError(f"not a vocabulary: its first line is not {expected}", number=1)


def _fields(line: bytes, number: int) -> list[str]:
    if len(line) == LONGEST_LINE:
        raise DataError(f"the line is longer than {LONGEST_LINE:,} bytes", number=number)
    try:
        text = line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise DataError("not UTF-8", number=number) from None
    fields = text.split("\t")
    return [_unescape(field, number) for field in fields] if "\\" in text else fields


def _escape(text: str) -> str:
    return re.sub(r"[\\\t\n\r]", lambda found: ESCAPES[found[0]], text)


def _unescape(text: str, number: int) -> str:
    def char(found: re.Match) -> str:
        if found[0] not in UNESCAPES:
            raise DataError(f"{found[0]!r} is no escape; expected \\\\, \\t, \\n or \\r", number=number)
        return UNESCAPES[found[0]]

    return re.sub(r"\\.?", char, text, flags=re.DOTALL)

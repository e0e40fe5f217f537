r"""The file of a vocabulary: a table that anyone can read.

UTF-8 text, tab-separated, one feature a line in the order of the indices from 0, under the header
`index<TAB>column<TAB>value`. A numeric column has an empty value. Within column and value a backslash, tab, newline and
carriage return are written `\\`, `\t`, `\n`, `\r`.
"""

import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from fmcore.errors import DataError
from fmcore.schema.features import Listed

LONGEST_LINE = 8 << 20  # bytes; a table's row has at most 2 MiB, and each of them may take two
HEADER = b"index\tcolumn\tvalue"
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
UNESCAPES = {written: char for char, written in ESCAPES.items()}


def write(handle: BinaryIO, entries: Iterable[tuple[str, str | None]]) -> None:
    """Write (column, value or None) pairs, by index, to a binary handle."""
    handle.write(HEADER + b"\n")
    handle.writelines(
        f"{index}\t{_escape(column)}\t{_escape(value or '')}\n".encode()
        for index, (column, value) in enumerate(entries)
    )


def read(path: Path) -> tuple[tuple[str, ...], Listed]:
    """Return (numeric columns and other features that columns have of their own, the values listed) of that file.

    Raises DataError with the line for a wrong header, index, order, duplicate, escape or encoding.
    """
    own: dict[str, None] = {}
    values, number = Listed(), 0
    try:
        _require_end(path)
        with path.open("rb") as handle:
            _check_header(handle.readline(LONGEST_LINE))
            for number, line in enumerate(iter(lambda: handle.readline(LONGEST_LINE), b""), 2):
                _add(line, number, own, values)
    except DataError as error:
        raise error.moved(str(path)) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", source=str(path)) from None
    return tuple(own), values


def _require_end(path: Path) -> None:
    """Refuse pipes and devices, which may never end: a model may name any path as its vocabulary."""
    if stat.S_IFMT(path.stat().st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
        raise DataError("not a regular file; expected a vocabulary")


def _check_header(line: bytes) -> None:
    if line.rstrip(b"\r\n") != HEADER:
        expected = HEADER.decode().replace("\t", "<TAB>")
        raise DataError(f"not a vocabulary: its first line is not {expected}", number=1)


def _add(line: bytes, number: int, own: dict[str, None], values: Listed) -> None:
    fields, index = _fields(line, number), number - 2
    if len(fields) != 3:
        raise DataError(f"{len(fields)} fields between tabs, expected index, column and value", number=number)
    written, column, value = fields
    if written != str(index):
        raise DataError(f"index {written!r}, expected {index}: indices ascend from 0 without gaps", number=number)
    if value:
        duplicate, clash = values.add(column, value) != index - len(own), column in own
    else:
        duplicate, clash = column in own, column in values.names
        own[column] = None
        if len(values) and not (duplicate or clash):
            raise DataError(f"column {column!r} has no value; numeric columns come before all values", number=number)
    if duplicate:
        raise DataError(f"column {column!r} with the value {value!r} is listed a second time", number=number)
    if clash:
        raise DataError(f"column {column!r} is both numeric (no value) and categorical", number=number)


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

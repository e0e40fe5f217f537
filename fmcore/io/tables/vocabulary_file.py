r"""The file of a vocabulary: a table that anyone can read.

UTF-8 text, tab-separated, one feature a line in the order of the indices from 0, under the header
`index<TAB>column<TAB>value`. A numeric column has an empty value. Within column and value a backslash, tab, newline and
carriage return are written `\\`, `\t`, `\n`, `\r`.
"""

import re
import stat

from fmcore.errors import DataError

LONGEST_LINE = 8 << 20  # bytes; a table's row has at most 2 MiB, and each of them may take two
HEADER = b"index\tcolumn\tvalue"
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
UNESCAPES = {written: char for char, written in ESCAPES.items()}


def write(handle, entries):
    """Write (column, value or None) pairs, by index, to a binary handle."""
    handle.write(HEADER + b"\n")
    for index, (column, value) in enumerate(entries):
        handle.write(f"{index}\t{_escape(column)}\t{_escape(value or '')}\n".encode())


def read(path):
    """Return (numeric: column -> index, values: column -> {value -> index}, number of indices) of that file.

    Raises DataError with the line for a wrong header, index, duplicate, escape or encoding.
    """
    numeric, values, size = {}, {}, 0
    try:
        _require_end(path)
        with path.open("rb") as handle:
            _check_header(handle.readline(LONGEST_LINE))
            for size, line in enumerate(iter(lambda: handle.readline(LONGEST_LINE), b""), 1):
                _add(line, size - 1, numeric, values)
    except DataError as error:
        raise error.moved(str(path)) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", source=str(path)) from None
    return numeric, values, size


def _require_end(path):
    """Refuse pipes and devices, which may never end: a model may name any path as its vocabulary."""
    if stat.S_IFMT(path.stat().st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
        raise DataError("not a regular file; expected a vocabulary")


def _check_header(line):
    if line.rstrip(b"\r\n") != HEADER:
        expected = HEADER.decode().replace("\t", "<TAB>")
        raise DataError(f"not a vocabulary: its first line is not {expected}", number=1)


def _add(line, index, numeric, values):
    number = index + 2  # counted from 1, after the header
    fields = _fields(line, number)
    if len(fields) != 3:
        raise DataError(f"{len(fields)} fields between tabs, expected index, column and value", number=number)
    written, column, value = fields
    if written != str(index):
        raise DataError(f"index {written!r}, expected {index}: indices ascend from 0 without gaps", number=number)
    if value:
        known = values.setdefault(column, {})
        duplicate, clash = value in known, column in numeric
        known[value] = index
    else:
        duplicate, clash = column in numeric, column in values
        numeric[column] = index
    if duplicate:
        raise DataError(f"column {column!r} with the value {value!r} is listed a second time", number=number)
    if clash:
        raise DataError(f"column {column!r} is both numeric (no value) and categorical", number=number)


def _fields(line, number):
    if len(line) == LONGEST_LINE:
        raise DataError(f"the line is longer than {LONGEST_LINE:,} bytes", number=number)
    try:
        text = line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise DataError("not UTF-8", number=number) from None
    fields = text.split("\t")
    return [_unescape(field, number) for field in fields] if "\\" in text else fields


def _escape(text):
    return re.sub(r"[\\\t\n\r]", lambda found: ESCAPES[found[0]], text)


def _unescape(text, number):
    def char(found):
        if found[0] not in UNESCAPES:
            raise DataError(f"{found[0]!r} is no escape; expected \\\\, \\t, \\n or \\r", number=number)
        return UNESCAPES[found[0]]

    return re.sub(r"\\.?", char, text, flags=re.DOTALL)

"""Where the rows of a CSV file begin, and what its columns are called."""

import csv
import io
from typing import NamedTuple

from fmcore.errors import DataError, UsageError
from fmcore.io.tables.kinds import parse_number
from fmcore.schema.selection import names_columns

LIMIT = 1 << 20  # bytes in which the first two lines must end
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TableHead(NamedTuple):
    """The first lines of a CSV file.

    names: list of str, one a column. rows: bytes that are read already and no header, empty where no more follow.
    named: whether there was a header. sample: the first rows after it, as lists of str.
    """

    names: list
    rows: bytes
    named: bool = False
    sample: tuple = ()


def read_head(stream, delimiter, options, report):
    """Look at the first lines of a binary stream and remove a header; return None where there is no line at all.

    The report notes how the first line was taken, where options.header does not state it.
    Raises DataError for a first line that is not CSV or longer than LIMIT, or a header that is not UTF-8.
    """
    start = read_fully(stream, LIMIT)
    rows = start.removeprefix(BYTE_ORDER_MARK)
    try:
        lines, ends = _first_lines(rows, delimiter)
    except csv.Error as error:
        raise DataError(f"the first lines are not CSV: {error}", unit="row") from None
    if not lines:
        return None
    if ends[0] == len(rows) and len(start) == LIMIT and not rows.endswith((b"\n", b"\r")):
        raise DataError(f"the first line is longer than {LIMIT} bytes", unit="row")
    texts = [[field.encode("latin-1").decode(errors="replace") for field in line] for line in lines]
    header = has_header(*(*texts, None)[:2], options)
    if options.header is None:
        report.note(
            "first line taken as the header" if header else "first line taken as data; columns are numbered from 0"
        )
    if not header:
        return TableHead([str(position) for position in range(len(lines[0]))], rows, sample=_sample(rows, delimiter))
    try:
        names = [field.encode("latin-1").decode() for field in lines[0]]
    except UnicodeDecodeError:
        raise DataError("the header is not UTF-8", unit="row") from None
    rest = rows[ends[0] :] or stream.read(1)
    return TableHead(names, rest, named=True, sample=_sample(rest, delimiter))


def has_header(first, second, options):
    """Return whether the first line of a table (list of fields) is a header; second: the next one, or None.

    It is one where an option names a column by anything but a number, or else where no field of a numeric column is a
    number. Where every column is categorical, a number anywhere in the first line makes it data; a number in the
    second alone makes it a header. Raises UsageError where neither line shows it.
    """
    if options.header is not None:
        return options.header
    if any(map(names_columns, _declared(options))):
        return True
    declared = {*options.categorical, *options.ignore, options.label, options.row_id}
    numeric = [field for position, field in enumerate(first) if str(position) not in declared and field.strip()]
    if numeric:
        return not any(map(_is_number, numeric))
    if any(map(_is_number, first)):
        return False
    if second is None or any(map(_is_number, second)):
        return True
    raise UsageError(
        "cannot tell whether the first line is a header, as every field is text; give --header or --no-header"
    )


def _is_number(field):
    return parse_number(field) is not None


def _declared(options):
    singles = (c for c in (options.label, options.weight, options.row_id) if c is not None)
    return [*singles, *options.numeric, *options.categorical, *options.ignore]


def read_fully(stream, size):
    """Read exactly size bytes, or what there is up to the end; a pipe may give less at a time."""
    pieces = []
    while size > 0 and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class Rejoined:
    """A stream read in part, whole again."""

    def __init__(self, start, stream):
        self._start, self._stream = io.BytesIO(start), stream

    def read(self, size):
        """Read that many bytes, fewer only at the end."""
        start = self._start.read(size)
        return start + read_fully(self._stream, size - len(start))


def _first_lines(data, delimiter):
    """Return the first two lines that are not blank, as lists of fields, and the byte offset where each ends."""
    # Latin-1 gives each byte one character, so that offsets are those of the bytes.
    text = io.StringIO(data.decode("latin-1"), newline="")
    offset, lines, ends = 0, [], []

    def counted():
        nonlocal offset
        for line in text:
            offset += len(line)
            yield line

    for fields in csv.reader(counted(), delimiter=delimiter):
        if fields:
            lines.append(fields)
            ends.append(offset)
        if len(lines) == 2:
            break
    return lines, ends


def _sample(rows, delimiter):
    text = rows[: rows.rfind(b"\n") + 1 or None].decode("latin-1")
    read = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return tuple(fields for fields, _ in zip(read, range(5000)) if fields)

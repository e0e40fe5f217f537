"""Where the rows of a CSV file begin, what its columns are called, and a sample of its rows."""

import csv
import io
import threading
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from itertools import islice

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.tables._quotes import QuoteScanner
from fmcore.io.tables.blocks import Fault
from fmcore.io.tables.ragged import TORN, UNCLOSED
from fmcore.schema.roles import list_column
from fmcore.schema.selection import names_columns
from fmcore.schema.texts import BLANKS, MISSING, canonical, parse_number

LIMIT = 1 << 20  # bytes in which the first line must end, and of which the sample is taken
SAMPLE = 5_000  # rows
JUDGED = 200  # rows by which a header is recognized
MARK = "\ufeff"  # of the order of bytes, which some editors put before UTF-8
LOCK = threading.Lock()  # of csv's limit of a field's size, which all threads share


class TableHead:
    """The first lines of a CSV file.

    names: list of str, one a column. header: whether they stand in the first line; otherwise they are numbers from 0.
    rows: bytes that are read already and no header, empty where no more follow.
    sample: up to SAMPLE rows, complete and with a field a column, from the first LIMIT bytes; lists of str, stripped.
    """

    def __init__(self, names, header, rows, sampled):
        self.names, self.header, self.rows, self._sampled = names, header, rows, sampled

    @cached_property
    def sample(self):
        """Return the sample, made when it is first wanted."""
        return self._sampled(SAMPLE)


def read_head(stream, delimiter, options, report, known=None):
    """Look at the first lines of a binary stream and remove a header; return None where there is no line at all.

    known: the names of the columns that rows before had, one of which makes a header; None where there were none.
    The report notes how the first line was taken, where options.header does not state it.
    Raises DataError for a first line that is not CSV or longer than LIMIT, or a header that is not UTF-8; UsageError
    where nothing shows whether the first line is a header.
    """
    start = read_fully(stream, LIMIT)
    rows = start.removeprefix(MARK.encode())
    first, end = _first_line(rows, delimiter, options.quotes)
    if first is None:
        return None
    cut = len(start) == LIMIT
    _require_whole(rows[:end], cut and end == len(rows), delimiter, options.quotes)
    fields = [field.decode(errors="replace").strip(BLANKS) for field in first]
    sampled = partial(_sample, rows[end:], len(first), delimiter, options.quotes, cut)
    header = has_header(fields, sampled, options) if known is None else names_known(fields, sampled, options, known)
    if options.header is None:
        report.note(
            "first line taken as the header" if header else "first line taken as data; columns are numbered from 0"
        )
    if not header:
        names = [str(position) for position in range(len(first))]
        return TableHead(names, False, rows, lambda most: [fields, *sampled(most - 1)])
    try:
        names = [field.decode() for field in first]
    except UnicodeDecodeError:
        raise DataError("the header is not UTF-8", unit="row") from None
    return TableHead(names, True, rows[end:] or stream.read(1), sampled)


def has_header(first, sampled, options):
    """Return whether the first line of a table (list of str, stripped) is a header.

    sampled: returns up to so many of the rows that follow, each a list of str.
    It is one where it holds the name of a column that an option names. Otherwise a number in it, or a text that means
    a missing value, makes it data; text above a column of numbers makes it a header, and so does an option that names
    a column, or that no row follows. Raises UsageError where none of them shows it.
    """
    if options.header is not None:
        return options.header
    singles = (options.label, options.weight, options.row_id)
    lists = (list_column(text)[0] for text in options.lists)
    many = (*options.numeric, *options.log, *options.dates, *options.categorical, *lists, *options.ignore)
    named = {column for column in (*filter(None, singles), *many) if names_columns(column)}
    if not named.isdisjoint(first):
        return True
    if not any(first) or any(field and _is_value(field) for field in first):
        return False
    rows = [row for row in sampled(JUDGED) if row != first]  # which repeat a header, if it is one
    if named or not rows or any(name and _is_numeric(rows, column) for column, name in enumerate(first)):
        return True
    raise UsageError(
        "cannot tell whether the first line is a header, as every field is text; give --header or --no-header"
    )


def names_known(first, sampled, options, known):
    """Return whether the first line of another table than the first is a header; known: the names of its columns.

    Where columns have numbers alone, which is no names, it is one where `has_header` is sure of it.
    """
    if options.header is not None:
        return options.header
    if known:
        return not known.isdisjoint(first)
    try:
        return has_header(first, sampled, options)
    except UsageError:
        return False


class RepeatedHeader:
    """The header of a table, to be found again among its rows where files were joined.

    names: list of str, one a column. columns: `Binding`.
    """

    def __init__(self, names, columns):
        self._columns = columns
        self._names = {position: names[position].strip(BLANKS) for position in columns.used}

    def faults(self, block, arrays):
        """Return the faults (list of `Fault`) of the rows of a `ColumnBlock` in which every column holds its name.

        arrays: position -> array of pyarrow, as the block was made of.
        """
        rows = self._like_names(block)
        if not len(rows):
            return []
        problem = f"repeats the header: {', '.join(self._names.values()):.60}; perhaps two files were joined"
        return [Fault(row, -1, problem) for row in rows.tolist() if self._is_header(arrays, row)]

    def _like_names(self, block):
        """Return the rows whose texts are the columns' names and whose numbers are none, int64; few or none."""
        words = [p for p in self._columns.numbers if not _is_value(self._names[p])]
        like = np.ones(len(block.rows), bool) if words or block.texts else np.zeros(0, bool)
        for position in words:
            wrong = np.zeros(len(like), bool)
            wrong[[fault.row for fault in block.faults if fault.position == position]] = True
            like &= wrong
        for position in block.texts:
            if like.any():
                codes, values = block.texts[position]
                like &= np.isin(codes, self._codes(position, values))
        return np.flatnonzero(like)

    def _codes(self, position, values):
        """Return the codes of a column's name among its distinct texts, of a missing value where it has none."""
        name = canonical(self._names[position])
        spelled = {name, MARK + name}
        return [-1, *(code for code, text in enumerate(values) if text in spelled)]

    def _is_header(self, arrays, row):
        fields = {p: (arrays[p][row].as_py() or b"").decode(errors="replace") for p in self._names}
        return all(fields[p].removeprefix(MARK).strip(BLANKS) == name for p, name in self._names.items())


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


def _is_value(field):
    return field in MISSING or parse_number(field) is not None


def _is_numeric(rows, column):
    """Return whether most fields of a column that are not missing are numbers."""
    fields = [row[column] for row in rows if row[column] not in MISSING]
    return 2 * sum(parse_number(field) is not None for field in fields) > len(fields)


def _require_whole(line, cut, delimiter, quotes):
    """Raise DataError for a first line that is cut, or whose quotes are not closed where they should."""
    scanner = QuoteScanner(ord(delimiter), False)
    if quotes:
        scanner.scan(line)
        scanner.finish()
    if cut and (scanner.unclosed or not line.endswith((b"\n", b"\r"))):
        raise DataError(f"the first line is longer than {LIMIT} bytes; perhaps a quote is never closed", unit="row")
    if scanner.unclosed or scanner.torn:
        raise DataError(f"the first line: {UNCLOSED if scanner.unclosed else TORN}", unit="row")


def _first_line(data, delimiter, quotes):
    """Return the fields (list of bytes) of the first line that is not blank, None for none, and the offset of its end.

    Raises DataError where it is not CSV.
    """
    # Latin-1 gives each byte one character, so that offsets are those of the bytes.
    text = io.StringIO(data.decode("latin-1"), newline="")
    offset = 0

    def counted():
        nonlocal offset
        for line in text:
            offset += len(line)
            yield line

    try:
        with _fields_of_any_size():
            first = next(filter(None, _reader(counted(), delimiter, quotes)), None)
    except csv.Error as error:
        raise DataError(f"the first lines are not CSV: {error}", unit="row") from None
    return first and [field.encode("latin-1") for field in first], offset


def _sample(data, columns, delimiter, quotes, cut, most):
    """Return up to `most` rows of lines of CSV as lists of str, without the last line where data is cut."""
    text, rows = data.decode(errors="replace"), []
    with _fields_of_any_size(), suppress(csv.Error):  # which is found again where the rows are read
        rows.extend(islice(_reader(io.StringIO(text, newline=""), delimiter, quotes), most + 1))
    if rows and (cut or len(rows) > most):
        rows.pop()
    if columns == 1:  # where a blank line is a row
        rows = [row or [""] for row in rows]
    rows = [row for row in rows if len(row) == columns]
    if not any(blank in text for blank in BLANKS if blank not in {delimiter, "\n", "\r"}) and '"' not in text:
        return rows
    return [[field.strip(BLANKS) for field in row] for row in rows]


def _reader(lines, delimiter, quotes):
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)


@contextmanager
def _fields_of_any_size():
    with LOCK:
        limit = csv.field_size_limit(LIMIT)
        try:
            yield
        finally:
            csv.field_size_limit(limit)

"""Rows of a CSV file whose quotes or number of fields are wrong, and the numbers of those that are right."""

from array import array

import numpy as np

from fmcore.errors import DataError
from fmcore.io.tables.blocks import Fault

ORDINARY = "if quotes are ordinary characters here, give --no-quotes"
UNCLOSED = f"a quote opens in this row and is never closed; {ORDINARY}"
TORN = f"a quoted field spans several lines and other text follows it: perhaps a quote is not closed; {ORDINARY}"


class Quotes:
    """A stream of CSV whose quotes are followed on the way to the parser.

    scanner: a QuoteScanner; stream: `read(n)` returns fewer bytes at the end alone.
    """

    def __init__(self, scanner, stream):
        self._scanner, self._stream = scanner, stream

    def read(self, size):
        """Read that many bytes, fewer only at the end."""
        data = self._stream.read(size)
        self._scanner.scan(data)
        if len(data) < size:
            self._scanner.finish()
        return data


class Ragged:
    """The count of rows with another number of fields than the first line, and what is wrong with the quotes of rows.

    pyarrow, which calls this for each such row, parses some blocks before it delivers them.
    on_error: "skip" leaves them out and reports them; otherwise the parser stops there, see `raise_first`.
    scanner: the QuoteScanner of the rows.
    """

    def __init__(self, source, on_error, report, scanner):
        self._source, self._report, self._scanner = source, report, scanner
        self._answer = "skip" if on_error == "skip" else "error"
        self._numbers, self._lengths = array("q"), array("q")  # those met beyond the rows delivered
        self._expected = 0
        self._delivered = self._skipped = 0

    def __call__(self, row):
        """Note a row (pyarrow.csv.InvalidRow); return what the parser does with it."""
        self._numbers.append(row.number)
        self._lengths.append(row.actual_columns)
        self._expected = row.expected_columns
        return self._answer

    def number(self, rows):
        """Return the numbers of the next rows delivered, int64 (rows,). Those left out before them go to the report."""
        delivered = np.arange(self._delivered, self._delivered + rows)
        met = len(self._numbers)
        # How many rows are delivered before each that is not.
        before = np.array(self._numbers, np.int64) - 1 - np.arange(self._skipped, self._skipped + met)
        numbers = delivered + 1 + self._skipped + np.searchsorted(before, delivered, side="right")
        self._delivered += rows
        self._skip(int(np.searchsorted(before, self._delivered)))
        return numbers

    def faults(self, numbers):
        """Return the faults (list of `Fault`) of the quotes of rows with these numbers."""
        wrong = sorted({*self._scanner.torn, self._scanner.unclosed})
        rows = np.flatnonzero(np.isin(numbers, wrong)).tolist() if wrong[-1] else []
        return [Fault(row, -1, self._problem(numbers[row])) for row in rows]

    def finish(self):
        """Report those after the last row delivered; raise DataError for a quote that is never closed."""
        self._skip(len(self._numbers))
        if self._scanner.unclosed:
            raise self._error(self._scanner.unclosed, UNCLOSED)

    def raise_first(self):
        """Raise the DataError of the first one, if there is one."""
        if self._numbers and self._answer == "error":
            raise self._ragged(0)

    def too_long(self, size):
        """Return the DataError for the row after those that were met, which is longer than a block."""
        number = self._delivered + self._skipped + len(self._numbers) + 1
        return self._error(number, f"a row is longer than {size} bytes; perhaps a quote is never closed")

    def not_csv(self, problem):
        """Return the DataError for what no row shows."""
        return self._error(None, f"not CSV: {problem}")

    def _skip(self, count):
        for place in range(count):
            self._report.skip(self._ragged(place))
        del self._numbers[:count], self._lengths[:count]
        self._skipped += count

    def _ragged(self, place):
        number = self._numbers[place]
        fields = f"{self._lengths[place]} fields, expected {self._expected} as in the first line"
        return self._error(number, self._problem(number) or fields)

    def _problem(self, number):
        """Return what is wrong with the quotes of a row, or None."""
        if number == self._scanner.unclosed:
            return UNCLOSED
        return TORN if number in self._scanner.torn else None

    def _error(self, number, problem):
        return DataError(problem, source=self._source, unit="row", number=number)

"""Rows of a CSV file that have another number of fields than its first line, and the numbers of those that have not."""

from array import array

import numpy as np

from fmcore.errors import DataError


class Ragged:
    """The count of such rows; pyarrow, which calls this for each, parses some blocks before it delivers them.

    on_error: "skip" leaves them out and reports them; otherwise the parser stops there, see `raise_first`.
    """

    def __init__(self, source, on_error, report):
        self.source, self._report = source, report
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

    def finish(self):
        """Report those after the last row delivered."""
        self._skip(len(self._numbers))

    def raise_first(self):
        """Raise the DataError of the first one, if there is one."""
        if self._numbers and self._answer == "error":
            raise self._error(0)

    def _skip(self, count):
        for place in range(count):
            self._report.skip(self._error(place))
        del self._numbers[:count], self._lengths[:count]
        self._skipped += count

    def _error(self, place):
        return DataError(
            f"{self._lengths[place]} fields, expected {self._expected} as in the first line",
            source=self.source,
            unit="row",
            number=self._numbers[place],
        )

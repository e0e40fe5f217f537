"""Groups of rows (the queries of a ranking): each row of the data has one, or none has."""

import numpy as np

from fmcore.errors import DataError

NO_GROUP = -1  # of a row without one, in the batch that a decoder gives
EXPECTED = "each row of the data must have one, or none"


class Grouping:
    """A check of the rows of one data set: all have a group where the first row has one, else none has."""

    def __init__(self):
        self._first = None  # the place of the first row: keyword arguments for a DataError
        self.grouped = None  # whether that row has a group; None before it

    def apply(self, batch):
        """Return the rows (int array) that lack a group in data whose first row has one; without any, no groups.

        Where the first row has none, batch.groups becomes None. Raises DataError, with the place of that row, once
        another has a group, however rows may be left out: it has been read as a row without.
        """
        nothing = np.empty(0, np.intp)
        if not len(batch):
            batch.groups = None
            return nothing
        has = np.zeros(len(batch), bool) if batch.groups is None else batch.groups != NO_GROUP
        if self.grouped is None:
            self.grouped, self._first = bool(has[0]), batch.place(0)
        if self.grouped:
            return np.flatnonzero(~has)
        if has.any():
            raise _error(self._first)
        batch.groups = None
        return nothing

    def error(self, batch, row):
        """Return the DataError for a row that `apply` returned."""
        return _error(batch.place(row))


def _error(place):
    return DataError(f"the row has no qid:, which other rows have; {EXPECTED}", **place)

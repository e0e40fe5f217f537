"""Test rows: read once and held in memory where they fit, else read again, and required to be the same."""

from collections.abc import Iterator

from fmcore.errors import DataError
from fmcore.rows.batch import Batch
from fmcore.rows.fingerprint import FirstPass
from fmcore.rows.source import LabelRule, Rows


class HeldRows:
    """Test rows without the features that a model does not know, pass after pass.

    Rows of a stream are left alone until the first pass, and kept where `again` states that there will be another.

    rows: the source. labels: which they must have, see Rows. feature_dim: of the model.
    limit: bytes that may be held; what cannot be read again is held whatever it takes.
    Raises DataError where there are no rows; with required=False `empty` states it instead.
    """

    def __init__(
        self, rows: Rows, labels: LabelRule, feature_dim: int, limit: int, *, again: bool = True, required: bool = True
    ) -> None:
        self._rows, self._again, self._known = rows, again, (labels, feature_dim)
        self._held: list[Batch] | None = []
        self._first_pass, self._read, self.empty = FirstPass(), False, False
        if not rows.streaming:
            self._hold(limit)
            if self.empty and required:
                raise no_rows(rows)

    def batches(self) -> Iterator[Batch]:
        """Return an iterator over all test rows."""
        if self._held is None:
            return self._reread()
        return iter(self._held) if self._read else self._stream()

    def _hold(self, limit: int) -> None:
        rows = size = 0
        for batch in self._rows.read_known(*self._known):
            self._first_pass.add(batch)
            rows += len(batch)
            size += batch.nbytes
            if size > limit and self._rows.rereadable:
                self._held = None
            if self._held is not None:
                self._held.append(batch)
        self._read, self.empty = True, not rows

    def _reread(self) -> Iterator[Batch]:
        with self._rows.named():
            yield from self._first_pass.again(self._rows.read_known(*self._known))

    def _stream(self) -> Iterator[Batch]:
        empty, self._held = True, []
        for batch in self._rows.read_known(*self._known):
            empty = False
            if self._again:
                self._held.append(batch)
            yield batch
        if empty:
            raise no_rows(self._rows)
        self._read = self._again


def no_rows(rows: Rows) -> DataError:
    """Return the DataError of test rows without a single one."""
    return DataError("no rows to test on", source=rows.title)

"""A part of rows, and all others: a row's features decide which it is in, so that copies of a row are in one part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from fmcore.errors import UsageError
from fmcore.rows._rows import hashes
from fmcore.rows.batch import Batch
from fmcore.rows.source import LabelRule, Limit, Rows


class Split(NamedTuple):
    """A way to hold out some rows. fraction: of those that differ in features. seed: another one holds out others."""

    fraction: float
    seed: int = 0

    def held_out(self, batch: Batch) -> np.ndarray:
        """Return which rows are held out, bool (rows,)."""
        return self.hashes(batch) < np.uint64(self.fraction * 2.0**63) << np.uint64(1)

    def hashes(self, batch: Batch) -> np.ndarray:
        """Return a hash of each row's features, uint64 (rows,)."""
        return hashes(batch.indptr, batch.indices, batch.values, self.seed)


class SplitRows:
    """The rows that a Split holds out of others, or all others of them; see Rows."""

    def __init__(self, rows: Rows, split: Split, *, held_out: bool) -> None:
        self._rows, self._split, self._held_out = rows, split, held_out
        self.rereadable, self.streaming = rows.rereadable, rows.streaming

    @property
    def title(self) -> str:
        """See Rows."""
        return self._rows.title

    def read(self, labels: LabelRule, feature_dim: Limit = None) -> Iterator[Batch]:
        """See Rows."""
        return self._taken(self._rows.read(labels, feature_dim))

    def read_known(self, labels: LabelRule, feature_dim: int) -> Iterator[Batch]:
        """See Rows."""
        return self._taken(self._rows.read_known(labels, feature_dim))

    def _taken(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        seen = taken = False
        for batch in batches:
            rows, seen = np.flatnonzero(self._split.held_out(batch) == self._held_out), True
            if len(rows):
                taken = True
                yield batch.take(rows)
        if seen and not taken:
            raise UsageError(
                f"validation_fraction {self._split.fraction:g} holds out {'none' if self._held_out else 'all'} of the "
                f"rows of {self.title}: a hash decides, by which equal rows stay together; take another fraction or "
                "--seed, or name test rows with --test"
            )

    def feature_dim(self, seen: int, stated: int | None = None) -> int:
        """See Rows."""
        return self._rows.feature_dim(seen, stated)

    def complete(self, seen: int, stated: int | None, known: int | None) -> int:
        """See Rows."""
        return self._rows.complete(seen, stated, known)

    def named(self) -> AbstractContextManager:
        """See Rows."""
        return self._rows.named()

    def cancel(self) -> None:
        """See Rows."""
        self._rows.cancel()


def renumbered(batch: Batch) -> Batch:
    """Return the batch with its features numbered from 0 on without a gap, in their order."""
    seen = np.zeros(batch.feature_dim, bool)
    seen[batch.indices] = True
    places = np.cumsum(seen, dtype=np.int32) - 1
    return Batch(
        batch.indptr,
        places[batch.indices],
        batch.values,
        batch.labels,
        batch.weights,
        fields=batch.fields,
        groups=batch.groups,
    )

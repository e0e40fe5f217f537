"""From the ids that decoders of index formats read to the indices of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fmcore.errors import DataError
from fmcore.rows.batch import Batch
from fmcore.schema.bucketed import BucketedIds
from fmcore.schema.ids import IdMap

UNKNOWN_IDS = "non-zeros of ids unknown to the model ignored"  # what a report counts them as
SHIFTED = "keys from 1"  # the fact that recordIO had keys from which 1 was subtracted
FROM_1 = "ids count from 1 (--index-base 0 counts them from 0)"
WIDER = "--hash-bits hashes larger ids, and --compact counts those that there are"


class Indexing:
    """The way of the rows of one reading from ids to indices.

    ids: the map of the model, or of the training. base: 0 or 1, which decoders have subtracted. unseen: of ReadOptions.
    """

    def __init__(self, ids: IdMap, base: int = 0, unseen: str = "ignore") -> None:
        self._ids, self._base, self._unseen = ids, base, unseen
        self.in_order = ids.grows or ids.waits  # whether it must see all rows in their order

    @property
    def waits(self) -> bool:
        """Return whether `learn` is to see the first rows before any can be mapped."""
        return self._ids.waits

    def learn(self, ids: np.ndarray, values: np.ndarray) -> str | None:
        """Decide on buckets by non-zeros of the first rows; see BucketedIds.learn."""
        assert isinstance(self._ids, BucketedIds)
        return self._ids.learn(ids, values, self._base)

    def apply(self, batch: Batch) -> tuple[Batch, int]:
        """Return the batch with indices, without the non-zeros whose id has none, and how many those were.

        Raises DataError for the first of these where unseen is "error", or where buckets leave no index for an id of
        the training.
        """
        if not (self._ids.wide or self._ids.partial or self._ids.own):
            return batch, 0
        ids = batch.indices.astype(np.uint64, copy=False) if self._ids.wide else batch.indices
        indices = self._ids.map(ids)
        known = indices >= 0 if (self._ids.partial or self._ids.own) and not self._ids.grows else None
        mapped = replace(batch, indices=indices)
        if self._ids.own:
            mapped = self._with_buckets(batch, mapped)
        if known is None or known.all():
            return mapped, 0
        if self._ids.learns and not self._ids.partial:
            raise self._error(batch, known, f"is too large beside {self._ids.own} buckets; {WIDER}")
        if self._unseen == "error":
            raise self._error(batch, known, "is unknown to the model")
        return mapped.only(mapped.indices >= 0)

    def _error(self, batch: Batch, known: np.ndarray, what: str) -> DataError:
        """Return the DataError of the first id that is not known."""
        place = int(known.argmin())
        row = int(np.searchsorted(batch.indptr, place, "right")) - 1
        return DataError(f"id {int(batch.indices[place]) + self._base} {what}", **batch.place(row))

    def _with_buckets(self, batch: Batch, mapped: Batch) -> Batch:
        """Return a mapped batch with an entry, of value 1, for each bucket behind the non-zero whose value it holds."""
        assert isinstance(self._ids, BucketedIds)
        values = np.ones(len(batch.indices), np.float32) if batch.values is None else batch.values
        places, buckets = self._ids.buckets_of(batch.indices.astype(np.uint64, copy=False), values)
        return replace(
            mapped,
            indptr=batch.indptr + np.searchsorted(places, batch.indptr),
            indices=np.insert(mapped.indices, places + 1, buckets),
            values=None if batch.values is None else np.insert(batch.values, places + 1, np.float32(1)),
            fields=None if batch.fields is None else np.insert(batch.fields, places + 1, batch.fields[places]),
        )

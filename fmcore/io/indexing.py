"""From the ids that decoders of index formats read to the indices of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fmcore.errors import DataError
from fmcore.rows.batch import Batch
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
        self.in_order = ids.grows  # whether it must see all rows in their order

    def apply(self, batch: Batch) -> tuple[Batch, int]:
        """Return the batch with indices, without the non-zeros whose id has none, and how many those were.

        Raises DataError for the first of these where unseen is "error".
        """
        if not (self._ids.wide or self._ids.partial):
            return batch, 0
        ids = batch.indices.astype(np.uint64, copy=False) if self._ids.wide else batch.indices
        indices = self._ids.map(ids)
        known = indices >= 0 if self._ids.partial and not self._ids.grows else None
        mapped = replace(batch, indices=indices)
        if known is None or known.all():
            return mapped, 0
        if self._unseen == "error":
            place = int(known.argmin())
            row = int(np.searchsorted(batch.indptr, place, "right")) - 1
            written = int(batch.indices[place]) + self._base
            raise DataError(f"id {written} is unknown to the model", **batch.place(row))
        return mapped.only(known)

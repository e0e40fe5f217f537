"""`Batch`, the one form of rows between a reader and everything that uses them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fmcore.errors import DataError
from fmcore.rows._rows import gather

MAX_FEATURE_DIM = 2**31 - 1  # indices are int32
ARRAYS = ("indptr", "indices", "values", "labels", "weights", "fields", "groups")  # of a Batch
DTYPES = {"fields": np.int32, "groups": np.int64}


class RowOrigin(NamedTuple):
    """The origin of a batch's rows, so that a later check can name a row's place."""

    source: str
    unit: str  # "line", "record" or "row"
    numbers: Sequence[int]  # 1-based count of that unit, one a row
    places: np.ndarray | None = None  # int64, 1-based place among all rows of all sources, where rows may be left out

    def taken(self, rows: np.ndarray) -> "RowOrigin":
        """Return the origin of these rows."""
        places = None if self.places is None else self.places[rows]
        return self._replace(numbers=np.asarray(self.numbers)[rows], places=places)


@dataclass(slots=True)
class Batch:
    """Rows in CSR form.

    indptr: int64 (rows + 1,), starts at 0.
    indices: int32 (non-zeros,), 0-based, in the order read; uint64 between a decoder of wide ids and their map.
    values: float32 (non-zeros,), or None where every value is 1.
    labels: float32 (rows,), NaN where a row has none.
    weights: float32 (rows,), or None where every weight is 1.
    ids: list of str or None, one a row, or None where no row has an id.
    fields: int32 (non-zeros,), the field of each non-zero, 0 or more; None without them.
    groups: int64 (rows,), the group (query) of each row, 0 or more; None without them.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None
    labels: np.ndarray
    weights: np.ndarray | None = None
    ids: list | None = None
    origin: RowOrigin | None = None
    fields: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def feature_dim(self) -> int:
        """Return one more than the largest index; 0 without any."""
        return int(self.indices.max()) + 1 if len(self.indices) else 0

    @property
    def nbytes(self) -> int:
        """Return the bytes held by the arrays."""
        arrays = (getattr(self, name) for name in ARRAYS)
        return sum(a.nbytes for a in arrays if a is not None)

    def place(self, row: int) -> dict[str, Any]:
        """Return the keyword arguments for a `DataError` about that row."""
        if self.origin is None:
            return {"unit": "row", "number": row + 1}
        return {"source": self.origin.source, "unit": self.origin.unit, "number": int(self.origin.numbers[row])}

    def take(self, rows: np.ndarray | slice) -> "Batch":
        """Return the given rows (int array or slice), in that order, as a new batch."""
        rows = np.ascontiguousarray(np.arange(len(self), dtype=np.int64)[rows])
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(np.diff(self.indptr)[rows], out=indptr[1:])
        indices = np.empty(indptr[-1], self.indices.dtype)
        values = None if self.values is None else np.empty(indptr[-1], np.float32)
        gather(rows, self.indptr, self.indices, self.values, indptr, indices, values)
        fields = None if self.fields is None else np.empty(indptr[-1], np.int32)
        if fields is not None:
            gather(rows, self.indptr, self.fields, None, indptr, fields, None)
        origin = self.origin
        return Batch(
            indptr,
            indices,
            values,
            self.labels[rows],
            None if self.weights is None else self.weights[rows],
            None if self.ids is None else [self.ids[r] for r in rows],
            origin and origin.taken(rows),
            fields,
            None if self.groups is None else self.groups[rows],
        )

    def within(self, feature_dim: int) -> tuple["Batch", int]:
        """Return the batch without the non-zeros whose index is feature_dim or more, and how many those were."""
        if self.feature_dim <= feature_dim:
            return self, 0
        return self.only(self.indices < feature_dim)

    def only(self, known: np.ndarray) -> tuple["Batch", int]:
        """Return the batch without the non-zeros that are not known (bool, (non-zeros,)), and how many those were."""
        kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(known, dtype=np.int64)])
        batch = replace(
            self,
            indptr=kept[self.indptr],
            indices=self.indices[known],
            values=None if self.values is None else self.values[known],
            fields=None if self.fields is None else self.fields[known],
        )
        return batch, int(len(known) - kept[-1])


def counted(batches: Iterable[Batch]) -> Iterator[tuple[int, Batch]]:
    """Yield (rows before it, batch) for each batch."""
    rows = 0
    for batch in batches:
        yield rows, batch
        rows += len(batch)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Return one batch of all rows, in order; values and weights appear where any batch has them.

    Origins are dropped. Raises DataError where some batches have fields, or groups, and others have none.
    """
    starts = np.cumsum([0, *(len(b.indices) for b in batches)])
    indptr = [np.zeros(1, np.int64), *(b.indptr[1:] + start for b, start in zip(batches, starts, strict=False))]

    def join(name: str, size: Callable[[Batch], int], fill: Callable[[str, int], np.ndarray]) -> np.ndarray | None:
        arrays = [getattr(b, name) for b in batches]
        if all(a is None for a in arrays):
            return None
        filled = [fill(name, size(b)) if a is None else a for a, b in zip(arrays, batches, strict=True)]
        return np.concatenate(filled)

    ids = None
    if any(b.ids is not None for b in batches):
        ids = [row_id for b in batches for row_id in (b.ids or [None] * len(b))]
    return Batch(
        np.concatenate(indptr),
        np.concatenate([np.empty(0, np.int32), *(b.indices for b in batches)]),
        join("values", _non_zeros, _ones),
        np.concatenate([np.empty(0, np.float32), *(b.labels for b in batches)]),
        join("weights", len, _ones),
        ids,
        fields=join("fields", _non_zeros, _none_missing),
        groups=join("groups", len, _none_missing),
    )


def _non_zeros(batch: Batch) -> int:
    return len(batch.indices)


def _ones(_: str, size: int) -> np.ndarray:
    return np.ones(size, np.float32)


def _none_missing(name: str, size: int) -> np.ndarray:
    """Return an empty array for a batch without `name`, which must have no place for it either."""
    if size:
        raise DataError(f"some rows have {name} and others have none; all rows of the data must have them, or none")
    return np.empty(0, DTYPES[name])

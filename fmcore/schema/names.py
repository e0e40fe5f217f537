"""The names of features: of columns, and of their values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from fmcore.schema import vocabulary_file
from fmcore.schema.bucketed import BucketedIds
from fmcore.schema.buckets import MISSING
from fmcore.schema.columns import CATEGORICAL
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed, Listed
from fmcore.schema.ids import IdMap
from fmcore.schema.own import Entry
from fmcore.schema.schema import Schema

TOGETHER = -1  # in place of a column: of features that can occur with any other


class NumberedIds:
    """Ids as the values of a column `id`; read when the first is asked for.

    ids: an IdMap; of hashed ids, several of which may have one index, none has a name. base: the number from which the
    user's ids count. features: how many indices there are, where the map does not know it.
    """

    names = ("id",)

    def __init__(self, ids: IdMap, base: int, features: int) -> None:
        self._ids, self._base = ids, base
        known = features if ids.feature_dim is None else ids.feature_dim
        self._size = 0 if ids.bits is not None else known

    def __len__(self) -> int:
        return self._size

    def entry(self, index: int) -> tuple[str, str]:
        """Return ("id", the id as text)."""
        return "id", str(int(self._all[index]) + self._base)

    @cached_property
    def _all(self) -> np.ndarray:
        found = self._ids.ids_at(np.arange(len(self)))
        return np.arange(len(self)) if found is None else found


class FeatureNames:
    """The names of a model's features by index; values are looked up one by one, where they lie in the model's file.

    own: (column, text of a bucket or None) of features that columns have of their own, which come first. values: the
    names of the others.
    single: the columns of which a row has one value.
    """

    def __init__(
        self, own: Sequence[Entry], values: Listed | Hashed | NumberedIds, single: Sequence[str] | None = None
    ) -> None:
        self._own, self._values, self._single = tuple(own), values, single

    @classmethod
    def of_schema(cls, schema: Schema) -> FeatureNames:
        """Return those that a model's schema knows."""
        return cls.of(schema.encoder())

    @classmethod
    def of(cls, encoder: Encoder) -> FeatureNames:
        """Return those of an encoder that has read rows."""
        single = [column.name for column in encoder.columns or () if column.kind == CATEGORICAL]
        return cls(encoder.own_entries(), encoder.values, single)

    @classmethod
    def of_ids(cls, ids: IdMap, base: int, features: int) -> FeatureNames:
        """Return those of rows that have ids: "id=17", and of their buckets "id 17 in [2,3)".

        base: from which the user's ids count. features: how many there are in all.
        """
        own, ids = (tuple(ids.entries(base)), ids.inner) if isinstance(ids, BucketedIds) else ((), ids)
        return cls(own, NumberedIds(ids, base, features - len(own)), ())

    @classmethod
    def of_file(cls, path: Path) -> FeatureNames:
        """Return those of a vocabulary file; DataError where it is damaged."""
        listing = vocabulary_file.read(path)
        return cls(listing.own, listing.values, listing.values.names)

    def __len__(self) -> int:
        return len(self._own) + (0 if isinstance(self._values, Hashed) else len(self._values))

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        for index in range(len(self)):
            yield self.entry(index) or ("", None)

    def entry(self, index: int) -> tuple[str, str | None] | None:
        """Return (column, value or text of a bucket, else None); None for a feature whose name is not known."""
        if index < len(self._own):
            return self._own[index]
        return self._values.entry(index - len(self._own)) if index < len(self) else None

    def get(self, index: int) -> str | None:
        """Return "column=value", "column", "column in [17,21)" or "column missing"; None where it is not known."""
        entry = self.entry(index)
        if entry is None:
            return None
        column, value = entry
        if value is None:
            return column
        if index >= len(self._own):
            return f"{column}={value}"
        return f"{column} {MISSING}" if value == MISSING else f"{column} in {value}"

    @property
    def columns(self) -> list[str]:
        """Return the columns whose features have names, each once."""
        own = (column for column, _ in self._own)
        return list(dict.fromkeys((*own, *(() if isinstance(self._values, Hashed) else self._values.names))))

    def exclusive(self, features: int) -> np.ndarray | None:
        """Return int64 (features,): the column of each that occurs without others of it; TOGETHER for all others.

        None where nothing is known of columns.
        """
        own = self._exclusive_own()[:features]
        if not isinstance(self._values, Listed) or not len(self._values):
            return np.append(own, np.full(features - len(own), TOGETHER)) if (own != TOGETHER).any() else None
        places = [place if name in (self._single or ()) else TOGETHER for place, name in enumerate(self._values.names)]
        found = np.full(features, TOGETHER, np.int64)
        found[: len(own)] = np.where(own == TOGETHER, TOGETHER, own + len(places))
        numbers = self._values.table.columns()[: max(0, features - len(own))]
        self._values.require_known(int(numbers.max(initial=0)))
        found[len(own) : len(own) + len(numbers)] = np.array(places, np.int64)[numbers]
        return found

    def _exclusive_own(self) -> np.ndarray:
        """Return int64, of each feature of columns themselves: the place of a bucket's column, TOGETHER of another."""
        places: dict[str, int] = {}
        own = [TOGETHER if text is None else places.setdefault(name, len(places)) for name, text in self._own]
        return np.array(own, np.int64)

    def of_column(self, column: str) -> dict[int, str]:
        """Return index -> value, or bucket, of the features of a column, its own name without one; ascending."""
        if isinstance(self._values, Listed) and column in self._values.names:
            numbers = self._values.table.columns()
            found = np.flatnonzero(numbers == self._values.names.index(column))
            first = len(self._own)
            return {first + int(place): self._values.entry(int(place))[1] for place in found}
        if isinstance(self._values, NumberedIds) and column in self._values.names:
            return {index: self._values.entry(index)[1] for index in range(len(self))}
        return {index: text or name for index, (name, text) in enumerate(self._own) if name == column}

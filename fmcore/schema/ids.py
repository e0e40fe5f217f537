"""How an id in the data becomes the index of a feature: as it stands, hashed, or numbered as it first appears.

Ids are those of libsvm, libffm, recordIO and requests, counted from 0: readers have subtracted the index base. Wide
ones are uint64; others are indices already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fmcore.errors import DataError, ModelError, UsageError
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema._ids import IdTable, hashed, mix, search, unmix
from fmcore.schema.features import checked_bits

LARGEST_TABLE = 64  # times the indices kept
KEYS, INDICES, KEPT = "keys", "indices", "kept"  # tensors


class IdMap:
    """Ids that are indices as they stand; the contract of the others as well.

    wide: whether readers are to give ids of 64 bits (uint64), instead of indices (int32).
    grows: whether `map` gives new ids an index; then it must see all rows in their order.
    partial: whether an id may have no index.
    """

    wide = grows = partial = False
    bits: int | None = None  # of hashed ids
    own = 0  # how many of the first indices are buckets, as fmcore.schema.bucketed has them
    waits = learns = False  # whether first rows are still to decide on buckets, and whether they are this training's

    @property
    def feature_dim(self) -> int | None:
        """Return how many indices there are, or None where the rows decide."""
        return None

    def map(self, ids: np.ndarray) -> np.ndarray:
        """Return the index of each id, int32; -1 where it is unknown. Several threads may call it unless it grows."""
        return ids

    def freeze(self) -> None:
        """Give no more ids an index: what is new from here on is unknown."""

    def ids_at(self, indices: np.ndarray) -> np.ndarray | None:
        """Return the ids that have these indices; None where several ids may have the same."""
        return indices

    def subset(self, keep: np.ndarray) -> IdMap:
        """Return a map of the ids whose index is kept alone, numbered anew in the same order; keep: bool, by index."""
        return KeptIds(self, np.flatnonzero(keep).astype(np.int32))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all that `from_tensors` needs, by name: int64 and int32."""
        return {}


class HashedIds(IdMap):
    """Ids hashed into 2**bits indices: the first number of SplitMix64 whose state is the id, modulo 2**bits.

    That is a mix of all 64 bits, equal on every platform; see _ids.pyx. Different ids may have the same index.
    """

    wide = True

    bits: int

    def __init__(self, bits: int) -> None:
        self.bits = checked_bits(bits)

    @property
    def feature_dim(self) -> int:
        """Return how many indices there are."""
        return 1 << self.bits

    def map(self, ids: np.ndarray) -> np.ndarray:
        """Return the index of each id; see IdMap."""
        return hashed(ids, self.bits)

    def ids_at(self, indices: np.ndarray) -> None:  # noqa: ARG002 - see IdMap
        """Return None; see IdMap."""
        return


class CompactIds(IdMap):
    """Ids numbered in the order of their first appearance, by row and within it.

    While it grows it is a table in memory. Its tensors are the mixed ids in ascending order (the bits of uint64, as
    int64) and the index of each (int32); mapped from a file, a look-up touches a few of their pages.

    keys, indices: these tensors, or None for none. grows: whether it goes on to number new ids.
    """

    wide = partial = True

    def __init__(
        self, keys: np.ndarray | None = None, indices: np.ndarray | None = None, *, grows: bool = True
    ) -> None:
        self._keys = np.empty(0, np.uint64) if keys is None else keys.view(np.uint64)
        self._indices = np.empty(0, np.int32) if indices is None else indices
        self._table: IdTable | None = None
        self.grows = grows
        if grows:
            self._table = IdTable(self._in_order())

    @classmethod
    def numbered(cls, ids: np.ndarray, *, grows: bool = False) -> CompactIds:
        """Return the map of different ids (uint64) to their position."""
        made = cls(grows=False)
        made._table, made.grows = IdTable(ids), grows
        return made

    @property
    def feature_dim(self) -> int:
        """Return how many ids there are."""
        return len(self._keys) if self._table is None else self._table.size

    def map(self, ids: np.ndarray) -> np.ndarray:
        """Return the index of each id, a new one for a new id while it grows; see IdMap.

        Raises DataError where there are more different ids than indices.
        """
        if self._table is None:
            return search(self._keys, self._indices, ids)
        if not self.grows:
            return self._table.find(ids)
        found = self._table.add(ids, MAX_FEATURE_DIM)
        if self._table.size == MAX_FEATURE_DIM and (found < 0).any():
            raise DataError(f"more than {MAX_FEATURE_DIM} different ids; --hash-bits hashes them into fewer features")
        return found

    def freeze(self) -> None:
        """Give no more ids an index."""
        self.grows = False

    def ids_at(self, indices: np.ndarray) -> np.ndarray:
        """Return the ids that have these indices, uint64."""
        if self._table is not None:
            return self._table.ids[indices]
        places = np.flatnonzero(np.isin(self._indices, indices))
        ids = dict(zip(self._indices[places].tolist(), unmix(self._keys[places]).tolist(), strict=True))
        try:
            return np.array([ids[index] for index in indices.tolist()], np.uint64)
        except KeyError:
            raise ModelError("damaged: the indices of its ids are not 0 to their number") from None

    def subset(self, keep: np.ndarray) -> CompactIds:
        """Return a map of those whose index is kept; see IdMap."""
        return self.numbered(self._in_order()[keep])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return its tensors; see IdMap."""
        keys, indices = self._keys, self._indices
        if self._table is not None:
            keys = mix(self._table.ids)
            order = np.argsort(keys)
            keys, indices = keys[order], order.astype(np.int32)
        return {KEYS: keys.view(np.int64), INDICES: indices}

    def _in_order(self) -> np.ndarray:
        """Return all ids by index."""
        if self._table is not None:
            return self._table.ids
        indices, size = self._indices, len(self._indices)
        if size and (indices.min() < 0 or indices.max() >= size or not np.bincount(indices, minlength=size).all()):
            raise ModelError("damaged: the indices of its ids are not 0 to their number")
        ids = np.empty(size, np.uint64)
        ids[indices] = unmix(self._keys)
        return ids

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled, (self.tensors(), self.grows)


class KeptIds(IdMap):
    """Some indices of another map, numbered anew in ascending order; kept: those, int32, ascending.

    A few ids are searched for among `kept`, which may be mapped; for many a table of all indices is made, unless it
    would be much larger than `kept`.
    """

    partial = True

    def __init__(self, inner: IdMap, kept: np.ndarray) -> None:
        self._inner, self._kept, self.wide, self.bits = inner, kept, inner.wide, inner.bits
        self._table: np.ndarray | None = None  # by index, and a last -1 for indices beyond
        self._looked_up = 0

    @property
    def feature_dim(self) -> int:
        """Return how many indices are kept."""
        return len(self._kept)

    def map(self, ids: np.ndarray) -> np.ndarray:
        """Return the index of each id; see IdMap."""
        indices = self._inner.map(ids)
        self._looked_up += len(ids)
        if self._table is None and self._looked_up > len(self._kept):
            self._table = self._tabled()
        if self._table is not None and len(self._table):
            return self._table[np.minimum(indices, len(self._table) - 1)]
        places = np.searchsorted(self._kept, indices).astype(np.int32)
        known = places < len(self._kept)
        known[known] = self._kept[places[known]] == indices[known]
        return np.where(known, places, np.int32(-1))

    def _tabled(self) -> np.ndarray:
        """Return the table, empty where it would be too large, or `kept` is damaged."""
        kept = self._kept
        if not len(kept) or not 0 <= kept[0] <= kept[-1] < LARGEST_TABLE * len(kept) or (np.diff(kept) <= 0).any():
            return np.empty(0, np.int32)
        table = np.full(int(kept[-1]) + 2, -1, np.int32)
        table[kept] = np.arange(len(kept), dtype=np.int32)
        return table

    def ids_at(self, indices: np.ndarray) -> np.ndarray | None:
        """Return the ids that have these indices; see IdMap."""
        return self._inner.ids_at(self._kept[indices])

    def subset(self, keep: np.ndarray) -> KeptIds:
        """Return a map of fewer; see IdMap."""
        return KeptIds(self._inner, self._kept[keep])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return its tensor; see IdMap."""
        return {KEPT: self._kept}


def id_map(hash_bits: int | None = None, *, compact: bool = False) -> IdMap:
    """Return a new map by the options; raises UsageError where both are given."""
    if compact and hash_bits is not None:
        raise UsageError("--compact and --hash-bits exclude each other: ids are either numbered or hashed")
    if compact:
        return CompactIds()
    return IdMap() if hash_bits is None else HashedIds(hash_bits)


def from_tensors(tensors: dict[str, np.ndarray], hash_bits: int | None = None, *, grows: bool = False) -> IdMap:
    """Return the map that gave these tensors, under the option hash_bits of then.

    grows: whether one of --compact goes on to number new ids, which takes reading all of it.
    Raises ModelError for tensors that no map has.
    """
    kinds = {name: (array.dtype.name, array.ndim) for name, array in tensors.items()}
    if kinds == {KEYS: ("int64", 1), INDICES: ("int32", 1)} and len(tensors[KEYS]) == len(tensors[INDICES]):
        return CompactIds(tensors[KEYS], tensors[INDICES], grows=grows)
    if kinds == {KEPT: ("int32", 1)}:
        return KeptIds(id_map(hash_bits), tensors[KEPT])
    if kinds:
        raise ModelError(f"damaged: its ids are kept as {', '.join(sorted(kinds))}, which do not belong together")
    return id_map(hash_bits)


def _pickled(tensors: dict[str, np.ndarray], grows: bool) -> IdMap:
    return from_tensors(tensors, grows=grows)

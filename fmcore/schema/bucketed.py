"""Buckets of the values that ids of index formats have: beside an id, a row has an entry for where its value lies.

A row lists what is not 0 in it. So a 0 has no bucket, whether it is written or left out, and edges are cut from the
other values of an id alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from fmcore.errors import ModelError, UsageError
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema import ids as plain
from fmcore.schema.buckets import Buckets, are_edges, cut, wanted
from fmcore.schema.ids import IdMap
from fmcore.schema.matching import listed_plain
from fmcore.schema.options import AUTO, FEWEST, NONE
from fmcore.schema.own import Entry

CUT, EDGES, ENDS = TENSORS = ("cut", "edges", "ends")
RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", re.ASCII)
LEAST_OF_AUTO = (6 * FEWEST) ** 2  # rows of an id from which on it has buckets unasked


class BucketedIds(IdMap):
    """The ids of another map behind the buckets of some of them.

    The first indices are those of buckets, id by id in ascending order; the other map's indices follow.

    inner: that map. buckets: id -> Buckets; None where the first rows are to decide. into: how many buckets an id is to
    have then, as of TableOptions. named: the ids to cut as the user names them, such as "7" or "3-9"; () for all.
    learns: whether rows are those of the training that decides.
    """

    def __init__(
        self,
        inner: IdMap,
        buckets: Mapping[int, Buckets] | None = None,
        *,
        into: str | int = AUTO,
        named: Sequence[str] = (),
    ) -> None:
        self._inner, self._into, self._named = inner, into, tuple(named)
        self.wide, self.grows, self.partial, self.bits = inner.wide, inner.grows, inner.partial, inner.bits
        self._take(buckets or {})
        self.waits = self.learns = buckets is None

    def _take(self, buckets: Mapping[int, Buckets]) -> None:
        self.waits = False
        self._buckets = dict(sorted(buckets.items()))
        self._cut = np.array(list(self._buckets), np.uint64)
        self._first = np.cumsum([0, *map(len, self._buckets.values())])
        self.own = int(self._first[-1])

    @property
    def feature_dim(self) -> int | None:
        """Return how many indices there are, or None where the rows decide."""
        known = self._inner.feature_dim
        return None if known is None else self.own + known

    def map(self, ids: np.ndarray) -> np.ndarray:
        """Return the index of each id; see IdMap. It is -1 as well where buckets leave no index for it."""
        found = self._inner.map(ids)
        known = (found >= 0) & (found < MAX_FEATURE_DIM - self.own)
        return np.where(known, found + np.int32(self.own) * known, np.int32(-1))

    def buckets_of(self, ids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of ids whose values have a bucket, int64, ascending, and the index of each, int32.

        Only where there are buckets.
        """
        place = np.minimum(np.searchsorted(self._cut, ids), len(self._cut) - 1)
        places = np.flatnonzero((self._cut[place] == ids) & (values != 0))
        indices = np.empty(len(places), np.int32)
        of = place[places]
        order = np.argsort(of, kind="stable")
        numbers = values[places[order]]
        bounds = np.searchsorted(of[order], np.arange(len(self._cut) + 1))
        for each, buckets in enumerate(self._buckets.values()):
            part = slice(bounds[each], bounds[each + 1])
            indices[order[part]] = buckets.indices(numbers[part], int(self._first[each]))
        return places, indices

    def learn(self, ids: np.ndarray, values: np.ndarray, base: int) -> str:
        """Decide on the buckets by the first rows; return what to note of them.

        ids, values: of their non-zeros, uint64 and float32. base: the number from which the user's ids count.
        Raises UsageError for a name that is no id, or is of none of these.
        """
        values, ids = values[values != 0], ids[values != 0]
        different, of, counts = np.unique(ids, return_inverse=True, return_counts=True)
        parts = [self._parts(int(count)) for count in counts.tolist()]
        chosen = self._chosen(different, base) & (np.array(parts, int) > 0)
        found, bounds = {}, np.concatenate([[0], np.cumsum(counts)])
        numbers = values[np.argsort(of, kind="stable")].astype(np.float64)
        for place in np.flatnonzero(chosen).tolist():
            made = cut(numbers[bounds[place] : bounds[place + 1]], parts[place])
            if len(made):
                found[int(different[place])] = made
        self._take(found)
        listed = listed_plain([f"id {each + base} {len(made)}" for each, made in self._buckets.items()])
        without = [f"id {each + base}" for each in different[chosen].tolist() if each not in self._buckets]
        if self._named and without:
            listed += f"{'; ' * bool(listed)}none for {listed_plain(without)}, whose values do not differ"
        return f"buckets: {listed or 'none, as no values differ enough'} (--buckets {NONE} leaves them out)"

    def _parts(self, count: int) -> int:
        """Return into how many buckets an id is cut that so many rows have; 0 for none."""
        if isinstance(self._into, int) or self._named or count >= LEAST_OF_AUTO:
            return wanted(self._into, count)
        return 0

    def _chosen(self, ids: np.ndarray, base: int) -> np.ndarray:
        """Return which of these ids the user names, bool; all of them where none is named."""
        chosen = np.full(len(ids), not self._named)
        for name in self._named:
            found = RANGE.fullmatch(name)
            if found is None:
                raise UsageError(f"--buckets-for names {name!r}; expected ids, which these rows have, such as 7 or 3-9")
            first, last = int(found[1]) - base, int(found[2] or found[1]) - base
            among = np.array([first <= each <= last for each in ids.tolist()], bool)
            if not among.any():
                raise UsageError(f"--buckets-for names {name}, but no such id has a value in the first rows")
            chosen |= among
        return chosen

    def entries(self, base: int) -> Iterator[Entry]:
        """Yield the name of each bucket, by index: ("id 7", "[0.5,1)"); base: as of `learn`."""
        for each, buckets in self._buckets.items():
            yield from ((f"id {each + base}", text) for text in buckets.texts())

    @property
    def inner(self) -> IdMap:
        """Return the map whose indices follow those of buckets."""
        return self._inner

    def freeze(self) -> None:
        """Give no more ids an index; see IdMap."""
        self._inner.freeze()
        self.grows = False

    def ids_at(self, indices: np.ndarray) -> np.ndarray | None:
        """Return the ids that have these indices, none of which are those of buckets; see IdMap."""
        return self._inner.ids_at(indices - self.own)

    def subset(self, keep: np.ndarray) -> BucketedIds:
        """Return a map of fewer ids, with all buckets; see IdMap."""
        return BucketedIds(self._inner.subset(keep[self.own :]), self._buckets)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return its tensors; see IdMap. Of buckets: ids (bits of uint64), their edges, joined, and where they end."""
        if not self._buckets:
            return self._inner.tensors()
        edges = [each.edges for each in self._buckets.values()]
        ends = np.cumsum([len(each) for each in edges], dtype=np.int64)
        return {**self._inner.tensors(), CUT: self._cut.view(np.int64), EDGES: np.concatenate(edges), ENDS: ends}


def from_tensors(tensors: Mapping[str, np.ndarray], hash_bits: int | None = None, *, grows: bool = False) -> IdMap:
    """Return the map that gave these tensors; arguments and errors as for fmcore.schema.ids.from_tensors."""
    inner = plain.from_tensors({name: tensors[name] for name in tensors if name not in TENSORS}, hash_bits, grows=grows)
    if not tensors.keys() & set(TENSORS):
        return inner
    try:
        cut_ids, edges, ends = (tensors[name] for name in TENSORS)
    except KeyError:
        raise ModelError(f"damaged: it has only some of the tensors {', '.join(TENSORS)} of ids") from None
    if not _are_buckets(cut_ids, edges, ends):
        raise ModelError("damaged: it has edges of buckets that no ids have")
    starts = [0, *ends[:-1].tolist()]
    parts = zip(cut_ids.view(np.uint64).tolist(), starts, ends.tolist(), strict=True)
    return BucketedIds(inner, {each: Buckets(edges[first:end]) for each, first, end in parts})


def _are_buckets(cut_ids: np.ndarray, edges: np.ndarray, ends: np.ndarray) -> bool:
    """Return whether arrays can be the tensors of buckets."""
    kinds = [(array.dtype.name, array.ndim) for array in (cut_ids, edges, ends)]
    if kinds != [("int64", 1), ("float64", 1), ("int64", 1)] or not 0 < len(cut_ids) == len(ends):
        return False
    ids, bounds = cut_ids.view(np.uint64), np.concatenate([[0], ends])
    return bool(
        (ids[1:] > ids[:-1]).all()
        and (np.diff(bounds) > 0).all()
        and bounds[-1] == len(edges)
        and all(are_edges(edges[first:end]) for first, end in pairwise(bounds.tolist()))
    )

"""What the rows of a model mean, as the model keeps it: columns, values, label, index base."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fmcore.errors import ModelError
from fmcore.schema.bucketed import CUT, BucketedIds, from_tensors
from fmcore.schema.buckets import Buckets
from fmcore.schema.columns import FEATURES, NUMBERS, OTHERS, Column
from fmcore.schema.encoder import MOST_SEEN, Encoder
from fmcore.schema.features import MAX_HASH_BITS, Hashed, Listed
from fmcore.schema.ids import CompactIds, IdMap
from fmcore.schema.own import OwnFeatures
from fmcore.schema.roles import SINGLE
from fmcore.schema.values import ValueTable
from fmcore.schema.vocabulary_file import Listing

KINDS = (*FEATURES, *OTHERS)
VALUES, KEPT, IDS = "values.", "kept", "ids."  # tensors: of a ValueTable, and the bits of hashed values that are kept
EDGES, ENDS, MISSING = BUCKETS = ("buckets.edges", "buckets.ends", "buckets.missing")  # tensors
DAMAGED = "damaged: its schema"
SEEN = {"missing", "min", "max", "values"}  # of a column
MEMBERS: dict[str, tuple[type, ...]] = {
    "columns": (list, type(None)),
    "named": (bool,),
    "value_columns": (list,),
    "hash_bits": (int, type(None)),
    "compact": (bool,),
    "label": (dict,),
    "seen": (dict,),
    "min_count": (int,),
}


@dataclass(frozen=True)
class Schema:
    """The meaning of the rows of a model.

    columns: of the tables that it was trained on, in their order; None for rows of index formats.
    named: whether a header named them; else they are numbered.
    value_columns: the categorical columns, by their number in the values' tensors.
    hash_bits: of hashed values, or ids; None where they are listed, or indices as they stand.
    compact: whether ids are numbered as they first appeared.
    label: {"name": column or None, "positive": text or None, ...}. seen: column -> what training saw of it.
    min_count: how many rows a value was required in.
    tensors: name -> array: those of the ValueTable under "values.", "kept", uint8, one bit a hashed index, and those of
    an IdMap under "ids.". Where numeric columns have buckets: their edges, float64, joined; where those of each such
    column end, int64; and whether it has an entry for missing values, uint8.
    """

    columns: tuple[Column, ...] | None = None
    named: bool = True
    value_columns: tuple[str, ...] = ()
    hash_bits: int | None = None
    compact: bool = False
    label: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    min_count: int = 1
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, encoder: Encoder, **facts: Any) -> Schema:
        """Return the Schema of the rows that an encoder has read; facts: label and min_count."""
        values, facts = encoder.values, {**facts, "seen": _seen(encoder)}
        if encoder.columns is None:
            tensors = {IDS + name: array for name, array in encoder.ids.tensors().items()}
            ids = encoder.ids.inner if isinstance(encoder.ids, BucketedIds) else encoder.ids
            compact = isinstance(ids, CompactIds)
            return cls(hash_bits=encoder.ids.bits, compact=compact, tensors=tensors, **facts)
        tensors = _of_buckets(encoder)
        if isinstance(values, Hashed):
            tensors |= {} if values.kept is None else {KEPT: values.kept}
            return cls(encoder.columns, encoder.named, hash_bits=values.bits, tensors=tensors, **facts)
        tensors |= {VALUES + name: array for name, array in values.table.tensors().items()} if len(values) else {}
        return cls(encoder.columns, encoder.named, tuple(values.names), tensors=tensors, **facts)

    def encoder(self, *, grows: bool = False) -> Encoder:
        """Return an Encoder that reads rows as the model's training did; grows: whether it adds values."""
        encoder = Encoder(
            self._values(),
            self.columns,
            named=self.named,
            learns=False,
            grows=grows,
            ids=self._ids(grows=grows) if self.columns is None else None,
        )
        encoder.know_buckets(self.buckets())
        if grows:  # what is seen of numeric columns adds to what was
            encoder.seen = {name: dict(facts) for name, facts in self.seen.items() if "missing" in facts}
        return encoder

    def buckets(self) -> dict[str, Buckets]:
        """Return the buckets of numeric columns that have any, by name; raise ModelError where they are damaged."""
        return self._buckets

    @cached_property
    def _buckets(self) -> dict[str, Buckets]:
        if EDGES not in self.tensors:
            return {}
        edges, ends, missing = _checked_buckets(self.tensors, self._numeric())
        starts = [0, *ends[:-1].tolist()]
        found = [Buckets(edges[a:b], bool(m)) for a, b, m in zip(starts, ends.tolist(), missing, strict=True)]
        return {name: each for name, each in zip(self._numeric(), found, strict=True) if len(each)}

    @property
    def buckets_of_ids(self) -> bool:
        """Whether ids of index formats have buckets."""
        return IDS + CUT in self.tensors

    def _numeric(self) -> list[str]:
        return [column.name for column in self.columns or () if column.kind in NUMBERS]

    def lists(self, listing: Listing) -> bool:
        """Return whether a vocabulary has the values that the model lists, or those it began with, and its columns."""
        own, values = self._values(), listing.values
        if listing.own != tuple(OwnFeatures(self.columns or (), self.buckets()).entries()):
            return False
        return (
            isinstance(own, Listed)
            and own.names[: len(values.names)] == values.names
            and own.table.starts_with(values.table)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all but the tensors, ready for JSON; what is as in any table is left out."""
        columns = None if self.columns is None else [_plain(column) for column in self.columns]
        return {
            "columns": columns,
            "named": self.named,
            "value_columns": list(self.value_columns),
            "hash_bits": self.hash_bits,
            "compact": self.compact,
            "label": self.label,
            "seen": self.seen,
            "min_count": self.min_count,
        }

    def described(self) -> dict[str, Any]:
        """Return as `as_dict`, with the buckets of columns that have any, by name."""
        found = {
            name: {"edges": each.edges.tolist(), "missing": each.missing, "features": len(each)}
            for name, each in self.buckets().items()
        }
        return {**self.as_dict(), **({"buckets": found} if found else {})}

    @classmethod
    def from_dict(cls, found: Any, tensors: Mapping[str, np.ndarray]) -> Schema:
        """Return the Schema of a file, given what `as_dict` returned; raise ModelError where it cannot be one."""
        if not isinstance(found, dict):
            raise ModelError(f"{DAMAGED} is not a JSON object")
        for name, types in MEMBERS.items():
            if name not in found or type(found[name]) not in types:
                raise ModelError(f"{DAMAGED} has no {name}, or one of the wrong type")
        if unknown := found.keys() - MEMBERS.keys():
            raise ModelError(f"the model holds a schema that this version does not know: {min(unknown)!r:.80}")
        bits, columns = found["hash_bits"], found["columns"]
        if bits is not None and not 1 <= bits <= MAX_HASH_BITS:
            raise ModelError(f"{DAMAGED} has hash_bits {bits}")
        if not all(isinstance(name, str) for name in found["value_columns"]):
            raise ModelError(f"{DAMAGED} has value_columns that are no names")
        given = {**found, "value_columns": tuple(found["value_columns"])}
        given["columns"] = None if columns is None else tuple(map(_column, columns))
        schema = cls(**given, tensors=dict(tensors))
        schema._require_sound()
        return schema

    def require_fits(self, feature_dim: int) -> None:
        """Raise ModelError unless columns and values are as many features as a model has."""
        own = None if self.columns is None else OwnFeatures(self.columns, self.buckets()).size + len(self._values())
        if own is not None and own > feature_dim:
            raise ModelError(f"{DAMAGED} has {own} features, but the model {feature_dim}")

    def _require_sound(self) -> None:
        """Raise ModelError where its parts cannot be those of any table."""
        columns = self.columns or ()
        features = [column.name for column in columns if column.is_feature]
        singles = [column.kind for column in columns if column.kind in SINGLE]
        if any(len(set(each)) < len(each) for each in (features, singles, self.value_columns)):
            raise ModelError(f"{DAMAGED} has one column several times")
        if self.columns is not None and not features:
            raise ModelError(f"{DAMAGED} has columns, but none that is a feature")
        if not all(map(_is_seen, self.seen.values())) or not _is_label(self.label):
            raise ModelError(f"{DAMAGED} holds what training cannot have seen of columns")
        for name in self.tensors:
            if columns and name in BUCKETS:
                continue
            if not (name.startswith(self._prefix()) if self.hash_bits is None or not columns else name == KEPT):
                raise ModelError(f"{DAMAGED} has a tensor {name!r} that this version does not know")
        _ = (self._values(), self.buckets()) if columns else self._ids()  # which raise ModelError

    def _prefix(self) -> str:
        return IDS if self.columns is None else VALUES

    def _ids(self, *, grows: bool = False) -> IdMap:
        tensors = {name.removeprefix(IDS): self.tensors[name] for name in self.tensors if name.startswith(IDS)}
        return from_tensors(tensors, self.hash_bits, grows=grows and self.compact)

    def _values(self) -> Listed | Hashed:
        if self.hash_bits is not None:
            kept = self.tensors.get(KEPT)
            if kept is not None and (kept.dtype != np.uint8 or kept.shape != (max(1, (1 << self.hash_bits) >> 3),)):
                raise ModelError(f"{DAMAGED} has a tensor {KEPT!r} of {kept.dtype} {kept.shape}")
            return Hashed(self.hash_bits, kept)
        tensors = {name.removeprefix(VALUES): self.tensors[name] for name in self.tensors if name.startswith(VALUES)}
        return Listed(self.value_columns, ValueTable.from_tensors(tensors) if tensors else None)


def _seen(encoder: Encoder) -> dict[str, Any]:
    """Return column -> range and missing fields of a numeric one, number of values of a categorical one."""
    if len(encoder.columns or ()) > MOST_SEEN:
        return {}
    found: dict[str, Any] = {name: dict(facts) for name, facts in encoder.seen.items()}
    if isinstance(encoder.values, Listed) and len(encoder.values):
        counts = np.bincount(encoder.values.table.columns(), minlength=len(encoder.values.names))
        found |= {name: {"values": int(n)} for name, n in zip(encoder.values.names, counts, strict=True)}
    return found


def _of_buckets(encoder: Encoder) -> dict[str, np.ndarray]:
    """Return the tensors of an encoder's buckets; none where it has none."""
    if not encoder.buckets:
        return {}
    nothing = Buckets(np.empty(0))
    columns = [column.name for column in encoder.columns or () if column.kind in NUMBERS]
    found = [encoder.buckets.get(name, nothing) for name in columns]
    edges, missing = [each.edges for each in found], [each.missing for each in found]
    ends = np.cumsum([len(each) for each in edges], dtype=np.int64)
    return dict(zip(BUCKETS, (np.concatenate(edges), ends, np.array(missing, np.uint8)), strict=True))


def _checked_buckets(tensors: Mapping[str, np.ndarray], columns: Sequence[str]) -> list[np.ndarray]:
    """Return edges, ends and missing; raise ModelError where they cannot be those of these columns."""
    if not all(name in tensors for name in BUCKETS):
        raise ModelError(f"{DAMAGED} has only some of the tensors {', '.join(BUCKETS)}")
    edges, ends, missing = found = [tensors[name] for name in BUCKETS]
    kinds = [(array.dtype.name, array.shape) for array in found]
    sizes = [("float64", (edges.size,)), ("int64", (len(columns),)), ("uint8", (len(columns),))]
    inner = np.setdiff1d(np.arange(1, edges.size), ends)  # edges whose predecessor is of the same column
    if (
        kinds != sizes
        or not np.isfinite(edges).all()
        or (np.diff(ends, prepend=0) < 0).any()
        or (ends[-1] if len(ends) else 0) != edges.size
        or (edges[inner] <= edges[inner - 1]).any()
        or (missing > 1).any()
    ):
        raise ModelError(f"{DAMAGED} has edges of buckets that no columns have")
    return found


def _is_seen(facts: Any) -> bool:
    return isinstance(facts, dict) and facts.keys() <= SEEN and _are_numbers(facts.values())


def _is_label(facts: dict[str, Any]) -> bool:
    texts, pairs = ("name", "positive"), ("classes", "range")
    return all(
        isinstance(value, str | None)
        if name in texts
        else name in pairs and isinstance(value, list) and len(value) == 2 and _are_numbers(value)
        for name, value in facts.items()
    )


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(math.isfinite(value) if type(value) is float else _is_int64(value) for value in values)


def _is_int64(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 63


def _plain(column: Column) -> dict[str, Any]:
    return {name: value for name, value in asdict(column).items() if value or name in ("name", "kind")}


def _column(found: Any) -> Column:
    kinds = {"name": str, "kind": str, "separator": str, "mean": bool}
    good = isinstance(found, dict) and {"name", "kind"} <= found.keys() <= kinds.keys()
    if not good or not all(isinstance(value, kinds[name]) for name, value in found.items()):
        raise ModelError(f"{DAMAGED} has a column {found!r:.80}")
    if found["kind"] not in KINDS:
        raise ModelError(f"the model has columns of a kind that this version does not know: {found['kind']!r:.40}")
    return Column(**found)

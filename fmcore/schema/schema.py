"""What the rows of a model mean, as the model keeps it: columns, values, label, index base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fmcore.errors import ModelError
from fmcore.schema.columns import FEATURES, OTHERS, Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import MAX_HASH_BITS, Hashed, Listed
from fmcore.schema.values import ValueTable

KINDS = (*FEATURES, *OTHERS)
VALUES, KEPT = "values.", "kept"  # tensors: of a ValueTable, and the bits of hashed values that are kept
DAMAGED = "damaged: its schema"


@dataclass(frozen=True)
class Schema:
    """What the rows of a model mean.

    columns: of the tables that it was trained on, in their order; None for rows of index formats.
    named: whether a header named them; else they are numbered.
    value_columns: the categorical columns, by their number in the values' tensors.
    hash_bits: of hashed values, None where they are listed.
    label: {"name": column or None, "positive": text or None, ...}. seen: column -> what training saw of it.
    min_count: how many rows a value was required in.
    tensors: name -> array: those of the ValueTable under "values.", and "kept", uint8, one bit a hashed index.
    """

    columns: tuple[Column, ...] | None = None
    named: bool = True
    value_columns: tuple[str, ...] = ()
    hash_bits: int | None = None
    label: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    min_count: int = 1
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, encoder: Encoder, **facts: Any) -> Schema:
        """Return the Schema of the rows that an encoder has read; facts: label, seen and min_count."""
        values = encoder.values
        if isinstance(values, Hashed):
            tensors = {} if values.kept is None else {KEPT: values.kept}
            return cls(encoder.columns, encoder.named, hash_bits=values.bits, tensors=tensors, **facts)
        tensors = {VALUES + name: array for name, array in values.table.tensors().items()} if len(values) else {}
        return cls(encoder.columns, encoder.named, tuple(values.names), tensors=tensors, **facts)

    def encoder(self, *, grows: bool = False, output: str | None = None) -> Encoder:
        """Return an Encoder that reads rows as the model's training did; grows: whether it adds values."""
        return Encoder(
            self._values(),
            self.columns,
            named=self.named,
            learns=False,
            grows=grows,
            output=output,
        )

    def lists(self, values: Listed) -> bool:
        """Return whether these are the values that the model lists, or those it began with."""
        own = self._values()
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
            "label": self.label,
            "seen": self.seen,
            "min_count": self.min_count,
        }

    @classmethod
    def from_dict(cls, found: Any, tensors: Mapping[str, np.ndarray]) -> Schema:
        """Return the Schema of a file, given what `as_dict` returned; raise ModelError where it cannot be one."""
        kinds = {
            "columns": (list, type(None)),
            "named": bool,
            "value_columns": list,
            "hash_bits": (int, type(None)),
            "label": dict,
            "seen": dict,
            "min_count": int,
        }
        if not isinstance(found, dict):
            raise ModelError(f"{DAMAGED} is not a JSON object")
        for name, kind in kinds.items():
            if not isinstance(found.get(name), kind):
                raise ModelError(f"{DAMAGED} has no {name}, or one of the wrong type")
        if unknown := found.keys() - kinds.keys():
            raise ModelError(f"the model holds a schema that this version does not know: {min(unknown)!r:.80}")
        bits, columns = found["hash_bits"], found["columns"]
        if bits is not None and not 1 <= bits <= MAX_HASH_BITS:
            raise ModelError(f"{DAMAGED} has hash_bits {bits}")
        if not all(isinstance(name, str) for name in found["value_columns"]):
            raise ModelError(f"{DAMAGED} has value_columns that are no names")
        given = {**found, "value_columns": tuple(found["value_columns"])}
        given["columns"] = None if columns is None else tuple(map(_column, columns))
        schema = cls(**given, tensors=dict(tensors))
        schema._values()  # raises ModelError
        return schema

    def require_fits(self, feature_dim: int) -> None:
        """Raise ModelError unless columns and values are as many features as a model has."""
        own = self.encoder().feature_dim
        if own is not None and own > feature_dim:
            raise ModelError(f"{DAMAGED} has {own} features, but the model {feature_dim}")

    def _values(self) -> Listed | Hashed:
        if self.hash_bits is not None:
            kept = self.tensors.get(KEPT)
            if kept is not None and (kept.dtype != np.uint8 or kept.shape != (max(1, (1 << self.hash_bits) >> 3),)):
                raise ModelError(f"{DAMAGED} has a tensor {KEPT!r} of {kept.dtype} {kept.shape}")
            return Hashed(self.hash_bits, kept)
        tensors = {name.removeprefix(VALUES): self.tensors[name] for name in self.tensors if name.startswith(VALUES)}
        return Listed(self.value_columns, ValueTable.from_tensors(tensors) if tensors else None)


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

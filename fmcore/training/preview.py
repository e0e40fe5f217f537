"""What a training would make of its rows, without any training: their schema and the first of them as features."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from fmcore.errors import DataError
from fmcore.hyper.params import Hyperparameters
from fmcore.io.data import Data, Reader
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.schema.names import FeatureNames
from fmcore.schema.schema import BUCKETS, Schema
from fmcore.training.files import reader_of


class PreviewRow(NamedTuple):
    """A row as training would see it. label, weight: numbers; features: (name or index, value) of its non-zeros."""

    label: float
    weight: float
    features: list[tuple[str, float]]


class Preview(NamedTuple):
    """The Schema that the first rows show, and those rows."""

    schema: Schema
    rows: list[PreviewRow]


def preview(
    data: Data, hyperparameters: Hyperparameters, *, initial_model: Model | None = None, rows: int = 5
) -> Preview:
    """Return what `fmcore.training.files.train` would make of the first rows; nothing is written.

    Raises DataError for bad rows and UsageError for columns that do not fit the options, as training would.
    """
    reader = reader_of(data, hyperparameters, initial_model)
    found: list[PreviewRow] = []
    with reader.named(), closing(reader.read(objective_of(hyperparameters))) as batches:  # type: ignore[type-var]
        for batch in batches:
            names = _names(reader, batch)
            found += islice((_row(batch, row, names) for row in range(len(batch))), rows - len(found))
            if len(found) >= rows:
                break
        if not found:
            raise DataError("no rows to train on")
    schema = reader.schema()
    few = {name: array for name, array in schema.tensors.items() if name in BUCKETS}
    return Preview(replace(schema, tensors=few), found)


def _names(reader: Reader, batch: Batch) -> FeatureNames:
    encoder = reader.encoder
    if encoder.columns is None and encoder.ids.own:
        return FeatureNames.of_ids(encoder.ids, reader.options.base, batch.feature_dim)
    return FeatureNames.of(encoder)


def _row(batch: Batch, row: int, names: FeatureNames) -> PreviewRow:
    own = slice(batch.indptr[row], batch.indptr[row + 1])
    indices = batch.indices[own].tolist()
    values = np.ones(len(indices)) if batch.values is None else batch.values[own]
    weight = 1.0 if batch.weights is None else float(batch.weights[row])
    features = [(names.get(index) or str(index), float(value)) for index, value in zip(indices, values, strict=True)]
    return PreviewRow(float(batch.labels[row]), weight, features)

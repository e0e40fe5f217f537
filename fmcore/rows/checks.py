"""What training and scoring require of rows beyond their format; a row that fails is refused or left out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fmcore.errors import DataError
from fmcore.rows.batch import Batch


def checked(
    batches: Iterable[Batch],
    report: Any,
    *,
    on_error: str,
    labels: Any = None,
    feature_dim: int | Callable[[], int | None] | None = None,
) -> Iterator[Batch]:
    """Pass batches on, refusing rows without a label that is needed, or with an index beyond feature_dim.

    labels: an Objective, or another object with `accepts` and `expected`, whose labels are needed; None where any label
    is valid and rows may have none.
    on_error: "fail" raises the first row's DataError, "skip" leaves such rows out and counts them in the report.
    feature_dim: a number, None, or a function that returns either for the batch that has been read.
    """
    for batch in batches:
        limit = feature_dim() if callable(feature_dim) else feature_dim
        bad = np.zeros(len(batch), bool) if labels is None else _refused(labels, batch.labels)
        if limit is not None and batch.feature_dim > limit:
            bad |= largest_indices(batch) >= limit
        if not bad.any():
            yield batch
            continue
        for row in np.flatnonzero(bad):
            error = _error(batch, int(row), labels, limit)
            if on_error == "fail":
                raise error
            report.skip(error)
        yield batch.take(np.flatnonzero(~bad))


def sound(batch: Batch) -> Batch:
    """Return a batch that a program made, whose arrays the kernels read unchecked.

    An indptr of int32, as SciPy has it, is widened.
    Raises DataError where they do not have the shapes, dtypes and values that `Batch` describes.
    """
    if batch.indptr.dtype == np.int32:
        batch = replace(batch, indptr=batch.indptr.astype(np.int64))
    rows, non_zeros = len(batch.labels), len(batch.indices)
    for name, dtype, size in (
        ("indptr", np.int64, rows + 1),
        ("indices", np.int32, non_zeros),
        ("values", np.float32, non_zeros),
        ("labels", np.float32, rows),
        ("weights", np.float32, rows),
        ("fields", np.int32, non_zeros),
        ("groups", np.int64, rows),
    ):
        array = getattr(batch, name)
        if array is None and name not in ("indptr", "indices", "labels"):
            continue
        if array.dtype != dtype or array.shape != (size,):
            raise DataError(f"{name} is {array.dtype} {array.shape}; expected {np.dtype(dtype)} {(size,)}")
    if batch.indptr[0] != 0 or batch.indptr[-1] != non_zeros or (np.diff(batch.indptr) < 0).any():
        raise DataError(f"indptr does not rise from 0 to {non_zeros}, the number of non-zeros")
    if non_zeros and batch.indices.min() < 0:
        row = int(np.searchsorted(batch.indptr, batch.indices.argmin(), "right")) - 1
        raise DataError(f"index {batch.indices.min()}; indices count from 0", **batch.place(row))
    if batch.weights is not None and not (good := np.isfinite(batch.weights) & (batch.weights >= 0)).all():
        row = int(good.argmin())
        raise DataError(f"{batch.weights[row]:g} as weight; expected a finite number from 0 up", **batch.place(row))
    return batch


def largest_indices(batch: Batch) -> np.ndarray:
    """Return the largest index of each row, -1 where it has none."""
    largest = np.full(len(batch), -1, np.int64)
    filled = np.flatnonzero(np.diff(batch.indptr))
    if len(filled):
        largest[filled] = np.maximum.reduceat(batch.indices, batch.indptr[filled])
    return largest


def require_within(batch: Batch, features: int) -> None:
    """Raise DataError for an index that is none of the features that columns made."""
    if batch.feature_dim > features:
        largest = largest_indices(batch)
        row = int(np.argmax(largest >= features))
        raise DataError(
            f"index {largest[row]} is none of the {features} features that the columns of training made",
            **batch.place(row),
        )


def _refused(objective: Any, labels: np.ndarray) -> np.ndarray:
    return np.isnan(labels) | ~objective.accepts(labels)


def _error(batch: Batch, row: int, labels: Any, feature_dim: int | None) -> DataError:
    label = batch.labels[row : row + 1]
    if labels is not None and np.isnan(label[0]):
        return DataError(
            "the row has no label, which training and metrics need; in a table, name its column with --label-column",
            **batch.place(row),
        )
    if labels is not None and _refused(labels, label)[0]:
        return DataError(f"label {label[0]:g}; expected {labels.expected}", **batch.place(row))
    index = int(largest_indices(batch)[row])
    return DataError(
        f"index {index} is beyond the stated feature_dim {feature_dim}; indices count from 0", **batch.place(row)
    )


def known_features(batches: Iterable[Batch], report: Any, *, feature_dim: int, unseen: str) -> Iterator[Batch]:
    """Pass batches on without the non-zeros whose feature the model has not seen, counted in the report.

    unseen: "ignore", or "error" to raise DataError at the first row that holds one.
    """
    for batch in batches:
        known, number = batch.within(feature_dim)
        if number and unseen == "error":
            row = int(np.argmax(largest_indices(batch) >= feature_dim))
            raise DataError(
                f"index {int(largest_indices(batch)[row])} is unknown to the model, whose feature_dim is {feature_dim}",
                **batch.place(row),
            )
        report.count("non-zeros of features unknown to the model ignored", number)
        yield known

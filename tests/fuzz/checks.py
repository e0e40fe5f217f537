"""Conditions that hold for everything a reader returns or refuses, whatever its bytes are."""

import numpy as np

from fmcore.rows.batch import MAX_FEATURE_DIM


def outcome(errors, function, *arguments, **options):
    """Return (the function's result, None), or (None, its error) where it is one of the documented `errors`."""
    try:
        return function(*arguments, **options), None
    except errors as error:
        return None, error


def check_batch(batch):
    """Assert that a Batch conforms to its docstring: sound offsets, indices in range, finite values."""
    indptr, indices, values, weights = batch.indptr, batch.indices, batch.values, batch.weights
    assert (indptr.dtype, indices.dtype, batch.labels.dtype) == (np.int64, np.int32, np.float32)
    assert indptr[0] == 0
    assert indptr[-1] == len(indices)
    assert len(indptr) == len(batch) + 1
    assert (indptr[1:] >= indptr[:-1]).all()
    assert not len(indices) or (indices.min() >= 0 and indices.max() < MAX_FEATURE_DIM)
    if values is not None:
        assert values.dtype == np.float32
        assert len(values) == len(indices)
        assert np.isfinite(values).all()
    if weights is not None:
        assert weights.dtype == np.float32
        assert len(weights) == len(batch)
        assert (np.isfinite(weights) & (weights >= 0)).all()
    assert not np.isinf(batch.labels).any()
    assert batch.ids is None or len(batch.ids) == len(batch)
    numbers = np.asarray(batch.origin.numbers)
    assert len(numbers) == len(batch)
    assert not len(numbers) or (numbers[0] >= 1 and (numbers[1:] > numbers[:-1]).all())


def rows_of(batches, *, ids=True):
    """Return the rows of some batches in a form to compare, bit by bit, whatever their batches and storage."""
    values = [np.ones(len(b.indices), np.float32) if b.values is None else b.values for b in batches]
    weights = [np.ones(len(b), np.float32) if b.weights is None else b.weights for b in batches]
    labels = [np.where(np.isnan(b.labels), np.float32(np.nan), b.labels) for b in batches]
    lengths = [np.diff(b.indptr) for b in batches]
    arrays = (lengths, [b.indices for b in batches], values, labels, weights)
    names = [row_id for b in batches for row_id in (b.ids or [None] * len(b))] if ids else None
    return tuple(b"".join(array.tobytes() for array in column) for column in arrays), names


def numbers_of(batch):
    """Return the numbers of a batch's rows, int64."""
    return np.asarray(batch.origin.numbers, np.int64)


def agree(strict, skipping):
    """Assert that a reader which stops at the first bad unit and one which skips it read alike.

    strict: (Decoded, None) or (None, DataError), as of `outcome`; skipping: Decoded.
    """
    decoded, error = strict
    if error is None:
        assert not len(skipping.skipped)
        assert rows_of([decoded.batch]) == rows_of([skipping.batch])
    else:
        assert str(error) == str(skipping.skipped[0])

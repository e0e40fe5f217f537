"""What the kernels train on: the non-zeros of each mini-batch grouped by feature, or its rows as a matrix.

Which of the two a block becomes depends on its own rows alone, so that rows kept in memory and rows that are streamed,
with any number of threads, give the same bits.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fmcore.kernels.blas import sgemm

CACHE_LINE = 16  # floats
PIECE = 32  # as in fm_dense.h: the columns of a matrix are rounded up to a multiple of it
MATRIX = 1.5  # how many times the bytes of the non-zeros a matrix may take: a third non-zeros, two where all are 1
NON_ZEROS = 1 << 22  # least of a block: fewer are trained ten times in the time that SciPy takes to import


class Groups(NamedTuple):
    """A sparse block's non-zeros by feature, as `group` of _kernels_baseline.pyx returns them."""

    shared: np.ndarray
    bounds: np.ndarray
    features: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    values: np.ndarray | None

    @property
    def size(self):
        """Return how many numbers each factor is multiplied by in a pass."""
        return len(self.rows)


class Cells(NamedTuple):
    """A dense block's rows as a matrix.

    values: float32 (rows, stride), stride being the number of columns rounded up to PIECE.
    present: uint8 (mini-batches, stride), 1 where any row of the mini-batch holds the feature.
    columns: one more than the largest index.
    """

    values: np.ndarray
    present: np.ndarray
    columns: int

    @property
    def size(self):
        """Return how many numbers each factor is multiplied by in a pass."""
        return self.values.size


def prepared(block, kernels, threads):
    """Return the block with `groups`: Groups, and the non-zeros of its rows in their order; or Cells, without them."""
    batch = block.batch
    if is_dense(batch):
        columns = batch.feature_dim
        values = aligned_zeros(len(batch), stride(columns))
        present = kernels.matrix(batch, block.starts, values, threads)
        if present is not None:
            return replace(block, batch=without_features(batch), groups=Cells(values, present, columns))
    indices, values, *groups = kernels.group(batch, block.starts, threads)
    fields = None if batch.fields is None else _in_group_order(batch, block.starts, kernels, threads)
    batch = replace(batch, indices=indices, values=values, fields=fields)
    return replace(block, batch=batch, groups=Groups(*groups))


def _in_group_order(batch, starts, kernels, threads):
    """Return the fields, int32 (non-zeros,), in the order in which grouping puts the non-zeros of each row.

    Grouping copies values and does not look at them, so it moves the bits of fields as well.
    """
    return kernels.group(replace(batch, values=batch.fields.view(np.float32)), starts, threads)[1].view(np.int32)


def is_dense(batch):
    """Return whether the rows are full enough for a matrix, are many enough, and have no fields, which it cannot hold.

    With a third of non-zeros, products of matrices are as fast with BLAS for AVX2 and 1.5 to 2 times as fast with BLAS
    for AVX-512, whatever the number of factors and the mini-batch; the matrix then takes less memory than groups.
    """
    if batch.fields is not None:
        return False
    non_zeros = batch.indices.nbytes + (0 if batch.values is None else batch.values.nbytes)
    size = 4 * len(batch) * stride(batch.feature_dim)
    return len(batch.indices) >= NON_ZEROS and size <= MATRIX * non_zeros and sgemm() is not None


def stride(columns):
    """Return the number of floats from one row of a matrix to the next."""
    return -(-columns // PIECE) * PIECE


def without_features(batch):
    """Return the batch with what it has of each row only (labels, weights, groups), without non-zeros and fields."""
    indptr, indices = np.zeros(len(batch) + 1, np.int64), np.empty(0, np.int32)
    return replace(batch, indptr=indptr, indices=indices, values=None, fields=None)


def aligned_zeros(rows, columns):
    """Return float32 zeros (rows, columns) that begin on a cache line."""
    raw = np.zeros(rows * columns + CACHE_LINE, np.float32)
    skip = -(raw.ctypes.data // raw.itemsize) % CACHE_LINE
    return raw[skip : skip + rows * columns].reshape(rows, columns)

"""A block's rows in the memory of the host, as they are copied to a device."""

from typing import NamedTuple

import numpy as np

from fmcore.kernels.pytorch.table import padded


class Host(NamedTuple):
    """A block's rows in the memory of the host, as they are copied to the device: NumPy arrays, pinned for a GPU.

    lengths: int64 (rows,), non-zeros of each. indices: int32 (non-zeros,), or None where each row holds all columns in
    their order. values, labels, weights: as in a Batch. means: float32 (rows,), one over the rows of the mini-batch.
    starts: int64 (mini-batches + 1,); all mini-batches but the last are of one size. sizes: int64 (mini-batches,), the
    rows of each, all of them where the block's are a part. columns: how many the rows have.
    """

    lengths: np.ndarray
    indices: np.ndarray | None
    values: np.ndarray | None
    labels: np.ndarray
    weights: np.ndarray | None
    means: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    columns: int

    @property
    def device_bytes(self):
        """Return how many bytes the Matrix takes on a device while it is made."""
        cells = len(self.labels) * padded(1 + self.columns)
        return 4 * cells + 16 * len(self.labels) + (0 if self.indices is None else cells + 24 * len(self.indices))


class WholeBlock(NamedTuple):
    """The block that some rows are a part of: sizes of its mini-batches, int64, and the columns of all its rows."""

    sizes: np.ndarray
    columns: int


def host_rows(block, whole_block=None):
    """Return a block's rows as Host; whole_block: the WholeBlock where they are a part of a larger one."""
    batch, starts = block.batch, block.starts
    own_sizes = np.diff(starts)
    sizes, columns = whole_block or (own_sizes, batch.feature_dim)
    means = np.repeat((1 / np.maximum(sizes, 1)).astype(np.float32), own_sizes)
    full = 0 < len(batch) * columns == len(batch.indices) and bool(
        (batch.indices.reshape(len(batch), columns) == np.arange(columns, dtype=np.int32)).all()
    )
    arrays = (None if full else batch.indices, batch.values, batch.labels, batch.weights)
    own = (None if array is None else np.require(array, requirements="CW") for array in arrays)  # PyTorch requires it
    return Host(np.diff(batch.indptr), *own, means, starts, sizes, columns)

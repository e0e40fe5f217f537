"""A block's mini-batches a slice at a time, so that training can be saved, stopped and reported within a block.

Where a slice ends depends on the block alone, never on where training was stopped.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

ROWS = 1 << 14
WORK = 1 << 23  # multiplications by a factor in one pass: some tens of milliseconds on one processor


class HasStarts(Protocol):
    """Rows in mini-batches: mini-batch m holds the rows starts[m] .. starts[m + 1]."""

    @property
    def starts(self) -> np.ndarray:
        """Return where the mini-batches begin, int64 (mini-batches + 1,)."""
        ...


def slice_size(rows: int, non_zeros: int, mini_batch_size: int, num_factors: int) -> int:
    """Return how many mini-batches make a slice of a block of so many rows and non-zeros."""
    work = max(1, non_zeros * num_factors // rows)
    return max(1, min(ROWS, WORK // work) // mini_batch_size)


def slices(order: np.ndarray, size: int, first: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the mini-batches of `order` from the `first` on, `size` at a time.

    Each time: (how many of all are then trained, the slice).
    """
    for begin in range(first, len(order), size):
        yield min(begin + size, len(order)), order[begin : begin + size]


def rows_of(block: HasStarts, order: np.ndarray) -> np.ndarray:
    """Return the rows of these mini-batches, one after the other, int64."""
    starts = block.starts[order]
    lengths = block.starts[order + 1] - starts
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1])

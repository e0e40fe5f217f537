"""A worker's mini-batches in the order of an epoch, any stretch of them."""

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from fmcore.kernels._exchange import mark
from fmcore.kernels.prepared import Cells
from fmcore.rows.blocks import Block
from fmcore.solvers.epoch import order_of


class Part(NamedTuple):
    """Some mini-batches of a prepared Block: those of `order` (int64) from number `first` on."""

    block: Block
    order: np.ndarray
    first: int


class Feed:
    """Gives stretches of an epoch; one that goes on where the last has ended costs nothing extra.

    dataset: a settled fmcore.rows.dataset.Dataset. size: mini-batches of an epoch.
    """

    def __init__(self, dataset):
        self._dataset = dataset
        batches = -(-np.array(dataset.block_rows, np.int64) // dataset.mini_batch_size)
        self._ends = np.cumsum(batches)
        self.size = int(batches.sum())
        self._open, self._blocks = ExitStack(), None
        self._place = self._block = None  # (epoch, number) of the block that is here

    def take(self, epoch, first, last):
        """The mini-batches first .. last of an Epoch, as a list of Parts."""
        parts = []
        while first < last:
            number = int(np.searchsorted(self._ends, first, side="right"))
            begin = int(self._ends[number - 1]) if number else 0
            stop = min(last, int(self._ends[number]))
            block = self._reach(epoch.number, number)
            order = order_of(block, self._dataset.first_block + number, epoch)
            parts.append(Part(block, order[: stop - begin], first - begin))
            first = stop
        return parts

    def close(self):
        """Let go of what is read ahead."""
        self._open.close()
        self._place = self._block = None

    def _reach(self, epoch, number):
        if self._place == (epoch, number):
            return self._block
        if self._place is None or (epoch, number - 1) != self._place:
            self.close()
            self._blocks = self._open.enter_context(self._dataset.epoch(number))
        self._block, self._place = next(self._blocks), (epoch, number)
        return self._block


def touched(parts, seen, threads=1):
    """The features that some mini-batches hold, int32, rising; seen: uint8 (feature_dim,) of zeros, left so."""
    for block, order, first in parts:
        if isinstance(block.groups, Cells):
            seen[: block.groups.columns] = 1
        else:
            mark(block.batch.indptr, block.batch.indices, block.starts, order[first:], seen, threads)
    return marked(seen)


def marked(seen):
    """Where `seen` (uint8) is 1, int32, rising; it is 0 everywhere afterwards."""
    features = np.flatnonzero(seen.view(bool)).astype(np.int32)
    seen[features] = 0
    return features

"""A worker's mini-batches in the order of an epoch, any stretch of them."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from fmcore.kernels import SharedBackend
from fmcore.rows.blocks import Block
from fmcore.rows.dataset import Dataset
from fmcore.solvers.epoch import Epoch, order_of


class Stretch(NamedTuple):
    """Some mini-batches of a prepared Block: those of `order` (int64) from number `first` on."""

    block: Block
    order: np.ndarray
    first: int


class Feed:
    """Stretches of an epoch; one that begins where the last has ended costs nothing extra.

    dataset: a loaded Dataset. size: mini-batches of an epoch.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        batches = -(-np.array(dataset.block_rows, np.int64) // dataset.mini_batch_size)
        self._ends = np.cumsum(batches)
        self.size = int(batches.sum())
        self._open = ExitStack()
        self._blocks: Iterator[Block] = iter(())
        self._block: Block | None = None
        self._place: tuple[int, int] | None = None  # (epoch, number) of that block

    def take(self, epoch: Epoch, first: int, last: int) -> list[Stretch]:
        """Return the mini-batches first .. last of an Epoch."""
        stretches = []
        while first < last:
            number = int(np.searchsorted(self._ends, first, side="right"))
            begin = int(self._ends[number - 1]) if number else 0
            stop = min(last, int(self._ends[number]))
            block = self._reach(epoch.number, number)
            order = order_of(block, self._dataset.first_block + number, epoch)
            stretches.append(Stretch(block, order[: stop - begin], first - begin))
            first = stop
        return stretches

    def close(self) -> None:
        """Free what was prefetched."""
        self._open.close()
        self._place = self._block = None

    def _reach(self, epoch: int, number: int) -> Block:
        if self._block is not None and self._place == (epoch, number):
            return self._block
        if self._place is None or (epoch, number - 1) != self._place:
            self.close()
            self._blocks = self._open.enter_context(self._dataset.epoch(number))
        self._block, self._place = next(self._blocks), (epoch, number)
        return self._block


def touched(stretches: Iterable[Stretch], seen: np.ndarray, backend: SharedBackend) -> np.ndarray:
    """Return the features that some mini-batches hold, int32, rising.

    seen: uint8 (feature_dim,) of zeros, left so. backend: which has prepared the blocks.
    """
    for block, order, first in stretches:
        backend.mark(block, order[first:], seen)
    return marked(seen)


def marked(seen: np.ndarray) -> np.ndarray:
    """Return where `seen` (uint8) is 1, int32, rising; it is 0 everywhere afterwards."""
    features = np.flatnonzero(seen.view(bool)).astype(np.int32)
    seen[features] = 0
    return features

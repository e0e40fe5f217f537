"""Rows cut into blocks, the unit that training shuffles, groups and streams.

Where a block ends depends on the rows alone, never on how a reader cut them or on whether they are kept in memory; so
does the order within it. Data that streams from disk is therefore trained exactly as data in memory.
"""

from __future__ import annotations  # so that a type does not import NumPy's random numbers at start

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from fmcore.rows.batch import Batch, concatenate
from fmcore.rows.slices import slice_size

BLOCK_ROWS = 1 << 17
BLOCK_NON_ZEROS = 1 << 24  # so that wide rows do not make a block of gigabytes


class Ordered(Protocol):
    """The hyperparameters that decide in which order rows are trained."""

    @property
    def shuffle(self) -> bool:
        """Whether rows and mini-batches are shuffled."""

    @property
    def seed(self) -> int:
        """Return the seed of the shuffling."""

    @property
    def num_factors(self) -> int:
        """Return the length of a factor vector, which decides how much work a slice may hold."""


class Counts(NamedTuple):
    """Numbers of rows that hold some features.

    features: int32 (n,). rows: float32 (n,), each row by its weight. total: of all.
    """

    features: np.ndarray
    rows: np.ndarray
    total: float


@dataclass(slots=True)
class Block:
    """Up to BLOCK_ROWS rows in the order of training.

    starts: int64 (mini-batches + 1,): mini-batch m holds the rows starts[m] .. starts[m + 1].
    groups: what the backend adds to train on it (see fmcore.kernels), or None; it may replace the batch's features.
    slice_size: mini-batches that are trained at a time (see fmcore.rows.slices).
    counts: rows that hold each feature and were not known before, which a trainer counts first; or None.
    """

    batch: Batch
    starts: np.ndarray
    groups: Any = None
    slice_size: int = BLOCK_ROWS
    counts: Counts | None = None


def cut(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Join and cut a stream of batches into batches of BLOCK_ROWS rows, fewer where BLOCK_NON_ZEROS are reached."""
    parts, rows, non_zeros = [], 0, 0
    for batch in batches:
        first = 0
        while first < len(batch):
            room = np.searchsorted(batch.indptr, batch.indptr[first] + BLOCK_NON_ZEROS - non_zeros)
            last = int(min(len(batch), first + BLOCK_ROWS - rows, max(room, first + 1)))
            parts.append(batch if (first, last) == (0, len(batch)) else batch.take(slice(first, last)))
            rows += last - first
            non_zeros += int(batch.indptr[last] - batch.indptr[first])
            first = last
            if rows == BLOCK_ROWS or non_zeros >= BLOCK_NON_ZEROS:
                yield concatenate(parts)
                parts, rows, non_zeros = [], 0, 0
    if parts:
        yield concatenate(parts)


def auto_mini_batch_size(rows: int, non_zeros: int, *, small: bool = False) -> int:
    """Return 256 where the first block is full, else a 2000th of its rows, at least 16: small data needs small steps.

    rows, non_zeros: of that block, or of all, of which that block would be the first. small: whether at least 4 will
    do, where there are fewer than 60 mini-batches of 16, so that few rows make many steps.
    """
    first = min(rows, BLOCK_NON_ZEROS * rows // max(1, non_zeros))
    usual = 256 if first >= BLOCK_ROWS else max(16, first // 2000)
    return min(usual, max(4, first // 60)) if small else usual


def make_block(batch: Batch, number: int, mini_batch_size: int, hyperparameters: Ordered) -> Block:
    """Return block `number` (from 0) of the data: its rows in the order of training, cut into mini-batches."""
    if hyperparameters.shuffle:
        batch = batch.take(generator(hyperparameters.seed, "rows", number).permutation(len(batch)))
    starts = np.append(np.arange(0, len(batch), mini_batch_size, dtype=np.int64), len(batch))
    size = slice_size(len(batch), len(batch.indices), mini_batch_size, hyperparameters.num_factors)
    return Block(batch, starts, slice_size=size)


def mini_batch_order(block: Block, number: int, epoch: int, hyperparameters: Ordered) -> np.ndarray:
    """Return the order of a block's mini-batches in an epoch (both from 0), int64."""
    batches = len(block.starts) - 1
    if not hyperparameters.shuffle:
        return np.arange(batches)
    return generator(hyperparameters.seed, "mini-batches", number, epoch).permutation(batches)


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return random numbers for one purpose: the same for the same seed and purpose, unrelated to any other's."""
    words = [word if isinstance(word, int) else int.from_bytes(word.encode(), "big") for word in purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))

"""Training rows where every epoch has its own pipe; the first block shows what must be known beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fmcore.errors import DataError
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import BLOCK_NON_ZEROS, BLOCK_ROWS, Block, Counts, cut
from fmcore.rows.dataset import Dataset, Prepared
from fmcore.rows.prefetch import prefetch

if TYPE_CHECKING:
    from typing_extensions import Self

Limit = Callable[[], int | None]


def counts_of(batch: Batch, mean_weight: float) -> Counts:
    """Return how many rows of a batch, as training sees it, hold each feature."""
    weights = None if batch.weights is None else np.repeat(batch.weights / mean_weight, np.diff(batch.indptr))
    indices = batch.indices
    if batch.values is not None:
        indices, weights = indices[batch.values != 0], weights if weights is None else weights[batch.values != 0]
    rows = np.bincount(indices, weights)
    features = np.flatnonzero(rows).astype(np.int32)
    total = len(batch) if batch.weights is None else float(batch.weights.sum() / mean_weight)
    return Counts(features, rows[features].astype(np.float32), total)


class PipedDataset(Dataset):
    """A Dataset whose passes are each read once; the first begins in `load` and is the first epoch.

    read: called with a function for an iterator of Batches over the rows of the next pass. That function returns the
    feature_dim below which indices must lie at the moment of the call, or None while it is not yet known.
    cancel: called without arguments where a pass is given up; it must wake up whatever waits for its rows.
    reserved: see Dataset.

    After `load`: as of a Dataset, learned from the first block; rows and non_zeros become those of an epoch at its end.
    """

    complete = False

    def __init__(
        self,
        read: Callable[[Limit], Iterable[Batch]],
        hyperparameters: Prepared,
        prepare: Callable[[Block], Block],
        cancel: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(read, hyperparameters, prepare, 0, rereadable=False, **options)
        self._cancel = cancel
        self._limit = hyperparameters.feature_dim
        self._begun: Iterator[Batch] | None = None  # the raw blocks of the pass that `load` began
        self.in_memory = False
        self._passes = 0  # begun
        self._first = (0, 0)  # non-zeros and rows of the first block

    def load(self) -> Self:
        """Read the first block of the first pass, and no further; the first epoch begins with it."""
        blocks = self._next_pass()
        for first in itertools.islice(blocks, 1):
            self._learn(first)
            self._first = len(first.indices), len(first)
            self._begun = itertools.chain([first], blocks)
        return self._finish_alone()

    @property
    def known_rows(self) -> int | None:
        """See Dataset; a first block that is not full is all that there is."""
        non_zeros, rows = self._first
        return rows if rows < BLOCK_ROWS and non_zeros < BLOCK_NON_ZEROS else None

    def widen(self, feature_dim: int) -> None:
        """State how many features there are; a row with more is refused from here on."""
        super().widen(feature_dim)
        self._limit = feature_dim

    @contextmanager
    def epoch(self, first: int = 0) -> Iterator[Iterator[Block]]:  # noqa: ARG002 - a pass always begins with the first one
        """Provide an iterator over the prepared blocks, in order; its pipe is opened here and not before."""
        blocks, self._begun = self._begun or self._next_pass(), None
        with prefetch(self._prepared(blocks), cancel=self._cancel) as prepared:
            yield prepared

    def _next_pass(self) -> Iterator[Batch]:
        return cut(self._watched(self._read(lambda: self._limit)))

    def _watched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches.

        The first block's last batch may reach beyond that block, and is not held to a limit learned from it.
        """
        for batch in batches:
            self.feature_dim = max(self.feature_dim, batch.feature_dim)
            yield batch

    def _prepared(self, blocks: Iterator[Batch]) -> Iterator[Block]:
        rows = non_zeros = 0
        first, self._passes = self._passes == 0, self._passes + 1
        for number, batch in enumerate(blocks):
            rows += len(batch)
            non_zeros += len(batch.indices)
            block = self._block(batch, number)
            if first and number and self.evidence is not None:
                block.counts = counts_of(self.scaling.features(batch), self.evidence.mean_weight)
            yield block
        if not rows:
            raise DataError("no rows to train on")
        self.rows, self.non_zeros = rows, non_zeros

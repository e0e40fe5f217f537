"""Training rows where every epoch has its own pipe; the first block shows what must be known beforehand."""

import itertools
from contextlib import contextmanager

from fmcore.errors import DataError
from fmcore.rows.blocks import cut
from fmcore.rows.dataset import Dataset
from fmcore.rows.prefetch import prefetch


class PipedDataset(Dataset):
    """A Dataset whose passes are each read once; the first begins in `load` and is the first epoch.

    read: called with a function for an iterator of Batches over the rows of the next pass. That function returns the
    feature_dim below which indices must lie at the moment of the call, or None while it is not yet known.
    cancel: called without arguments where a pass is given up; it must wake up whatever waits for its rows.
    reserved: see Dataset.

    After `load`: as of a Dataset, learned from the first block; rows and non_zeros become those of an epoch at its end.
    """

    complete = False

    def __init__(self, read, hyperparameters, prepare, cancel, **options):
        super().__init__(read, hyperparameters, prepare, 0, rereadable=False, **options)
        self._cancel = cancel
        self._limit = hyperparameters.feature_dim
        self._begun = None  # the raw blocks of the pass that `load` began
        self.in_memory = False

    def load(self):
        """Read the first block of the first pass, and no further; the first epoch begins with it."""
        blocks = self._next_pass()
        for first in itertools.islice(blocks, 1):
            self._learn(first)
            self._begun = itertools.chain([first], blocks)
        return self._finish_alone()

    def widen(self, feature_dim):
        """State how many features there are; a row with more is refused from here on."""
        super().widen(feature_dim)
        self._limit = feature_dim

    @contextmanager
    def epoch(self, first=0):  # noqa: ARG002 - a pass always begins with the first one
        """Provide an iterator over the prepared blocks, in order; its pipe is opened here and not before."""
        blocks, self._begun = self._begun or self._next_pass(), None
        with prefetch(self._prepared(blocks), cancel=self._cancel) as prepared:
            yield prepared

    def _next_pass(self):
        return cut(self._watched(self._read(lambda: self._limit)))

    def _watched(self, batches):
        """Yield the batches.

        The first block's last batch may reach beyond that block, and is not held to a limit learned from it.
        """
        for batch in batches:
            self.feature_dim = max(self.feature_dim, batch.feature_dim)
            yield batch

    def _prepared(self, blocks):
        rows = non_zeros = 0
        for number, batch in enumerate(blocks):
            rows += len(batch)
            non_zeros += len(batch.indices)
            yield self._block(batch, number)
        if not rows:
            raise DataError("no rows to train on")
        self.rows, self.non_zeros = rows, non_zeros

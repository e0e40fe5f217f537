"""Training rows as blocks: kept in memory where they fit, else decoded anew each epoch, with the same result."""
from contextlib import contextmanager, nullcontext

import numpy as np

from fmcore.ahead import ahead
from fmcore.blocks import auto_mini_batch_size, cut, make_block
from fmcore.errors import DataError, ResourceError
from fmcore.scaling import FeatureScale, scaled

PREPARED = 2.5  # how many times its bytes a block takes once a backend has added its groups


class Dataset:
    """The blocks of one data set.

    The blocks are kept as they were read and prepared once the scale of the features is known (see fmcore.scaling).

    read: called without arguments for an iterator of Batches over all rows, in the same order each time.
    rereadable: whether it may be called again (a pipe may not).
    prepare: turns a Block into what the backend trains on.
    memory_limit: bytes that the blocks may take before they are streamed instead.
    least_scale: float32, below which the scale of the first features may not be (see fmcore.scaling), or None.

    After `load`: rows, non_zeros, feature_dim (as the rows have it), mini_batch_size, in_memory, mean_label
    (weighted), scale (float32 (feature_dim,) or None). complete: whether these are of all rows.
    """

    complete = True

    def __init__(self, read, hyperparameters, prepare, memory_limit, *, rereadable=True, least_scale=None):
        self._read, self._rereadable, self._least_scale = read, rereadable, least_scale
        self._hyperparameters, self._prepare, self._memory_limit = hyperparameters, prepare, memory_limit
        self._kept = []
        self._weighted = np.zeros(2)  # sum of the labels, and of the weights
        self.rows = self.non_zeros = 0
        self.feature_dim = hyperparameters.feature_dim or 1
        self.mini_batch_size = hyperparameters.mini_batch_size
        self.mean_label = 0.0
        self.in_memory = True
        self.scale = None

    def load(self):
        """Read everything once: keep the blocks if they fit, and learn the sizes either way."""
        raw, size, scale = [], 0, FeatureScale(self._least_scale)
        for batch in cut(self._read()):
            self._learn(batch, scale)
            if self.in_memory:
                raw.append(batch)
                size += int(batch.nbytes * PREPARED)
                if size > self._memory_limit:
                    self._stream()
                    raw = []
        self._settle(scale)
        for number in range(len(raw)):
            self._kept.append(self._block(raw[number], number))
            raw[number] = None  # its memory is free before the next one is prepared
        return self

    def widen(self, feature_dim):
        """State that the data has more features than its rows show."""
        if self.scale is not None:
            self.scale = np.append(self.scale, np.ones(feature_dim - len(self.scale), np.float32))
        self.feature_dim = feature_dim

    @contextmanager
    def epoch(self, first=0):
        """An iterator over the prepared blocks, in order, from number `first` on."""
        blocks = nullcontext(iter(self._kept[first:])) if self.in_memory else ahead(self._decoded(first))
        with blocks as iterator:
            yield iterator

    def _decoded(self, first):
        for number, batch in enumerate(cut(self._read())):
            if number >= first:
                yield self._block(batch, number)

    def _learn(self, batch, scale):
        self.rows += len(batch)
        self.non_zeros += len(batch.indices)
        self.feature_dim = max(self.feature_dim, batch.feature_dim)
        if self.mini_batch_size is None:
            self.mini_batch_size = auto_mini_batch_size(batch)
        self._weighted += weighted_sums(batch)
        if self._hyperparameters.feature_scaling == "rms":
            scale.add(batch)

    def _settle(self, scale):
        """Set what follows from all that was learned."""
        if not self.rows:
            raise DataError("no rows to train on")
        labels, weights = self._weighted
        self.mean_label = float(labels / weights) if weights else 0.0
        self.scale = scale.result(self.feature_dim)

    def _block(self, batch, number):
        block = make_block(scaled(batch, self.scale), number, self.mini_batch_size, self._hyperparameters)
        return self._prepare(block)

    def _stream(self):
        if not self._rereadable:
            raise ResourceError(
                f"the training rows do not fit in {self._memory_limit:,} bytes of memory, and a pipe cannot be read "
                "again for the next epoch; give a file, or more memory with --memory-limit")
        self.in_memory = False


def weighted_sums(batch):
    """Of the labels and of the weights, float64."""
    if batch.weights is None:
        return np.array([np.sum(batch.labels, dtype=np.float64), len(batch)])
    weights = batch.weights.astype(np.float64)
    return np.array([weights @ batch.labels, weights.sum()])

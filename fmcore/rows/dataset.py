"""Training rows as blocks: in memory where they fit, else decoded and kept in a file, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fmcore.errors import DataError, ResourceError
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block, Ordered, auto_mini_batch_size, cut, make_block
from fmcore.rows.fingerprint import FirstPass
from fmcore.rows.prefetch import prefetch
from fmcore.rows.scaling import FeatureScale, scaled
from fmcore.rows.spill import Spill

if TYPE_CHECKING:
    from typing_extensions import Self

AT_ONCE = 3  # blocks: one is trained, one waits, one is being decoded
WEIGHTLESS = "all rows have weight 0; training needs rows of positive weight"
PREPARED = 2.5  # how many times its bytes a block takes once a backend has added its groups


class Prepared(Ordered, Protocol):
    """The hyperparameters by which rows are prepared."""

    @property
    def mini_batch_size(self) -> int | None:
        """Return the rows of a mini-batch; None to choose by the number of rows."""

    @property
    def feature_dim(self) -> int | None:
        """Return how many features there are; None for as many as the rows show."""

    @property
    def feature_scaling(self) -> str:
        """Return "rms" where values are divided by the scale of their feature."""

    @property
    def epochs(self) -> int:
        """Return how many epochs are trained."""


class Dataset:
    """The blocks of one data set.

    The blocks are kept as they were read and prepared once the scale of the features is known (see scaling.py).

    read: called without arguments for an iterator of Batches over all rows, in the same order each time.
    rereadable: whether it may be called again (a pipe may not).
    prepare: a function from a Block to what the backend trains on.
    memory_limit: bytes that the blocks may take before they are streamed instead; then every epoch that decodes must
    find the same rows again, else it raises DataError. They are kept in a file after the first whole epoch (spill.py).
    reserved: a function from feature_dim to those bytes of the limit that are not for blocks; asked before anything of
    that size is allocated, so it may raise.
    least_scale: float32, below which the scale of the first features may not be (see fmcore.rows.scaling), or None.

    After `load`, which is `read` and `finish`: rows, non_zeros, feature_dim (as the rows have it), mini_batch_size,
    in_memory, mean_label (weighted), scale (float32 (feature_dim,) or None), block_rows (rows of each block). complete:
    whether these are of all rows.
    """

    complete: bool = True

    rows: int
    non_zeros: int
    feature_dim: int
    mean_label: float
    mini_batch_size: int  # 0 until a row is read, where it is not given
    in_memory: bool
    scale: np.ndarray | None

    def __init__(
        self,
        read: Callable[..., Iterable[Batch]],
        hyperparameters: Prepared,
        prepare: Callable[[Block], Block],
        memory_limit: float,
        *,
        rereadable: bool = True,
        reserved: Callable[[int], float] = lambda _: 0,
        least_scale: np.ndarray | None = None,
    ) -> None:
        self._read, self._rereadable, self._reserved = read, rereadable, reserved
        self._hyperparameters, self._prepare, self._memory_limit = hyperparameters, prepare, memory_limit
        self._raw: list[Batch] = []
        self._kept: list[Block] = []
        self._first_pass, self._spill = FirstPass(), Spill()
        self.first_block = 0
        self.block_rows: list[int] = []
        self.weighted = np.zeros(2)  # sum of the labels, and of the weights
        self.learned_scale = FeatureScale(least_scale)
        self._bytes = self._largest = 0  # of all blocks, and of one
        self.rows = self.non_zeros = 0
        self.feature_dim = hyperparameters.feature_dim or 1
        self.mini_batch_size = hyperparameters.mini_batch_size or 0
        self.mean_label = 0.0
        self.in_memory = True
        self.scale = None

    def load(self) -> Self:
        """Read everything once: keep the blocks if they fit, and learn the sizes either way."""
        self.read()
        return self._finish_alone()

    def read(self) -> None:
        """Learn from all rows, the first half of `load`; weighted and learned_scale can be summed over more data sets.

        weighted: float64 (2,), sums of the labels and of the weights. learned_scale: a FeatureScale.
        """
        for batch in cut(self._read()):
            self._learn(batch)
            self._raw.append(batch)
            if self.in_memory and self._bytes > self._room:
                self._stream()
            while self._raw and not self.in_memory:
                self._first_pass.add(self._raw.pop(0))

    def finish(
        self, mean_label: float, scale: np.ndarray | None, mini_batch_size: int | None = None, first_block: int = 0
    ) -> Self:
        """Make the blocks of what was read, the other half of `load`, now that all is known.

        mini_batch_size: the one to use in place of the one that these rows suggest. first_block: the number of the
        first block, which decides with the seed how its rows are shuffled.
        """
        self.mean_label, self.scale, self.first_block = mean_label, scale, first_block
        self.mini_batch_size = mini_batch_size or self.mini_batch_size
        while self._raw:  # the memory of each is free before the next one is prepared
            self._kept.append(self._block(self._raw.pop(0), len(self._kept)))
        return self

    def _finish_alone(self) -> Self:
        """Finish loading by what was learned from these rows, which are all that there are."""
        if not self.rows:
            raise DataError("no rows to train on")
        if self.complete and not self.weighted[1]:
            raise DataError(WEIGHTLESS)
        return self.finish(mean_label(self.weighted), self.learned_scale.result(self.feature_dim))

    @property
    def memory(self) -> int:
        """Return the bytes that the blocks take: all where they are kept, else those that are under way at once."""
        return self._bytes if self.in_memory else AT_ONCE * self._largest

    def widen(self, feature_dim: int) -> None:
        """State that the data has more features than its rows show."""
        if self.scale is not None:
            self.scale = np.append(self.scale, np.ones(feature_dim - len(self.scale), np.float32))
        self.feature_dim = feature_dim

    @contextmanager
    def epoch(self, first: int = 0) -> Iterator[Iterator[Block]]:
        """Provide an iterator over the prepared blocks, in order, from number `first` on."""
        blocks = nullcontext(iter(self._kept[first:])) if self.in_memory else prefetch(self._streamed(first))
        with blocks as iterator:
            yield iterator

    def _streamed(self, first: int) -> Iterator[Block]:
        if self._spill.complete:
            return self._spill.blocks(first)
        decoded = self._decoded(first)
        return decoded if first or self._hyperparameters.epochs == 1 else self._spill.filled(decoded)

    def _decoded(self, first: int) -> Generator[Block, None, None]:
        for number, batch in enumerate(self._first_pass.again(cut(self._read()))):
            if number >= first:
                yield self._block(batch, number)

    def _learn(self, batch: Batch) -> None:
        taken = int(batch.nbytes * PREPARED)
        self._bytes, self._largest = self._bytes + taken, max(self._largest, taken)
        self.rows += len(batch)
        self.non_zeros += len(batch.indices)
        self.feature_dim = max(self.feature_dim, batch.feature_dim)
        self._room = self._memory_limit - self._reserved(self.feature_dim)
        if not self.mini_batch_size:
            self.mini_batch_size = auto_mini_batch_size(len(batch), len(batch.indices))
        self.block_rows.append(len(batch))
        self.weighted += weighted_sums(batch)
        if self._hyperparameters.feature_scaling == "rms":
            self.learned_scale.add(batch)

    def _block(self, batch: Batch, number: int) -> Block:
        block = make_block(
            scaled(batch, self.scale), self.first_block + number, self.mini_batch_size, self._hyperparameters
        )
        return self._prepare(block)

    def _stream(self) -> None:
        if not self._rereadable:
            raise ResourceError(
                f"the training rows do not fit in {self._memory_limit:,} bytes of memory, and a pipe cannot be read "
                "again for the next epoch; give a file, or more memory with --memory-limit"
            )
        self.in_memory = False


def mean_label(weighted: np.ndarray) -> float:
    """Return the weighted mean of labels, given the sums of both; 0 without any weight."""
    labels, weights = weighted
    return float(labels / weights) if weights else 0.0


def weighted_sums(batch: Batch) -> np.ndarray:
    """Return the sums of the labels and of the weights, float64 (2,)."""
    if batch.weights is None:
        return np.array([np.sum(batch.labels, dtype=np.float64), len(batch)])
    weights = batch.weights.astype(np.float64)
    return np.array([weights @ batch.labels, weights.sum()])

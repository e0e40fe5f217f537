"""Training rows as blocks: in memory where they fit, else decoded and kept in a file, with the same result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from fmcore.errors import DataError, ResourceError
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block, Ordered, auto_mini_batch_size, cut, make_block
from fmcore.rows.evidence import Evidence
from fmcore.rows.fingerprint import FirstPass
from fmcore.rows.prefetch import prefetch
from fmcore.rows.scaling import Known, Scaling, scaling_of
from fmcore.rows.spill import Spill
from fmcore.rows.sums import FeatureSums, LabelSums

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
        """Return how values are scaled; see fmcore.rows.scaling."""

    @property
    def label_scaling(self) -> str:
        """Return "standard" where labels are standardised."""

    @property
    def penalty(self) -> str:
        """Return "rows" where it must be known how many rows each feature has."""

    @property
    def epochs(self) -> int | None:
        """Return how many epochs are trained; None where that is not decided yet."""

    @property
    def shifts(self) -> bool:
        """Return whether columns may be centred and labels standardised."""

    def uses(self, group: str) -> bool:
        """Return whether the model has weights of a group."""


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
    known: the scaling of the model to start from.

    After `load`, which is `read` and `finish`: rows, non_zeros, feature_dim (as the rows have it), mini_batch_size,
    in_memory, mean_label (weighted), scaling, evidence (None unless penalties go by rows), block_rows (rows of each
    block). complete: whether these are of all rows.
    """

    complete: bool = True

    rows: int
    non_zeros: int
    feature_dim: int
    mean_label: float
    mini_batch_size: int  # 0 until a row is read, where it is not given
    in_memory: bool
    scaling: Scaling
    evidence: Evidence | None = None

    def __init__(
        self,
        read: Callable[..., Iterable[Batch]],
        hyperparameters: Prepared,
        prepare: Callable[[Block], Block],
        memory_limit: float,
        *,
        rereadable: bool = True,
        reserved: Callable[[int], float] = lambda _: 0,
        known: Known | None = None,
    ) -> None:
        self._read, self._rereadable, self._reserved = read, rereadable, reserved
        self._hyperparameters, self._prepare, self._memory_limit = hyperparameters, prepare, memory_limit
        self._raw: list[Batch] = []
        self._sample_rows, self._sample = 0, list[Batch]()
        self._kept: list[Block] = []
        self._first_pass, self._spill = FirstPass(), Spill()
        self.first_block = 0
        self.block_rows: list[int] = []
        self.label_sums, self._known = LabelSums(), known or Known()
        self.feature_sums = FeatureSums(every=needs_counts(hyperparameters))
        self._bytes = self._largest = 0  # of all blocks, and of one
        self.rows = self.non_zeros = 0
        self.feature_dim = hyperparameters.feature_dim or 1
        self.mini_batch_size = hyperparameters.mini_batch_size or 0
        self.mean_label = 0.0
        self.in_memory = True
        self.scaling = Scaling()

    def load(self) -> Self:
        """Read everything once: keep the blocks if they fit, and learn the sizes either way."""
        self.read()
        return self._finish_alone()

    def read(self) -> None:
        """Learn from all rows, the first half of `load`; label_sums and feature_sums can be merged with others'."""
        for batch in cut(self._read()):
            if self.rows < self._sample_rows:
                self._sample.append(batch)
            self._learn(batch)
            self._raw.append(batch)
            if self.in_memory and self._bytes > self._room:
                self._stream()
            while self._raw and not self.in_memory:
                self._first_pass.add(self._raw.pop(0))

    def finish(self, scaling: Scaling, mini_batch_size: int | None = None, first_block: int = 0) -> Self:
        """Make the blocks of what was read, the other half of `load`, now that all is known.

        mini_batch_size: the one to use in place of the one that these rows suggest. first_block: the number of the
        first block, which decides with the seed how its rows are shuffled.
        """
        self.scaling, self.first_block = scaling, first_block
        self.mini_batch_size = mini_batch_size or self.mini_batch_size
        while self._raw:  # the memory of each is free before the next one is prepared
            self._kept.append(self._block(self._raw.pop(0), len(self._kept)))
        return self

    def _finish_alone(self) -> Self:
        """Finish loading by what was learned from these rows, which are all that there are."""
        if not self.rows:
            raise DataError("no rows to train on")
        labels, features, h = self.label_sums, self.feature_sums, self._hyperparameters
        if self.complete and not labels.weight:
            raise DataError(WEIGHTLESS)
        self.mean_label = labels.mean
        scaling = scaling_of(labels, features, self.feature_dim, h, self._known)
        if h.penalty == "rows":
            self.evidence = Evidence.of(labels, features, self.feature_dim, scaling)
        self.feature_sums = FeatureSums()  # whose memory is free now
        return self.finish(scaling)

    def keep_sample(self, rows: int) -> None:
        """Keep the first rows, at least so many, for `take_sample` when they are read."""
        self._sample_rows = rows

    def take_sample(self) -> list[Batch]:
        """Return the first rows as they were read, and keep them no longer; empty where they have been taken before."""
        taken, self._sample = self._sample, []
        return taken

    @property
    def known_rows(self) -> int | None:
        """Return the rows of an epoch, or None while they are not known."""
        return self.rows

    @property
    def memory(self) -> int:
        """Return the bytes that the blocks take: all where they are kept, else those that are under way at once."""
        return self._bytes if self.in_memory else AT_ONCE * self._largest

    def widen(self, feature_dim: int) -> None:
        """State that the data has more features than its rows show."""
        self.scaling = self.scaling.widened(feature_dim)
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
            small = self._hyperparameters.penalty == "rows"
            self.mini_batch_size = auto_mini_batch_size(len(batch), len(batch.indices), small=small)
        self.block_rows.append(len(batch))
        self.label_sums.add(batch)
        if self._hyperparameters.feature_scaling != "none" or needs_counts(self._hyperparameters):
            self.feature_sums.add(batch)

    def _block(self, batch: Batch, number: int) -> Block:
        block = make_block(
            self.scaling.rows(batch), self.first_block + number, self.mini_batch_size, self._hyperparameters
        )
        return self._prepare(block)

    def _stream(self) -> None:
        if not self._rereadable:
            raise ResourceError(
                f"the training rows do not fit in {self._memory_limit:,} bytes of memory, and a pipe cannot be read "
                "again for the next epoch; give a file, or more memory with --memory-limit"
            )
        self.in_memory = False


def needs_counts(h: Prepared) -> bool:
    """Return whether training must know how many rows each feature has."""
    return h.penalty == "rows" or h.feature_scaling == "standard"

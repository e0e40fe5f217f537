"""Where rows come from: the contract of training and test rows, rows that are in memory, and folds of others."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast

import numpy as np

from fmcore.rows.batch import Batch
from fmcore.rows.blocks import generator
from fmcore.rows.checks import checked, sound

Limit = int | Callable[[], int | None] | None


class LabelRule(Protocol):
    """A rule for which labels rows may have: `accepts` returns a bool array (rows,) for labels, float32 (rows,).

    expected: those, in words that follow "expected".
    """

    expected: str

    def accepts(self, labels: np.ndarray) -> np.ndarray:
        """Return which of the labels are valid."""
        ...


class Rows(Protocol):
    """Labelled rows that can be read pass after pass.

    rereadable: whether every pass finds the same rows, as many as are asked for.
    streaming: whether each pass is fed its own rows, as they come, so that none but its own pass can read them.
    """

    rereadable: bool
    streaming: bool

    @property
    def title(self) -> str:
        """Return what messages call the rows."""
        ...

    def read(self, labels: LabelRule, feature_dim: Limit = None) -> Iterator[Batch]:
        """Return the batches of a new pass.

        labels: which a row must have, such as an Objective.
        feature_dim: below which every index must lie, or a function that gives it when a batch has been read; None for
        any index. Raises DataError for a row without a label, or with an index beyond.
        """
        ...

    def read_known(self, labels: LabelRule, feature_dim: int) -> Iterator[Batch]:
        """Return the batches of a new pass without the non-zeros of features from feature_dim on."""
        ...

    def feature_dim(self, seen: int, stated: int | None = None) -> int:
        """Return how many features there are: as stated, else by what was seen and what else is known of the rows."""
        ...

    def complete(self, seen: int, stated: int | None, known: int | None) -> int:
        """Return how many features a model of these rows has, after the pass that a training begins with.

        seen: one more than the largest index of that pass. stated: what the user gave, or None. known: how many
        features the model has that training starts from, or None. Encoders learn nothing new from here on.
        Raises UsageError where the number can only be guessed, or is not that of the known model.
        """
        ...

    def named(self) -> AbstractContextManager:
        """Return a block in which a DataError about the rows as a whole is given their title."""
        ...

    def cancel(self) -> None:
        """End the pass under way, which another thread reads, where it waits for rows."""
        ...


class MemoryRows:
    """Rows in memory, or whatever can be iterated again and again for batches; see Rows."""

    title, rereadable, streaming = "the rows", True, False

    def __init__(self, batches: Batch | Iterable[Batch] | Callable[[], Iterable[Batch]]) -> None:
        if isinstance(batches, Batch):
            batches = (batches,)
        elif not callable(batches):
            batches = tuple(batches)
        self._batches = batches

    def read(self, labels: LabelRule, feature_dim: Limit = None) -> Iterator[Batch]:
        """See Rows."""
        batches = self._batches() if callable(self._batches) else self._batches
        return checked(map(sound, batches), None, on_error="fail", labels=labels, feature_dim=feature_dim)

    def read_known(self, labels: LabelRule, feature_dim: int) -> Iterator[Batch]:
        """See Rows."""
        return (batch.within(feature_dim)[0] for batch in self.read(labels))

    def feature_dim(self, seen: int, stated: int | None = None) -> int:
        """See Rows."""
        return stated or seen

    def complete(self, seen: int, stated: int | None, known: int | None) -> int:
        """See Rows."""
        return max(known or 1, stated or seen)

    def named(self) -> AbstractContextManager:
        """See Rows."""
        return nullcontext()

    def cancel(self) -> None:
        """See Rows."""


class Fold(MemoryRows):
    """One of several random parts of rows, or all rows but that part.

    rows: how many the source has. held_out: whether it is the part itself. The same seed gives the same parts.
    """

    def __init__(
        self, read: Callable[[], Iterable[Batch]], rows: int, seed: int, fold: tuple[int, int], *, held_out: bool
    ) -> None:
        super().__init__(self._part)
        self._source, self._rows, self._seed, self._fold, self._held_out = read, rows, seed, fold, held_out

    def _part(self) -> Iterator[Batch]:
        number, folds = self._fold
        fold_of = generator(self._seed, "folds").permutation(self._rows) % folds
        first = 0
        for batch in self._source():
            chosen = np.flatnonzero((fold_of[first : first + len(batch)] == number) == self._held_out)
            first += len(batch)
            if len(chosen):
                yield batch.take(chosen)


def as_rows(rows: Batch | Iterable[Batch] | Rows) -> Rows:
    """Return rows as Rows; a Batch, or several, become MemoryRows."""
    return cast("Rows", rows) if hasattr(rows, "read_known") else MemoryRows(rows)

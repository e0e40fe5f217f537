"""What one worker of a team does: it reads its rows, trains on them, and owns some of the features."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np

from fmcore.errors import DivergedError
from fmcore.io.data import Reader
from fmcore.io.sources.ranges import ByteRange
from fmcore.kernels import shared_backend
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import cut
from fmcore.rows.dataset import Dataset
from fmcore.rows.held import HeldRows
from fmcore.rows.scaling import FeatureScale, scaled
from fmcore.solvers import Judged
from fmcore.solvers.epoch import Epoch, Progress, slices_trained
from fmcore.solvers.observer import Observer
from fmcore.solvers.team import deltas, rounds, sizes
from fmcore.solvers.team.deltas import Delta
from fmcore.solvers.team.feed import Feed, marked, touched
from fmcore.solvers.team.messages import Learned, Orders, Ready, Sizes, Trained
from fmcore.solvers.team.reports import placed
from fmcore.solvers.team.states import Replica, Shard
from fmcore.system import memory
from fmcore.system.threads import default_threads

NOTHING = ByteRange(os.devnull, start=0, stop=0, format="libsvm")
Sent = TypeVar("Sent", np.ndarray, Delta)
SHUFFLES = 1 << 32  # blocks of one worker at the most, each of which is shuffled in a way of its own


class Worker:
    """A worker of a team. Its methods are called by name, by an engine (see fmcore.solvers.team).

    age: how many rounds are applied to its parameters since training began; -1 while it has none.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._learned: Learned | None = None
        self._sizes: Sizes | None = None
        self._state: Replica | Shard | None = None
        self._scale: np.ndarray | None = None
        self._batch: Batch | None = None
        self._coming: Iterator[Batch] = iter(())
        self._sent, self.age = 0, -1

    def where(self) -> tuple[str, int, int]:
        """Return the name of this machine, the bytes of its memory that are free, and the number of the process."""
        return socket.gethostname(), memory.free(), os.getpid()

    def fair_threads(self, workers_on: Mapping[str, int]) -> int:
        """Return threads for this worker: its processors, by the workers on its machine where it is bound to none."""
        bound = default_threads() < (os.cpu_count() or 1)
        return max(1, default_threads() // (1 if bound else workers_on[socket.gethostname()]))

    # -------------------------------------------------------------------------------------------------- reading
    def read(self, orders: Orders) -> Learned:
        """Read the rows that are this worker's, once; return what is known of them."""
        if self._learned is None:
            h, self._orders, self._backend = orders.hyperparameters, orders, shared_backend(orders.threads)
            self._objective = objective_of(h)
            self._data = orders.parts.data(self._number, NOTHING, orders.encoder)
            dataset = self._dataset = Dataset(
                self._rows,
                h,
                self._backend.prepare,
                orders.budget.rows,
                reserved=self._reserved,
                least_scale=orders.least_scale,
            )
            with placed(self._data, labels=self._objective, feature_dim=h.feature_dim):
                dataset.read()
            memory.give_back()
            feature_dim = self._data.feature_dim(dataset.feature_dim, h.feature_dim)
            self._learned = Learned(
                dataset.rows,
                dataset.non_zeros,
                feature_dim,
                dataset.weighted,
                dataset.memory,
                dataset.in_memory,
                self._data.report,
            )
        return self._learned

    def _rows(self) -> Iterator[Batch]:
        return self._data.read(self._objective, self._orders.hyperparameters.feature_dim)

    def _reserved(self, seen: int) -> int:
        orders, h, budget = self._orders, self._orders.hyperparameters, self._orders.budget
        feature_dim = max(orders.known or 1, self._data.feature_dim(seen, h.feature_dim))
        sharded = sizes.is_sharded(orders.dist_state, h, feature_dim, budget.total)
        return budget.reserved(sizes.worker_bytes(h, feature_dim, orders.workers, sharded=sharded))

    def split_scale(self) -> list[FeatureScale]:
        """Return for each owner the FeatureScale of its features by these rows."""
        return self._dataset.learned_scale.split(self._orders.workers)

    def merge_scale(self, parts: list[FeatureScale]) -> tuple[np.ndarray, np.ndarray]:
        """Return (features, scales) of the features owned here whose scale is above 1 by all workers' rows."""
        places, scales = FeatureScale.merged(parts).above_1()
        return places * self._orders.workers + self._number, scales

    def apply_scale(self, found: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Keep the scales that all owners have found."""
        features = np.concatenate([features for features, _ in found])
        self._found = features, np.concatenate([scales for _, scales in found])

    def place(self, sizes: Sizes) -> Ready:
        """Make the blocks, once, now that all is known, and read the test rows."""
        if self._sizes is None:
            self._scale = full_scale(*self._found, sizes.feature_dim, self._orders.least_scale)
            self._dataset.widen(sizes.feature_dim)
            self._dataset.finish(sizes.mean_label, self._scale, sizes.mini_batch_size, self._number * SHUFFLES)
            self._feed = Feed(self._dataset)
            self._seen = np.zeros(sizes.feature_dim, np.uint8)
            self._test, self._test_rows = self._place_test(sizes.feature_dim)
            self._sizes = sizes
        return Ready(None if self._number else self._scale, self._test.report, not self._test_rows.empty)

    def _place_test(self, feature_dim: int) -> tuple[Reader, HeldRows]:
        test = self._orders.tests.data(self._number, NOTHING, self._data.encoder)
        with placed(test, labels=self._objective):
            return test, HeldRows(test, self._objective, feature_dim, self._orders.budget.rows, required=False)

    # ------------------------------------------------------------------------------------------------- training
    def begin(self, model: Model, age: int = 0) -> None:
        """Start from the parameters of a Model of all features, or of those owned here where they are sharded."""
        if self._placed.sharded:
            self._state = Shard(self._backend, model, self._orders.workers, self._placed.feature_dim)
        else:
            self._state = Replica(self._backend, model, self._orders.workers)
        self.age = age

    def model(self) -> Model:
        """Return a Model of what is held."""
        return self._held.model()

    def rewind(self) -> int:
        """Undo a round that is under way; return `age`."""
        if self._state is not None:
            self._state.rewind()
        return self.age

    def plan(self, epoch: Epoch, first: int, last: int, rows: int) -> None:
        """Prepare the round from bound `first` to `last` of an Epoch of so many rows (see rounds.bounds)."""
        first, last = (rounds.share(self._feed.size, bound, rows) for bound in (first, last))
        self._epoch, self._stretches, self._sent = epoch, self._feed.take(epoch, first, last), 0
        self._features = touched(self._stretches, self._seen, self._backend)

    def ask(self) -> list[np.ndarray]:
        """Return for each owner which of its features are needed."""
        return self._counted(self._shard.ask(self._features))

    def answer(self, asked: list[np.ndarray]) -> list[np.ndarray]:
        """Return for each worker the rows that it asked for."""
        return self._counted(self._shard.answer(asked))

    def take(self, answers: list[np.ndarray]) -> None:
        """Make the small model of the rows that were asked for."""
        self._shard.take(answers)

    def train(self) -> Trained:
        """Train the round; DivergedError where a loss is not finite."""
        state = self._held
        state.begin(self._features)
        progress = Progress()
        try:
            for stretch in self._stretches:
                progress.steps, block = stretch.first, state.block(stretch)
                for _ in slices_trained(state.trainer, block, stretch.order, self._epoch, progress, Observer()):
                    pass
        except DivergedError as error:
            raise DivergedError(f"{error.what} (worker {self._number})", error.advice) from None
        return Trained(progress.rows, progress.loss, progress.weight)

    def split(self) -> list[Delta]:
        """Return for each owner what the round has changed of its features."""
        return self._counted(self._held.deltas())

    def merge(self, parts: list[Delta]) -> Delta | None:
        """Return the mean of all workers' parts, in worker order; None where the owner, this one, changes it alone."""
        merged = deltas.mean(parts, self._orders.threads)
        self._held.merge(merged)
        if self._placed.sharded:
            return None
        self._sent += merged.nbytes * (self._orders.workers - 1)
        return merged

    def apply(self, merged: list[Delta | None]) -> int:
        """End the round by what all owners have merged; return the bytes that this worker has sent in it."""
        self._held.apply(merged)
        self.age += 1
        return self._sent

    def _counted(self, parts: list[Sent]) -> list[Sent]:
        """Return the parts for all workers, with their bytes counted as sent, but for this worker's own."""
        self._sent += sum(part.nbytes for worker, part in enumerate(parts) if worker != self._number)
        return parts

    # -------------------------------------------------------------------------------------------------- testing
    def begin_test(self) -> None:
        """Prepare to score this worker's test rows from the first on."""
        self._coming = cut(self._test_rows.batches())

    def next_test(self) -> bool:
        """Prepare to score the next of them; return whether there are any."""
        self._batch = next(self._coming, None)
        if self._placed.sharded:  # whose rows have to be fetched
            if self._batch is not None:
                self._seen[self._batch.indices] = 1
            self._features = marked(self._seen)
        return self._batch is not None

    def judge(self) -> Judged | None:
        """Return (raw scores, labels, weights or None) of these rows; None without any."""
        if self._batch is None:
            return None
        batch = self._held.batch(scaled(self._batch, self._scale))
        return self._held.trainer.score(batch), batch.labels, batch.weights

    # -------------------------------------------------------------------------------------------------- in order
    @property
    def _placed(self) -> Sizes:
        """Return the sizes by which `place` made the blocks."""
        if self._sizes is None:
            raise ValueError("no blocks yet: place comes first")
        return self._sizes

    @property
    def _held(self) -> Replica | Shard:
        """Return the parameters that `begin` made."""
        if self._state is None:
            raise ValueError("no parameters yet: begin comes first")
        return self._state

    @property
    def _shard(self) -> Shard:
        """Return the parameters, of which this worker holds a shard."""
        if not isinstance(self._held, Shard):
            raise ValueError("a replica asks nobody for rows")  # noqa: TRY004 - calls in a wrong order, no wrong type
        return self._held


def full_scale(
    features: np.ndarray, scales: np.ndarray, feature_dim: int, least: np.ndarray | None
) -> np.ndarray | None:
    """Return float32 (feature_dim,) of the scales of some features, 1 for all others; None where all are 1.

    least: what those of the first features are at least, or None.
    """
    known = np.ones(0, np.float32) if least is None else least
    if not len(features) and not len(known):
        return None
    scale = np.ones(feature_dim, np.float32)
    scale[features] = scales
    scale[: len(known)] = np.maximum(scale[: len(known)], known)
    return scale

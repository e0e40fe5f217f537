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
from fmcore.rows.evidence import Evidence
from fmcore.rows.held import HeldRows
from fmcore.rows.scaling import Scaling, scaling_of
from fmcore.rows.sums import FeatureSums, LabelSums
from fmcore.solvers import Judged
from fmcore.solvers.epoch import Epoch, Progress, Whole, slices_trained
from fmcore.solvers.observer import Observer
from fmcore.solvers.team import deltas, rounds, sizes
from fmcore.solvers.team.deltas import Delta
from fmcore.solvers.team.feed import Feed, marked, touched
from fmcore.solvers.team.messages import Found, Learned, Orders, Ready, Sizes, Trained
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
                known=orders.scaling,
            )
            with placed(self._data, labels=self._objective, feature_dim=h.feature_dim):
                dataset.read()
            memory.give_back()
            feature_dim = self._data.feature_dim(dataset.feature_dim, h.feature_dim)
            self._learned = Learned(
                dataset.rows,
                dataset.non_zeros,
                feature_dim,
                dataset.label_sums,
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

    def know(self, labels: LabelSums) -> None:
        """Note the sums of the labels of all workers' rows."""
        self._labels = labels

    def split_sums(self) -> list[FeatureSums]:
        """Return for each owner the sums of its features over these rows."""
        return self._dataset.feature_sums.split(self._orders.workers)

    def merge_sums(self, parts: list[FeatureSums]) -> Found:
        """Return the scaling of the features owned here by all workers' rows, and keep their evidence."""
        orders, sums = self._orders, FeatureSums.merged(parts)
        known = orders.scaling.of_owner(self._number, orders.workers)
        scaling = scaling_of(self._labels, sums, 0, orders.hyperparameters, known)
        self._evidence = None
        if orders.hyperparameters.penalty == "rows":
            self._evidence = Evidence.of(self._labels, sums, 0, scaling)
        return found(scaling, self._number, orders.workers)

    def apply_scaling(self, parts: list[Found]) -> None:
        """Keep the scaling that all owners have found."""
        self._found = parts

    def place(self, sizes: Sizes) -> Ready:
        """Make the blocks, once, now that all is known, and read the test rows."""
        if self._sizes is None:
            self._dataset.widen(sizes.feature_dim)
            scaling = full_scaling(self._found, sizes.feature_dim)
            self._dataset.finish(scaling, sizes.mini_batch_size, self._number * SHUFFLES)
            self._feed = Feed(self._dataset)
            self._seen = np.zeros(sizes.feature_dim, np.uint8)
            self._test, self._test_rows = self._place_test(sizes.feature_dim)
            self._sizes = sizes
        rows, squares = (None, None) if self._evidence is None else self._evidence[:2]
        return Ready(
            None if self._number else self._dataset.scaling, rows, squares, self._test.report, not self._test_rows.empty
        )

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
        size = self._placed.mini_batch_size
        whole = Whole(self._feed.size * size, self._dataset.scaling, self._objective)
        self._whole = whole._replace(before=first * size)
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
                order, epoch, whole = stretch.order, self._epoch, self._whole
                for _ in slices_trained(state.trainer, block, order, epoch, progress, whole, Observer()):
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
                self._seen[self._dataset.scaling.features(self._batch).indices] = 1
            self._features = marked(self._seen)
        return self._batch is not None

    def judge(self) -> Judged | None:
        """Return (raw scores, labels, weights or None) of these rows; None without any."""
        if self._batch is None:
            return None
        scaling = self._dataset.scaling
        batch = self._held.batch(scaling.features(self._batch))
        return scaling.scores(self._held.trainer.score(batch)), batch.labels, batch.weights

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


def found(scaling: Scaling, worker: int, workers: int) -> Found:
    """Return the Found of a worker's features, given their Scaling; number n of them is feature n workers + worker."""
    arrays = [array for array in (scaling.scale, scaling.mean) if array is not None]
    size = max([0, *map(len, arrays), *(scaling.far[-1:] + 1)])
    scale = np.ones(size, np.float32) if scaling.scale is None else scaling.scale
    mean = np.zeros(size, np.float32) if scaling.mean is None else scaling.mean
    far = np.zeros(size, bool)
    far[scaling.far] = True
    places = np.flatnonzero((scale != 1) | (mean != 0) | far)
    return Found(places * workers + worker, scale[places], mean[places], far[places], scaling.label, scaling.range)


def full_scaling(parts: list[Found], feature_dim: int) -> Scaling:
    """Return the Scaling of all features, given what their owners have found."""
    features, scales, means, far = (np.concatenate([part[field] for part in parts]) for field in range(4))
    scale, mean = np.ones(feature_dim, np.float32), np.zeros(feature_dim, np.float32)
    scale[features], mean[features] = scales, means
    return Scaling(
        scale if (scale != 1).any() else None,
        mean if mean.any() else None,
        parts[0].label,
        parts[0].range,
        np.sort(features[far]),
    )

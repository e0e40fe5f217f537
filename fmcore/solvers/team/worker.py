"""What one worker of a team does: it reads its rows, trains on them, and owns some of the features."""

import os
import socket
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fmcore.errors import DivergedError
from fmcore.hyper.params import Hyperparameters
from fmcore.io.options import Report
from fmcore.io.sources.ranges import ByteRange
from fmcore.kernels import backend_for
from fmcore.objectives import objective_of
from fmcore.rows.blocks import cut
from fmcore.rows.dataset import Dataset
from fmcore.rows.held import HeldRows
from fmcore.rows.scaling import FeatureScale, scaled
from fmcore.solvers.epoch import Progress, slices_trained
from fmcore.solvers.observer import Observer
from fmcore.solvers.team import deltas, rounds, sizes
from fmcore.solvers.team.feed import Feed, marked, touched
from fmcore.solvers.team.reports import Parts, placed
from fmcore.solvers.team.states import Replica, Shard
from fmcore.system import memory
from fmcore.system.memory import Budget
from fmcore.system.threads import default_threads

NOTHING = ByteRange(os.devnull, start=0, stop=0, format="libsvm")
SHUFFLES = 1 << 32  # blocks of one worker at the most, each of which is shuffled in a way of its own


@dataclass(frozen=True)
class Orders:
    """What every worker has to know before it reads.

    parts, tests: of the training and test rows. encoder: of tables; complete.
    budget: of memory, for one worker. known: how many features the model to go on from has, or None.
    least_scale: see fmcore.rows.dataset.Dataset.
    """

    workers: int
    parts: Parts
    tests: Parts
    encoder: object
    hyperparameters: Hyperparameters
    threads: int
    budget: Budget
    dist_state: str
    known: int | None = None
    least_scale: np.ndarray | None = None


class Learned(NamedTuple):
    """What a worker's rows have told. weighted: sums of labels and weights. nbytes: of the blocks to come."""

    rows: int
    non_zeros: int
    feature_dim: int
    weighted: np.ndarray
    nbytes: int
    in_memory: bool
    report: Report


class Settled(NamedTuple):
    """What the rows of all workers have told, by which each makes its blocks."""

    feature_dim: int
    mean_label: float
    mini_batch_size: int
    sharded: bool


class Ready(NamedTuple):
    """A worker that can begin. scale: of all features (see fmcore.rows.scaling), from the first worker alone.

    test_report: of its test rows. tests: whether there are any.
    """

    scale: np.ndarray | None
    test_report: Report
    tests: bool


class Trained(NamedTuple):
    """What came of a worker's round: rows, and the sums of their losses and weights, each before it moved anything."""

    rows: int
    loss: float
    weight: float


class Worker:
    """One of a team. Its methods are called by name, by an engine (see fmcore.solvers.team).

    age: how many rounds its parameters have come through since training began; -1 while it has none.
    """

    def __init__(self, number):
        self._number = number
        self._learned = self._settled = self._state = None
        self._scale = self._features = self._coming = self._batch = None
        self._sent, self.age = 0, -1

    def where(self):
        """(name of this machine, bytes of its memory that are free, number of the process)."""
        return socket.gethostname(), memory.free(), os.getpid()

    def fair_threads(self, workers_on):
        """Threads for this worker: its processors, by the workers on its machine where it is bound to none of them."""
        bound = default_threads() < (os.cpu_count() or 1)
        return max(1, default_threads() // (1 if bound else workers_on[socket.gethostname()]))

    # -------------------------------------------------------------------------------------------------- reading
    def read(self, orders):
        """Read the rows that are this worker's, once; gives Learned."""
        if self._learned is None:
            h, self._orders, self._backend = orders.hyperparameters, orders, backend_for("cpu", orders.threads)
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
            if orders.known is not None and dataset.rows:
                self._data.require_columns(orders.known, h.feature_dim)
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

    def _rows(self):
        return self._data.read(self._objective, self._orders.hyperparameters.feature_dim)

    def _reserved(self, seen):
        orders, h, budget = self._orders, self._orders.hyperparameters, self._orders.budget
        feature_dim = max(orders.known or 1, self._data.feature_dim(seen, h.feature_dim))
        sharded = sizes.is_sharded(orders.dist_state, h, feature_dim, budget.total)
        return budget.reserved(sizes.worker_bytes(h, feature_dim, orders.workers, sharded=sharded))

    def split_scale(self):
        """What these rows say of the scale of each owner's features: a FeatureScale each."""
        return self._dataset.learned_scale.split(self._orders.workers)

    def merge_scale(self, parts):
        """(features, scales): those of the features owned here whose scale is above 1, by what all workers say."""
        places, scales = FeatureScale.merged(parts).above_1()
        return places * self._orders.workers + self._number, scales

    def apply_scale(self, found):
        """Take in what all owners have found."""
        features = np.concatenate([features for features, _ in found])
        self._found = features, np.concatenate([scales for _, scales in found])

    def settle(self, settled):
        """Make the blocks, now that all is known; gives Ready."""
        if self._settled is None:
            self._scale = full_scale(*self._found, settled.feature_dim, self._orders.least_scale)
            self._dataset.widen(settled.feature_dim)
            self._dataset.finish(settled.mean_label, self._scale, settled.mini_batch_size, self._number * SHUFFLES)
            self._feed = Feed(self._dataset)
            self._seen = np.zeros(settled.feature_dim, np.uint8)
            self._test, self._test_rows = self._place_test(settled.feature_dim)
            self._settled = settled
        return Ready(None if self._number else self._scale, self._test.report, not self._test_rows.empty)

    def _place_test(self, feature_dim):
        test = self._orders.tests.data(self._number, NOTHING, self._data.encoder)
        with placed(test, labels=self._objective):
            return test, HeldRows(test, self._objective, feature_dim, self._orders.budget.rows, required=False)

    # ------------------------------------------------------------------------------------------------- training
    def begin(self, model, age=0):
        """Let these be the parameters: a Model of all features, or of those owned here where the state is sharded."""
        if self._settled.sharded:
            self._state = Shard(self._backend, model, self._orders.workers, self._settled.feature_dim)
        else:
            self._state = Replica(self._backend, model, self._orders.workers)
        self.age = age

    def model(self):
        """A Model of what is held."""
        return self._state.model()

    def rewind(self):
        """Undo a round that is under way; gives `age`."""
        if self._state is not None:
            self._state.rewind()
        return self.age

    def plan(self, epoch, first, last, rows):
        """Get ready for the round from bound `first` to `last` of an Epoch of so many rows (see rounds.bounds)."""
        first, last = (rounds.share(self._feed.size, bound, rows) for bound in (first, last))
        self._epoch, self._parts, self._sent = epoch, self._feed.take(epoch, first, last), 0
        self._features = touched(self._parts, self._seen, self._orders.threads)

    def ask(self):
        """For each owner, which of its features are needed."""
        return self._counted(self._state.ask(self._features))

    def answer(self, asked):
        """For each worker, the rows that it asked for."""
        return self._counted(self._state.answer(asked))

    def take(self, answers):
        """Take in the rows that were asked for."""
        self._state.take(answers)

    def train(self):
        """Train the round; gives Trained."""
        self._state.begin(self._features)
        progress = Progress()
        try:
            for part in self._parts:
                progress.steps = part.first
                for _ in slices_trained(
                    self._state.trainer, self._state.block(part), part.order, self._epoch, progress, Observer()
                ):
                    pass
        except DivergedError as error:
            raise DivergedError(f"{error.what} (worker {self._number})", error.advice) from None
        return Trained(progress.rows, progress.loss, progress.weight)

    def split(self):
        """For each owner, what the round has moved of its features."""
        return self._counted(self._state.deltas())

    def merge(self, parts):
        """What all workers' parts come to, in worker order: for all of them, or None where the owner moves it alone."""
        merged = deltas.mean(parts, self._orders.threads)
        self._state.take_in(merged)
        if self._settled.sharded:
            return None
        self._sent += merged.nbytes * (self._orders.workers - 1)
        return merged

    def apply(self, merged):
        """End the round by what all owners have brought together; gives the bytes that this worker has sent in it."""
        self._state.apply(merged)
        self.age += 1
        return self._sent

    def _counted(self, parts):
        """The parts for all workers, whose bytes are counted as sent, but for this worker's own."""
        self._sent += sum(part.nbytes for worker, part in enumerate(parts) if worker != self._number)
        return parts

    # -------------------------------------------------------------------------------------------------- testing
    def begin_test(self):
        """Get ready to score this worker's test rows from the first on."""
        self._coming = cut(self._test_rows.batches())

    def next_test(self):
        """Get ready to score the next of them; whether there are any."""
        self._batch = next(self._coming, None)
        if self._settled.sharded:  # whose rows have to be fetched
            if self._batch is not None:
                self._seen[self._batch.indices] = 1
            self._features = marked(self._seen)
        return self._batch is not None

    def judge(self):
        """(raw scores, labels, weights or None) of these rows; None without any."""
        if self._batch is None:
            return None
        batch = self._state.batch(scaled(self._batch, self._scale))
        return self._state.trainer.score(batch), batch.labels, batch.weights


def full_scale(features, scales, feature_dim, least):
    """float32 (feature_dim,) of the scales of some features, 1 for all others; None where all are 1.

    least: what those of the first features are at least, or None.
    """
    known = np.ones(0, np.float32) if least is None else least
    if not len(features) and not len(known):
        return None
    scale = np.ones(feature_dim, np.float32)
    scale[features] = scales
    scale[: len(known)] = np.maximum(scale[: len(known)], known)
    return scale

"""The leader's requests to all workers, and the recovery of a team that has lost some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from fmcore.errors import DataError
from fmcore.io import grouping
from fmcore.io.data import Reader
from fmcore.io.labels import EXPECTED
from fmcore.io.options import Report
from fmcore.io.readers import note_indices
from fmcore.io.sources.source import title
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import auto_mini_batch_size
from fmcore.rows.evidence import Evidence
from fmcore.rows.held import no_rows
from fmcore.rows.scaling import Scaling
from fmcore.rows.sums import LabelSums
from fmcore.solvers import Judged
from fmcore.solvers.epoch import Epoch
from fmcore.solvers.observer import Observer
from fmcore.solvers.team import Engine, ReplacingEngine, reports, sizes
from fmcore.solvers.team.lost import DiedError, Lost
from fmcore.solvers.team.messages import Orders, Ready, Sizes, Trained
from fmcore.solvers.team.reports import Parts
from fmcore.solvers.team.states import own, owned, whole

TRIES = 10  # to recover from losses, before a round is done
SKEW = 1.5  # times the mean number of rows, from which on a worker's is worth a note


@dataclass
class TeamData:
    """The rows of all workers together; see fmcore.rows.dataset.Dataset for the names. rows_each: of each worker."""

    rows: int
    non_zeros: int
    feature_dim: int
    mean_label: float
    mini_batch_size: int
    in_memory: bool
    memory: int
    rows_each: list[int]
    scaling: Scaling = field(default_factory=Scaling)
    evidence: Evidence | None = None
    complete: bool = True
    sample: list[Batch] = field(default_factory=list)

    def take_sample(self) -> list[Batch]:
        """See fmcore.solvers.Placed."""
        taken, self.sample = self.sample, []
        return taken


class Team:
    """Workers that an engine reaches, as one trainer of their rows.

    observer: an Observer, notified of workers that are lost.
    After `load`: data, a TeamData. After `place`: sharded, whether each worker holds only its own features.
    """

    def __init__(self, engine: Engine, orders: Orders, observer: Observer) -> None:
        self._engine, self._orders, self._observer = engine, orders, observer
        self.workers, self.threads = engine.workers, orders.threads
        self.name = f"{engine.workers} worker{'s' * (engine.workers > 1)} ({engine.name})"
        self._rounds = 0  # that are applied to the parameters
        self._tries = 0  # to recover, since the last of them
        self._sizes: Sizes | None = None
        self._model: Model | None = None

    def load(self, data: Reader) -> TeamData:
        """Have all workers read their rows; return the TeamData, and merge their reports into that of the Data.

        Raises DataError where there are no rows, and where workers' rows contradict each other.
        """
        learned = self._steady(self._engine.all, "read", self._orders)
        self._report(data, [each.report for each in learned], self._orders.parts)
        data.judge(objective_of(self._orders.hyperparameters), training=True)
        h, self._labels = self._orders.hyperparameters, LabelSums.merged([each.labels for each in learned])
        rows, non_zeros = sum(each.rows for each in learned), sum(each.non_zeros for each in learned)
        if not rows:
            raise DataError("no rows to train on")
        size = h.mini_batch_size or worker_mini_batch_size(rows, non_zeros, self.workers)
        self.data = TeamData(
            rows,
            non_zeros,
            max(each.feature_dim for each in learned),
            self._labels.mean,
            size,
            all(each.in_memory for each in learned),
            sum(each.nbytes for each in learned),
            [each.rows for each in learned],
        )
        note_skew(data.report, self.data.rows_each)
        self._steady(self._learn_scaling)
        return self.data

    def _report(self, data: Reader, found: list[Report], parts: Parts) -> None:
        """Merge the Reports `found` by workers into that of the Data; raise DataError where rows do not match."""
        report = data.report
        reports.take_in(report, found, parts, data.sources)
        note_indices(report, data.options, data.sources)
        if {"label 0", "label -1"} <= report.facts.keys():
            raise DataError(f"labels 0 in some places and -1 in others; {EXPECTED}", source=title(data.sources))
        if {"qid", "no qid"} <= report.facts.keys():
            raise DataError(f"some rows have a qid: and others none; {grouping.EXPECTED}", source=title(data.sources))

    def _learn_scaling(self) -> None:
        self._engine.all("know", self._labels)
        self._engine.exchange("split_sums", "merge_sums", "apply_scaling", alike=True)

    def place(self, feature_dim: int, test: Reader | None = None) -> None:
        """Have all workers make their blocks for the now known number of features, and read test Data.

        Raises ResourceError where the parameters do not fit into a worker, DataError where test has no rows.
        """
        h, budget, data = self._orders.hyperparameters, self._orders.budget, self.data
        self.sharded = sizes.is_sharded(self._orders.dist_state, h, feature_dim, budget.total)
        needed = sizes.worker_bytes(h, feature_dim, self.workers, sharded=self.sharded)
        sizes.require_memory(needed, budget, self.workers, sharded=self.sharded)
        data.feature_dim = feature_dim
        self._sizes = Sizes(feature_dim, data.mini_batch_size, self.sharded)
        ready = self._steady(self._engine.all, "place", self._sizes)
        data.scaling = ready[0].scaling
        if h.penalty == "rows":
            data.evidence = evidence_of(ready, feature_dim, self._labels, data.scaling.far)
        if test is not None:
            self._report(test, [each.test_report for each in ready], self._orders.tests)
            if not any(each.tests for each in ready):
                raise no_rows(test)
            test.judge(objective_of(h), training=False)

    # ------------------------------------------------------------------------------------------------ parameters
    def begin(self, model: Model) -> None:
        """Give all workers these parameters to continue from."""
        self._model = model
        self._steady(self._give, model)
        self._rounds = 0

    def snapshot(self) -> Model:
        """Return a Model of the parameters, which the caller owns."""
        if self.sharded:
            return whole(self._steady(self._engine.all, "model"), self.data.feature_dim)
        return own(self._steady(self._engine.one, 0, "model"))

    def _give(self, model: Model, age: int = 0) -> None:
        if self.sharded:
            for worker in range(self.workers):
                self._engine.one(worker, "begin", owned(model, worker, self.workers), age)
        else:
            self._engine.all("begin", model, age)

    # ------------------------------------------------------------------------------------------------- training
    def round(self, epoch: Epoch, first: int, last: int, rows: int) -> tuple[list[Trained], int]:
        """Train the round from bound `first` to `last` of an Epoch of so many rows a worker; see rounds.bounds.

        Returns (list of Trained, bytes sent by all workers). Raises DivergedError where a loss is not finite.
        """
        before, sent = self._rounds, 0
        trained: list[Trained] = []
        while self._rounds == before:  # recovery can change it as well, once a worker has the owners' answers
            with self._recovering():
                self._engine.all("plan", epoch, first, last, rows)
                if self.sharded:
                    self._engine.exchange("ask", "answer", "take")
                trained = self._engine.all("train")
                sent = sum(self._engine.exchange("split", "merge", "apply", alike=True))
                self._rounds += 1
        self._tries = 0
        return trained, sent

    def test(self) -> list[Judged]:
        """Return pieces (raw scores, labels, weights or None) of all test rows, in order."""
        return self._steady(self._test)

    def _test(self) -> list[Judged]:
        self._engine.all("begin_test")
        judged = []
        while any(self._engine.all("next_test")):
            if self.sharded:
                self._engine.exchange("ask", "answer", "take")
            judged.append(self._engine.all("judge"))
        return [piece for pieces in zip(*judged, strict=True) for piece in pieces if piece is not None]

    # ------------------------------------------------------------------------------------------------- recovery
    def _steady(self, call: Callable, *args: Any) -> Any:
        """Return the result of a call, made again where workers are lost meanwhile."""
        while True:
            with self._recovering():
                return call(*args)

    @contextmanager
    def _recovering(self) -> Iterator[None]:
        """Recover where workers are lost within: bring all to the round of the most advanced one with parameters.

        Raises DiedError where that cannot be done, or was tried TRIES times without a round.
        """
        try:
            yield
        except Lost as first:
            lost: Lost | None = first
            while lost:
                self._tries += 1
                if self._tries > TRIES:
                    raise DiedError(f"workers were lost {TRIES} times without a round in between; {lost.why}") from None
                if self._rounds and self.sharded:
                    raise DiedError(f"a worker died, and parameters with it that no other holds: {lost.why}") from None
                lost = self._failed_to_catch_up(lost.why)

    def _failed_to_catch_up(self, why: str) -> Lost | None:
        """Replace lost workers, and catch up; return a Lost where further workers were lost meanwhile, else None."""
        try:
            self._observer.lost(cast("ReplacingEngine", self._engine).replace(), why)
            self._catch_up()
        except Lost as lost:
            return lost
        return None

    def _catch_up(self) -> None:
        engine = self._engine
        engine.all("read", self._orders)
        if self._sizes is None:
            return
        self._learn_scaling()
        engine.all("place", self._sizes)
        ages = engine.all("rewind")
        oldest = max(ages)
        if self._model is None:
            return
        if self._rounds == 0 and oldest <= 0:
            self._give(self._model)
        elif oldest < 0:
            raise DiedError("all workers died, and the parameters with them")
        elif min(ages) != oldest:
            source = ages.index(oldest)
            model = engine.one(source, "model")
            for worker, age in enumerate(ages):
                if age != oldest:
                    engine.one(worker, "begin", model, oldest)
        self._rounds = max(oldest, 0)


def note_skew(report: Report, rows_each: list[int]) -> None:
    """Note in the report that some workers have many more rows than others, which wait for them in each round."""
    mean, idle = sum(rows_each) / len(rows_each), rows_each.count(0)
    if idle:
        report.note(
            f"{idle} of {len(rows_each)} workers have no rows: the data are too small, or in too few files; "
            "use fewer workers"
        )
    elif max(rows_each) > SKEW * mean:
        report.note(
            f"one worker has {max(rows_each):,} rows where the mean is {mean:,.0f}, and in each round the "
            "others wait for it; make more and smaller files, or recordIO with fm convert, which can be cut"
        )


def worker_mini_batch_size(rows: int, non_zeros: int, workers: int) -> int:
    """Return the automatic mini_batch_size of S workers: that of one divided by sqrt(S).

    This is between as many steps and as large batches as those of one.
    """
    return max(1, round(auto_mini_batch_size(rows, non_zeros) / workers**0.5))


def evidence_of(ready: list[Ready], feature_dim: int, labels: LabelSums, far: np.ndarray) -> Evidence:
    """Return the Evidence of all workers' rows, given what each has found of the features that it owns."""
    rows, squares = np.zeros(feature_dim, np.float32), np.zeros(feature_dim, np.float32)
    for worker, part in enumerate(ready):
        for mine, theirs in ((rows, part.rows), (squares, part.squares)):
            own = mine[worker :: len(ready)]
            own[: len(theirs)] = theirs  # type: ignore[arg-type]
    return Evidence(rows, squares, labels.weight / labels.mean_weight, labels.mean_weight, far)

"""Gradient descent by a team of workers, round by round: which engine, what each worker may use, and one epoch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from time import perf_counter

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.data import Reader
from fmcore.io.sources import dealing
from fmcore.io.sources.source import Source
from fmcore.kernels import backend_for, require_kernels
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import generator
from fmcore.rows.parts import SplitRows
from fmcore.solvers import Judged, Resources, Solver, Task, TeamOptions
from fmcore.solvers.descent import known_by
from fmcore.solvers.epoch import UNITS, Epoch, Progress
from fmcore.solvers.estimate import parameter_bytes
from fmcore.solvers.observer import Observer
from fmcore.solvers.team import ENGINES, Engine, rounds
from fmcore.solvers.team.lost import DiedError
from fmcore.solvers.team.messages import Orders, Trained
from fmcore.solvers.team.reports import Parts, as_named
from fmcore.solvers.team.team import Team
from fmcore.system.memory import LEAST, Budget, budget


class TeamDescent(Solver):
    """See fmcore.solvers.Solver.

    The mean of what S workers do moves a weight as far as one of them, and AdaGrad's sums of squares grow S times more
    slowly by it. With sqrt(S) times the learning rate the two together are the steps of one who trains all rows; sgd
    and adam come nearest to that with it, too.

    What an observer's `round` is given: epoch and round (from 1), rounds of the epoch, rows, rows_per_second, the
    primary metric of the round's rows, bytes_sent by all workers together, and workers.
    """

    note = None
    memory = staticmethod(parameter_bytes)

    def __init__(self, engine: Engine, task: Task, resources: Resources, observer: Observer) -> None:
        self._observer = observer
        rows, test = _require_files(task)
        self._team = Team(engine, _orders(engine, task, resources), observer)
        self._team.load(rows)
        if task.sample:
            h = task.hyperparameters
            self._team.data.sample = rows.first(task.sample, objective_of(h), h.feature_dim)
        known = task.initial_model.feature_dim if task.initial_model else 1
        feature_dim = task.hyperparameters.feature_dim or max(known, self._team.data.feature_dim)
        self._team.place(feature_dim, test)
        self.placed, self.workers = self._team.data, self._team.workers
        self.name, self.threads, self.tested = self._team.name, self._team.threads, task.test is not None
        self.unit = UNITS[1 if self.placed.in_memory else 2]
        self._rows = -(-self.placed.rows // self.workers)  # of a worker, on average

    @classmethod
    @contextmanager
    def place(
        cls,
        task: Task,
        resources: Resources,
        observer: Observer,
        *,
        previous: Solver | None = None,  # noqa: ARG003 - workers read again
        checkpoint: Callable[[], str | None] = lambda: None,
    ) -> Iterator[TeamDescent]:
        """See fmcore.solvers.Solver; workers that died for good raise DiedError, which names the checkpoint if any."""
        files = _require_files(task)
        try:
            with closing(_engine(resources)) as engine, task.rows.named():
                yield cls(engine, task, resources, observer)
        except DataError as error:
            names = as_named(source for rows in files if rows is not None for source in rows.sources)
            error.source = names.get(str(error.source), error.source)
            raise
        except DiedError as error:
            if path := checkpoint():
                raise error.resumable(path) from error
            raise

    def fits(self, task: Task) -> bool:  # noqa: ARG002 - workers read again
        """See fmcore.solvers.Solver."""
        return False

    def begin(self, model: Model) -> None:
        """See fmcore.solvers.Solver."""
        self._team.begin(model)

    def position(self, epoch: Epoch, rows: int) -> Progress:
        """See fmcore.solvers.Solver."""
        near = rows * self._rows / self.placed.rows
        return Progress(steps=int(np.argmin(np.abs(self._bounds(epoch) - near))), rows=rows)

    def sweep(self, epoch: Epoch, progress: Progress, pause: Callable[[], bool]) -> bool:
        """See fmcore.solvers.Solver; it may pause after each round."""
        bounds = self._bounds(epoch)
        rounds_epoch = epoch._replace(lr=epoch.lr * self.workers**0.5)
        while (number := progress.steps) < len(bounds) - 1:
            begun = perf_counter()
            trained, sent = self._team.round(rounds_epoch, bounds[number], bounds[number + 1], self._rows)
            here = _added(progress, trained)
            self._observer.rows(here.rows)
            self._observer.round(
                {
                    "epoch": epoch.number + 1,
                    "round": number + 1,
                    "rounds": len(bounds) - 1,
                    "rows": here.rows,
                    "rows_per_second": here.rows / (perf_counter() - begun),
                    **here.metrics(objective_of(epoch.hyperparameters)),
                    "bytes_sent": sent,
                    "workers": self.workers,
                }
            )
            if number + 1 < len(bounds) - 1 and pause():
                return False
        return True

    def score(self, batch: Batch) -> np.ndarray:
        """See fmcore.solvers.Solver."""
        scaling = self.placed.scaling
        return scaling.scores(backend_for("cpu").score(scaling.features(batch), self.snapshot()))

    def judge(self) -> Iterator[Judged]:
        """See fmcore.solvers.Solver."""
        return iter(self._team.test())

    def snapshot(self) -> Model:
        """See fmcore.solvers.Solver."""
        return self._team.snapshot()

    def _bounds(self, epoch: Epoch) -> np.ndarray:
        new = epoch.number == 0 and epoch.before == 0
        return rounds.bounds(self._rows, self.placed.mini_batch_size, first_epoch=new, in_memory=self.placed.in_memory)


def _added(progress: Progress, trained: list[Trained]) -> Progress:
    """Move the progress by the Trained of all workers, in worker order; return a Progress of them alone."""
    here = Progress()
    for each in trained:
        for name in ("rows", "loss", "weight"):
            setattr(here, name, getattr(here, name) + getattr(each, name))
    progress.steps, progress.rows = progress.steps + 1, progress.rows + here.rows
    progress.loss, progress.weight = progress.loss + here.loss, progress.weight + here.weight
    return here


def _engine(resources: Resources) -> Engine:
    """Return the engine that is asked for; see fmcore.solvers.team."""
    team = resources.team or TeamOptions()
    return ENGINES[team.engine].load()(team, resources.threads)


def _require_files(task: Task) -> tuple[Reader, Reader | None]:
    """Return the rows to train and to test on; raise UsageError where workers cannot each read and train some."""
    rows, test = task.rows, task.test
    if isinstance(rows, SplitRows):
        raise UsageError(
            "validation_fraction holds out rows of one process; name test rows, or leave out --distributed"
        )
    if not isinstance(rows, Reader) or not (test is None or isinstance(test, Reader)):
        raise UsageError("each worker reads rows of its own, and these are in the memory of one process; name files")
    require_kernels(task.hyperparameters)
    if rows.streaming:
        raise UsageError(
            "pipes are read by one process, and here each worker reads rows of its own; name files "
            "that all of them can read"
        )
    return rows, test


def _orders(engine: Engine, task: Task, resources: Resources) -> Orders:
    """Return what every worker has to know; the rows' report notes how they are dealt out."""
    (rows, test), h, initial_model = _require_files(task), task.hyperparameters, task.initial_model
    order = generator(h.seed, "pieces") if h.shuffle else None
    dealt = dealing.deal(rows.sources, rows.options, engine.workers, order)
    for sentence in dealt.notes:
        rows.report.note(sentence)
    tests: list[list[Source]] = [[]] * engine.workers
    if test:
        tests = dealing.in_order(test.sources, test.options, engine.workers)
    rows.encoder.freeze()
    parts, test_parts = (
        Parts.of(
            [absolute(own) for own in sources],
            absolute(part.sources),
            replace(part.options, threads=engine.threads),
        )
        for sources, part in ((dealt.parts, rows), (tests, test or rows))
    )
    return Orders(
        engine.workers,
        parts,
        test_parts,
        rows.encoder,
        h,
        engine.threads,
        _budget(engine, resources),
        (resources.team or TeamOptions()).dist_state,
        initial_model.feature_dim if initial_model else None,
        known_by(task),
    )


def _budget(engine: Engine, resources: Resources) -> Budget:
    """Return the Budget of each worker: as given, else its machine's free memory divided by the workers on it."""
    if resources.memory_limit is not None:
        return budget(resources.memory_limit)
    places = engine.all("where")
    on = Counter(host for host, *_ in places)
    least = max(LEAST, min(free // on[host] for host, free, _ in places))
    return Budget(least, least // 2, given=False)


def absolute(sources: list[Source]) -> list[Source]:
    """Return the same sources by absolute paths, for workers whose current folder may be another."""
    return [replace(source, path=os.path.abspath(source.path)) for source in sources]  # noqa: PTH100 - no links followed

"""The loop over epochs, the same for every solver: sweep, test, report, save and stop early. It never sees a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from fmcore.errors import DivergedError, StoppedError
from fmcore.model.model import Model
from fmcore.model.scaling import unscaled
from fmcore.objectives import Objective, objective_of
from fmcore.rows.batch import Batch
from fmcore.solvers import Judged, Solver
from fmcore.solvers.epoch import Epoch, Progress
from fmcore.solvers.observer import Observer
from fmcore.training.state import Control, State, converted

HALVINGS = 10  # of the learning rates, after which a training that diverges is given up


def train(
    model: Model,
    solver: Solver,
    *,
    test_each_epoch: bool = True,
    observer: Observer | None = None,
    control: Control | None = None,
) -> Model:
    """Train a copy of `model` for the epochs of its hyperparameters and return it.

    solver: placed, see fmcore.solvers.Solver. The primary metric of its test rows, if any, decides early stopping;
    without test_each_epoch they are scored after the last epoch alone.
    control: a Control, whose `stop` is called before each epoch and wherever a sweep can pause.
    The result's info holds "epochs", one record each without timings, "trained_epochs", those of earlier trainings
    included, "best_epoch" where test rows chose one, "halved", the epochs in which the learning rates were halved, and
    "stopped" (epoch, and rows of it that were trained) where control ended it.
    Raises DivergedError where a loss or a weight is not finite, StoppedError where control stops it before any row is
    trained.
    """
    return Run(model, solver, observer or Observer(), control or Control()).train(each_epoch=test_each_epoch)


def evaluate(
    score: Callable[[Batch], np.ndarray], batches: Iterable[Batch], objective: Objective
) -> dict[str, float | None]:
    """Return all metrics of an Objective for the rows of `batches`, given a function from a Batch to raw scores."""
    return evaluated(((score(batch), batch.labels, batch.weights) for batch in batches), objective)


def evaluated(judged: Iterable[Judged], objective: Objective) -> dict[str, float | None]:
    """Return all metrics of an Objective for rows as (raw scores, labels, weights or None), piece after piece."""
    metrics = objective.metrics()
    for scores, labels, weights in judged:
        metrics.update(scores, labels, weights)
    return metrics.result()


class Run:
    """A training under way."""

    def __init__(self, model: Model, solver: Solver, observer: Observer, control: Control) -> None:
        self._model, self._solver, self._observer, self._control = model, solver, observer, control
        self._hyperparameters = model.hyperparameters
        self._halves = model.hyperparameters.on_divergence == "halve-lr"

    def train(self, *, each_epoch: bool = True) -> Model:
        """Return the trained model; see `train` above."""
        self._begin()
        stopped = False
        while not (stopped or self.state.ended()):
            test = self._solver.tested and (each_epoch or self.state.epoch == self._hyperparameters.last_epoch)
            try:
                stopped = not self._epoch(test=test)
            except DivergedError as error:
                self._go_back(error)
        if stopped:
            self._control.paused(self._now)
        return self._result(stopped=stopped)

    def _begin(self) -> None:
        """Determine where to begin, and give the solver its parameters."""
        solver = self._solver
        self.state = state = self._control.begin(self._model, solver.placed, tested=solver.tested)
        if (state.workers, state.unit) != (solver.workers, solver.unit):
            reached, state.unit = state.progress, solver.unit
            state.convert(solver.workers)
            position = solver.position(self._at(), reached.rows)
            state.progress = replace(position, loss=reached.loss, weight=reached.weight)
        if state.epochs or state.progress.rows:
            self._observer.resumed(state.epochs, state.progress.rows)
        if self._halves and state.begun is None:
            state.begun = state.model
        solver.begin(state.model)

    def _at(self) -> Epoch:
        """Return the Epoch under way."""
        number = len(self.state.epochs)
        return Epoch(number, trained_epochs(self._model), self._halving(), self._hyperparameters)

    def _now(self) -> State:
        """Return the State as it is, with a copy of the model."""
        return replace(self.state, model=self._snapshot(), progress=replace(self.state.progress))

    def _epoch(self, *, test: bool) -> bool:
        """Train the epoch under way to its end, and test it; return False where control stopped it."""
        state, h, started, before = self.state, self._hyperparameters, perf_counter(), self.state.progress.rows
        if self._control.stop() or not self._solver.sweep(self._at(), state.progress, self._pause):
            return False
        seconds, rows = perf_counter() - started, state.progress.rows - before
        record = {"epoch": state.epoch, "train": state.progress.metrics(objective_of(h))}
        if test and not self._test(record):
            return False
        if self._halves:
            state.begun = self._snapshot()
        state.add(record, self._snapshot)
        self._observer.epoch({**record, "seconds": seconds, "rows_per_second": rows / seconds})
        self._control.save(self._now)
        return True

    def _pause(self) -> bool:
        self._control.pass_by(self._now)
        return self._control.stop()

    def _test(self, record: dict[str, Any]) -> bool:
        """Put the metrics of the test rows into the record; return False where control stops, to resume here later."""
        try:
            record["test"] = evaluated(self._judged(), objective_of(self._hyperparameters))
        except DivergedError as error:
            raise error.within(self.state.epoch) from None
        except StoppedError:  # which also ends a wait for the test rows
            return not self._control.resumable
        return True

    def _judged(self) -> Iterator[Judged]:
        """Return what the solver judges, with a chance to stop at each piece."""
        for piece in self._solver.judge():
            if self._control.resumable and self._control.stop():
                raise StoppedError
            yield piece

    def _go_back(self, error: DivergedError) -> None:
        """Go back to the start of the epoch under way with halved learning rates; raise `error` where that is off.

        Raises DivergedError after HALVINGS of them.
        """
        state = self.state
        if state.begun is None:  # which it is where on_divergence is "fail"
            raise error
        if len(state.halved) == HALVINGS:
            raise DivergedError(f"{error.what}; the learning rates were halved {HALVINGS} times before") from error
        state.halved.append(state.epoch)
        state.progress = Progress()
        self._solver.begin(state.begun)
        self._observer.halved(error, state.epoch, self._halving())

    def _result(self, *, stopped: bool) -> Model:
        """Return the trained model, of raw values, with the facts of its training in its info."""
        state, rows, placed = self.state, self.state.progress.rows, self._solver.placed
        if stopped and not rows and not state.epochs:
            raise StoppedError("stopped before the first mini-batch was trained; there is no model to save")
        model = state.best.model if state.best else self._snapshot()
        model = unscaled(converted(model, state.workers, 1), placed.scaling)
        kept = state.best.epoch if state.best else len(state.epochs)
        model.info.update(
            epochs=state.epochs,
            rows=placed.rows,
            mini_batch_size=placed.mini_batch_size,
            trained_epochs=trained_epochs(self._model) + kept,
        )
        if state.best:
            model.info["best_epoch"] = kept
        if state.halved:
            model.info["halved"] = state.halved
        if stopped:
            model.info["stopped"] = {"epoch": state.epoch, "rows": rows}
        return model

    def _halving(self) -> float:
        return 0.5 ** len(self.state.halved)

    def _snapshot(self) -> Model:
        """Return a copy of the model as it is, which holds finite numbers only."""
        model, state = self._solver.snapshot(), self.state
        try:
            model.check_finite()
        except DivergedError as error:
            raise error.within(state.epoch if state.progress.rows else len(state.epochs)) from None
        return model


def trained_epochs(model: Model) -> int:
    """Return how many epochs a model was trained, in all trainings that it comes from."""
    return model.info.get("trained_epochs", 0)

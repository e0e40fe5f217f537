"""Rows in memory to a Model: placed by a solver, trained from a first model. No file of the user's is touched here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from fmcore.errors import UsageError
from fmcore.families import family_of
from fmcore.hyper.params import Hyperparameters
from fmcore.model import scaling
from fmcore.model.model import Model, initial
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.rows.parts import Split, SplitRows
from fmcore.rows.source import Rows, as_rows
from fmcore.solvers import Placed, Resources, Solver, Task, solver_of
from fmcore.solvers.observer import Observer
from fmcore.training import pilot, warmstart
from fmcore.training.evidence import add_evidence
from fmcore.training.loop import train
from fmcore.training.state import PILOT, Control

USUAL_EPOCHS, MOST_EPOCHS = 10, 100
LEAST_STEPS = 400  # mini-batches of a training, so that few rows are trained long enough

RowsLike = Batch | Iterable[Batch] | Rows


def fit(
    rows: RowsLike,
    hyperparameters: Hyperparameters,
    *,
    test: RowsLike | None = None,
    initial_model: Model | None = None,
    resources: Resources | None = None,
    observer: Observer | None = None,
    control: Control | None = None,
) -> Model:
    """Train a model on labelled rows and return it.

    rows: a Batch, several, or an object as fmcore.rows.source.Rows describes; indices are 0-based.
    hyperparameters: fmcore.hyper.presets.resolve makes those that `fm train` has where nothing is given.
    test: likewise, rows whose metrics are kept in the model's info; early stopping goes by them.
    initial_model: a trained Model to start from, with its optimizer's state; see fmcore.training.warmstart for the
    hyperparameters that go with it.
    observer: receives what training reports. control: decides where to begin, when to stop, what to save.
    Raises DataError for rows that cannot be trained on, UsageError for what does not fit together, ResourceError beyond
    the memory limit, DivergedError where a loss or a weight is not finite, StoppedError where control stops it before
    there is any result.
    """
    rows, test = as_rows(rows), None if test is None else as_rows(test)
    task = with_validation(Task(rows, hyperparameters, test, initial_model))
    return Fitting(resources).fit(task, observer, control)


class Fitting:
    """Fits one task after the other; rows that were prepared for one are used again where they fit the next."""

    def __init__(self, resources: Resources | None = None) -> None:
        self._resources = resources or Resources()
        self._last: Solver | None = None

    def fit(self, task: Task, observer: Observer | None = None, control: Control | None = None) -> Model:
        """Return the Model of a Task; see `fit` above."""
        require_trainable(task)
        observer, control = observer or Observer(), control or Control()
        last, self._last = self._last, None  # whose memory is free before other rows are prepared
        task = task._replace(sample=pilot.SAMPLE if pilot.wanted(task) else 0)
        again = last is not None and not task.sample and last.fits(task)  # a pilot needs rows as they are
        previous = last if again else None
        del last
        place = solver_of(task.hyperparameters, self._resources).place
        with place(task, self._resources, observer, previous=previous, checkpoint=control.kept) as solver:
            self._last = solver
            task, record = self._piloted(task, solver.placed, observer, control)
            model = _first_model(task, solver.placed)
            if record is not None:
                model.info[PILOT] = record
            observer.loaded(solver.placed, model, solver)
            return train(model, solver, test_each_epoch=_each_epoch(task), observer=observer, control=control)

    def _piloted(
        self, task: Task, placed: Placed, observer: Observer, control: Control
    ) -> tuple[Task, dict[str, Any] | None]:
        """Return the task as a pilot on its first rows would have it trained, and what it has found; see `pilot`."""
        sample = placed.take_sample()
        if not sample:
            return task, None
        if found := control.piloted(task.hyperparameters, placed, tested=task.test is not None):
            return task._replace(hyperparameters=found[0]), found[1]
        threads = Resources(self._resources.threads)
        epochs = epochs_of(task.hyperparameters, placed)
        outcome = pilot.run(sample, task.hyperparameters, epochs, lambda rows, h: fit(rows, h, resources=threads))
        if outcome is None:
            return task, None
        observer.piloted(outcome.record)
        return task._replace(hyperparameters=outcome.hyperparameters), outcome.record


def with_validation(task: Task) -> Task:
    """Return the task, with the rows that validation_fraction holds out as its test rows.

    Raises UsageError where there are test rows, or rows that cannot be read twice.
    """
    fraction = task.hyperparameters.validation_fraction
    if fraction is None:
        return task
    if task.test is not None:
        raise UsageError(
            "validation_fraction holds out rows to test on, but test rows are given; leave one of them out"
        )
    if not task.rows.rereadable:
        raise UsageError("validation_fraction takes rows that can be read twice, and a pipe's come once; give files")
    split = Split(fraction, task.hyperparameters.seed)
    train, held = (SplitRows(task.rows, split, held_out=held_out) for held_out in (False, True))
    return task._replace(rows=train, test=held)


def require_trainable(task: Task) -> None:
    """Raise UsageError for what training would find out only later, or never."""
    h = task.hyperparameters
    takes, gives = objective_of(h).outputs, family_of(h).outputs
    if takes != gives:
        raise UsageError(
            f"predictor_type {h.predictor_type} takes {takes} raw scores a row, but family {h.family} gives {gives}; "
            "choose another of the two"
        )
    if task.initial_model is not None:
        warmstart.require_same_model(task.initial_model, asdict(h))
    if task.test is None and h.early_stopping_patience is not None:
        raise UsageError(
            "early_stopping_patience needs test rows, but none are given; name some with --test, hold some out with "
            "--validation-fraction, or set it to none"
        )
    if task.rows.streaming and h.on_divergence != "fail":
        raise UsageError(
            f"on_divergence is {h.on_divergence}, which trains an epoch again, but the rows "
            "of a pipe come once; give files, or use fail"
        )


def _each_epoch(task: Task) -> bool:
    """Return whether test rows are scored after each epoch; a stream of them is read once where nothing goes by it."""
    return task.test is None or not task.test.streaming or task.hyperparameters.early_stopping_patience is not None


def _first_model(task: Task, placed: Placed) -> Model:
    """Return what training starts with, of rows as it sees them: a new model, or a copy of the initial one, widened."""
    hyperparameters = replace(
        task.hyperparameters, feature_dim=placed.feature_dim, epochs=epochs_of(task.hyperparameters, placed)
    )
    if task.initial_model is None:
        known, model = 0, initial(hyperparameters, 0.0 if placed.scaling.label else placed.mean_label)
    else:
        known, larger = task.initial_model.feature_dim, warmstart.grown(task.initial_model, hyperparameters)
        model = scaling.rescaled(larger, placed.scaling, known)
    if placed.evidence is not None:
        add_evidence(model, placed.evidence, placed.mean_label, known)
    return model


def epochs_of(hyperparameters: Hyperparameters, placed: Placed) -> int:
    """Return the number of epochs: as given, else USUAL_EPOCHS, and for few rows more, to make LEAST_STEPS."""
    if hyperparameters.epochs is not None:
        return hyperparameters.epochs
    enough = -(-LEAST_STEPS * placed.mini_batch_size // max(1, placed.rows))
    return min(MOST_EPOCHS, max(USUAL_EPOCHS, enough))

"""A process that trains the trials it receives, on rows it maps, and reports the objective on the way.

The protocol of its connection: it receives the hyperparameters of a trial; it sends any number of (REPORT, step,
value), each answered by whether to end there; then one of (DONE, value, info), (PRUNED, None, info), (FAILED, None,
info) with its "problem", or (ERROR, exception). It ends when the connection closes, or the process that started it.
The info of a trial that is done has its "epochs", those until the best one, and "found", all hyperparameters of its
model, some of which only its rows or a pilot have decided; of folds, the last one's.
"""

import multiprocessing
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from threading import Thread
from time import perf_counter

import numpy as np

from fmcore.errors import DivergedError, FMError, ResourceError
from fmcore.rows.source import Fold, MemoryRows
from fmcore.solvers import Resources, Task
from fmcore.solvers.observer import Observer
from fmcore.training.fit import Fitting
from fmcore.tuning.goals import STEPS, Goal
from fmcore.tuning.shared import Shared

REPORT, DONE, PRUNED, FAILED, ERROR = "report", "done", "pruned", "failed", "error"


@dataclass(frozen=True)
class TrialContext:
    """The rows, goal and resources that all trials have in common.

    feature_dim: of the rows and of what encodes them.
    train, test: Shared; without test rows, `folds` parts of the training rows serve as such one after the other.
    goal: what is reported. threads: of each worker. memory_limit: bytes for its training rows.
    """

    feature_dim: int
    train: Shared
    test: Shared | None
    folds: int = 0
    goal: Goal | None = None
    threads: int = 1
    memory_limit: int = 0


class Stopped(Exception):  # noqa: N818 - it is not an error
    """The trial is not worth continuing."""


def work(job, connection):
    """Serve trials until the connection closes; the process's main function."""
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    trainer = TrialTrainer(job, connection)
    with suppress(EOFError, OSError):  # nobody listens any more
        while True:
            connection.send(trainer.run(connection.recv()))


def _end_with(parent):
    """End this process once its parent has, however long an epoch may take."""
    parent.join()
    os._exit(1)


class TrialTrainer:
    """A trainer of trials, one after the other; rows prepared for the last are used again where they fit the next."""

    def __init__(self, job, connection):
        self._job, self._connection = job, connection
        self._fitting = Fitting(Resources(job.threads, job.memory_limit))
        self._rows = {}  # (fold, seed) -> training and test rows

    def run(self, hyperparameters):
        """Train one trial; return the message that ends it."""
        started, values, model = perf_counter(), [], None
        hyperparameters = replace(hyperparameters, feature_dim=self._job.feature_dim)

        def info(**more):
            return {"seconds": perf_counter() - started, **more}

        try:
            for fold in range(self._job.folds or 1):
                model = self._trained(hyperparameters, fold)
                values.append(self._value(model))
                if fold + 1 < self._job.folds:
                    self._report(fold + 1, float(np.mean(values)))
            return DONE, float(np.mean(values)), info(epochs=_epochs(model), found=_found(model))
        except Stopped:
            return PRUNED, None, info()
        except DivergedError as error:
            return FAILED, None, info(problem=str(error))
        except (MemoryError, ResourceError):
            return FAILED, None, info(problem="out of memory")
        except FMError as error:
            return ERROR, error

    def _trained(self, hyperparameters, fold):
        """Return the model of one fold, or of all training rows where there are test rows."""
        rows, test = self._placed(fold, hyperparameters.seed)
        watch = Observer() if self._job.folds else Watch(self._job.goal, self._report)
        return self._fitting.fit(Task(rows, hyperparameters, test), watch)

    def _value(self, model):
        """Return the objective of a model."""
        return self._job.goal.value(model.info["epochs"][_epochs(model) - 1]["test"])

    def _report(self, step, value):
        self._connection.send((REPORT, step, value))
        if self._connection.recv():
            raise Stopped

    def _placed(self, fold, seed):
        """Return the training rows and the test rows of a fold; the same objects each time they are asked for."""
        job, key = self._job, (fold, seed if self._job.folds else None)
        if key not in self._rows:
            train = job.train
            self._rows[key] = (
                tuple(Fold(train.batches, train.rows, seed, (fold, job.folds), held_out=held) for held in (False, True))
                if job.folds
                else (MemoryRows(train.batches), MemoryRows(job.test.batches))
            )
        return self._rows[key]


def _epochs(model):
    """Return how many epochs it was trained for, those after the best one aside."""
    return model.info.get("best_epoch", len(model.info["epochs"]))


def _found(model):
    """Return name -> value of all its hyperparameters, as its training decided them."""
    return {**asdict(model.hyperparameters), "mini_batch_size": model.info["mini_batch_size"]}


class Watch(Observer):
    """A reporter of the objective at the end of each part of a trial, where long and short trials can be compared."""

    def __init__(self, goal, report):
        self._goal, self._report = goal, report
        self._step = self._epochs = 0

    def loaded(self, placed, model, solver):  # noqa: ARG002 - as all observers are called
        """Note how many epochs there are."""
        self._epochs = model.hyperparameters.last_epoch

    def epoch(self, record):
        """Report the objective so far where a part has ended and the last is not reached."""
        step = record["epoch"] * STEPS // self._epochs
        if self._step < step < STEPS:
            self._step = step
            self._report(step, self._goal.value(record["test"]))

"""A process that trains what it is told to, on rows it maps, and tells the objective on the way.

The talk over its connection: it gets the hyperparameters of a trial; it sends any number of (REPORT, step, value), each
answered by whether to end there; then one of (DONE, value, info), (PRUNED, None, info), (FAILED, None, info) with its
"problem", or (ERROR, exception). It ends when the connection closes, or the process that started it does.
"""

import multiprocessing
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Thread
from time import perf_counter

import numpy as np

from fmcore.errors import DivergedError, FMError
from fmcore.kernels import backend_for
from fmcore.model.model import initial
from fmcore.rows.blocks import generator
from fmcore.rows.dataset import Dataset
from fmcore.training.loop import Observer, train
from fmcore.tuning.objectives import STEPS, objective_of
from fmcore.tuning.shared import Shared

REPORT, DONE, PRUNED, FAILED, ERROR = "report", "done", "pruned", "failed", "error"


@dataclass(frozen=True)
class TrialContext:
    """What all trials have in common.

    feature_dim: of the rows and of what encodes them.
    train, test: Shared; without test rows, `folds` parts of the training rows take turns as such.
    objective: a name of objectives.OBJECTIVES. threads: of each worker. memory_limit: bytes for its training rows.
    """

    feature_dim: int
    train: Shared
    test: Shared | None
    folds: int = 0
    objective: str | None = None
    threads: int = 1
    memory_limit: int = 0


class Stopped(Exception):  # noqa: N818 - it is not an error
    """The trial is not worth going on with."""


def work(job, connection):
    """Serve trials until the connection closes; the process's main function."""
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    trainer = Trainer(job, connection)
    with suppress(EOFError, OSError):  # nobody listens any more
        while True:
            connection.send(trainer.run(connection.recv()))


def _end_with(parent):
    """End this process once its parent has, however long an epoch may take."""
    parent.join()
    os._exit(1)


class Trainer:
    """Trains trials one after the other, keeping the rows as prepared for the last one while they fit the next."""

    def __init__(self, job, connection):
        self._job, self._connection = job, connection
        self._backend = backend_for("cpu", job.threads)
        self._objective = objective_of(job.objective)
        self._prepared = (None, None)

    def run(self, hyperparameters):
        """Train one trial; the message that ends it."""
        started, values = perf_counter(), []
        hyperparameters = replace(hyperparameters, feature_dim=self._job.feature_dim)

        def info(**more):
            return {"seconds": perf_counter() - started, **more}

        try:
            for fold in range(self._job.folds or 1):
                values.append(self._value(hyperparameters, fold, values))
            return DONE, float(np.mean(values)), info()
        except Stopped:
            return PRUNED, None, info()
        except DivergedError as error:
            return FAILED, None, info(problem=str(error))
        except MemoryError:
            return FAILED, None, info(problem="out of memory")
        except FMError as error:
            return ERROR, error

    def _value(self, hyperparameters, fold, before):
        """The objective of one fold, or of the test rows; `before` holds those of the folds before it."""
        dataset = self._dataset(hyperparameters, fold)
        model = initial(hyperparameters, dataset.mean_label)
        watch = Observer() if self._job.folds else Watch(self._objective, hyperparameters.epochs, self._tell)
        trained = train(
            model, dataset, self._backend, test=lambda: self._test_rows(fold, hyperparameters.seed), observer=watch
        )
        epoch = trained.info.get("best_epoch", len(trained.info["epochs"]))
        value = self._objective(trained.info["epochs"][epoch - 1]["test"])
        if self._job.folds and fold + 1 < self._job.folds:
            self._tell(fold + 1, float(np.mean([*before, value])))
        return value

    def _tell(self, step, value):
        self._connection.send((REPORT, step, value))
        if self._connection.recv():
            raise Stopped

    def _dataset(self, h, fold):
        key = (fold, h.mini_batch_size, h.shuffle, h.seed, h.feature_scaling)
        if self._prepared[0] != key:
            self._prepared = (None, None)  # its memory is free before the next is prepared
            dataset = Dataset(lambda: self._train_rows(fold, h.seed), h, self._backend.prepare, self._job.memory_limit)
            dataset.load()
            dataset.widen(h.feature_dim)
            self._prepared = (key, dataset)
        return self._prepared[1]

    def _train_rows(self, fold, seed):
        if not self._job.folds:
            return self._job.train.batches()
        return self._part(seed, lambda folds: folds != fold)

    def _test_rows(self, fold, seed):
        if not self._job.folds:
            return self._job.test.batches()
        return self._part(seed, lambda folds: folds == fold)

    def _part(self, seed, wanted):
        """The training rows whose fold is wanted."""
        folds = generator(seed, "folds").permutation(self._job.train.rows) % self._job.folds
        first = 0
        for batch in self._job.train.batches():
            chosen = np.flatnonzero(wanted(folds[first : first + len(batch)]))
            first += len(batch)
            if len(chosen):
                yield batch.take(chosen)


class Watch(Observer):
    """Tells the objective at the end of each part of a trial's way, where long and short trials can be compared."""

    def __init__(self, objective, epochs, tell):
        self._objective, self._epochs, self._tell = objective, epochs, tell
        self._step = 0

    def epoch(self, record):
        """Tell, where a part has ended and the last is not reached."""
        step = record["epoch"] * STEPS // self._epochs
        if self._step < step < STEPS:
            self._step = step
            self._tell(step, self._objective(record["test"]))

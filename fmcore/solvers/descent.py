"""Gradient descent over mini-batches, in slices of an epoch, on a backend: the solver named "gradient"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from fmcore.kernels import Backend, Trainer, backend_of, has_kernels
from fmcore.kernels.devices import resolve
from fmcore.model import scaling
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch
from fmcore.rows.dataset import Dataset
from fmcore.rows.held import HeldRows
from fmcore.rows.piped import PipedDataset
from fmcore.rows.scaling import Known
from fmcore.solvers import Judged, Resources, Solver, Task
from fmcore.solvers.epoch import Epoch, Progress, position, train_epoch
from fmcore.solvers.estimate import parameter_bytes, require_memory
from fmcore.solvers.observer import Observer
from fmcore.system.memory import Budget, budget, give_back
from fmcore.system.threads import default_threads

# hyperparameters that rows are prepared and checked by
PREPARED_BY = (
    "mini_batch_size",
    "shuffle",
    "seed",
    "feature_scaling",
    "label_scaling",
    "label_range",
    "penalty",
    "use_bias",
    "use_linear",
    "family",
    "feature_dim",
    "predictor_type",
)


class GradientDescent(Solver):
    """See fmcore.solvers.Solver.

    backend: see fmcore.kernels. placed: a loaded Dataset. test: HeldRows, or None. task: what was placed.
    """

    workers, unit = 1, "mini-batches"
    memory = staticmethod(parameter_bytes)

    def __init__(
        self,
        backend: Backend,
        placed: Dataset,
        test: HeldRows | None = None,
        observer: Observer | None = None,
        task: Task | None = None,
    ) -> None:
        self.backend, self.placed, self.test, self._task = backend, placed, test, task
        self._observer = observer or Observer()
        self._trainer: Trainer | None = None
        self.name, self.note, self.threads = backend.name, backend.note, backend.threads
        self.tested = test is not None

    @classmethod
    @contextmanager
    def place(
        cls,
        task: Task,
        resources: Resources,
        observer: Observer,
        *,
        previous: Solver | None = None,
        checkpoint: Callable[[], str | None] = lambda: None,  # noqa: ARG003 - for those that can lose workers
    ) -> Iterator[GradientDescent]:
        """See fmcore.solvers.Solver."""
        with task.rows.named():
            if isinstance(previous, GradientDescent) and previous.fits(task):
                yield cls(previous.backend, previous.placed, previous.test, observer, task)
                return
            limits = budget(resources.memory_limit)
            backend, dataset = _loaded(task, resources, limits)
            yield cls(backend, dataset, _test_rows(task, dataset.feature_dim, limits), observer, task)

    def fits(self, task: Task) -> bool:
        """See fmcore.solvers.Solver."""
        mine = self._task
        if mine is None or any(
            here is not there
            for here, there in (
                (mine.rows, task.rows),
                (mine.test, task.test),
                (mine.initial_model, task.initial_model),
            )
        ):
            return False
        h, other = mine.hyperparameters, task.hyperparameters
        same = all(getattr(h, name) == getattr(other, name) for name in PREPARED_BY)
        return same and has_kernels(h) == has_kernels(other)

    def begin(self, model: Model) -> None:
        """See fmcore.solvers.Solver."""
        self._trainer = None  # its memory is free before the next one takes as much
        self._trainer = self.backend.trainer(model)

    def position(self, epoch: Epoch, rows: int) -> Progress:  # noqa: ARG002 - for those whose steps depend on it
        """See fmcore.solvers.Solver."""
        return position(rows, self.placed.block_rows, self.placed.mini_batch_size)

    def sweep(self, epoch: Epoch, progress: Progress, pause: Callable[[], bool]) -> bool:
        """See fmcore.solvers.Solver; it may pause after each slice of a block."""
        return train_epoch(self._begun, self.placed, epoch, progress, self._observer, pause)

    def score(self, batch: Batch) -> np.ndarray:
        """See fmcore.solvers.Solver."""
        scaling = self.placed.scaling
        return scaling.scores(self._begun.score(scaling.features(batch)))

    def judge(self) -> Iterator[Judged]:
        """See fmcore.solvers.Solver."""
        batches = () if self.test is None else self.test.batches()
        return ((self.score(batch), batch.labels, batch.weights) for batch in batches)

    def snapshot(self) -> Model:
        """See fmcore.solvers.Solver."""
        return self._begun.snapshot()

    @property
    def _begun(self) -> Trainer:
        """Return the trainer that `begin` made."""
        if self._trainer is None:
            raise ValueError("nothing to train yet: begin comes first")
        return self._trainer


def known_by(task: Task) -> Known:
    """Return the scaling that a task's initial model was trained with."""
    return Known() if task.initial_model is None else scaling.known_scaling(task.initial_model)


def _loaded(task: Task, resources: Resources, limits: Budget) -> tuple[Backend, Dataset]:
    """Return the backend and the loaded Dataset of a task."""
    rows, h, initial_model = task.rows, task.hyperparameters, task.initial_model
    known = initial_model.feature_dim if initial_model else None
    backend = backend_of(h, resources.device, resources.threads or default_threads())
    require_memory(h, max(known or 1, rows.feature_dim(1, h.feature_dim)), limits)
    dataset = _dataset(task, backend, limits)
    dataset.keep_sample(task.sample)
    dataset.load()
    backend = resolve(backend, dataset)
    give_back()
    feature_dim = rows.complete(dataset.feature_dim, h.feature_dim, known)
    require_memory(h, feature_dim, limits)
    dataset.widen(feature_dim)
    return backend, dataset


def _dataset(task: Task, backend: Backend, limits: Budget) -> Dataset:
    rows, h = task.rows, task.hyperparameters
    objective = objective_of(h)

    def reserved(seen: int) -> int:
        feature_dim = rows.feature_dim(seen, h.feature_dim)
        require_memory(h, feature_dim, limits)
        return limits.reserved(parameter_bytes(h, feature_dim))

    options: dict[str, Any] = {"reserved": reserved, "known": known_by(task)}
    if rows.streaming:
        return PipedDataset(partial(rows.read, objective), h, backend.prepare, rows.cancel, **options)
    return Dataset(
        lambda: rows.read(objective, h.feature_dim),
        h,
        backend.prepare,
        limits.rows,
        rereadable=rows.rereadable,
        **options,
    )


def _test_rows(task: Task, feature_dim: int, limits: Budget) -> HeldRows | None:
    if task.test is None:
        return None
    again = not task.test.streaming or task.hyperparameters.early_stopping_patience is not None
    return HeldRows(task.test, objective_of(task.hyperparameters), feature_dim, limits.rows, again=again)

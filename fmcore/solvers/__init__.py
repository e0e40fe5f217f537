"""Solvers: each is a way to train the parameters of a model on rows, sweep after sweep.

A solver is one file (or a folder) here with a class that implements `Solver` below; its name stands in SOLVERS of
fmcore.hyper.solvers, with the table of its state. The loop over epochs, with tests, early stopping, checkpoints and
resuming (fmcore.training.loop), is the same for all of them.

    descent.py   gradient descent over mini-batches: epochs, slices and optimizers
    team/        the same by several workers, each on its own rows, that merge their parameters after every round
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from fmcore.errors import UsageError
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.solvers import DEFAULT, SOLVERS
from fmcore.model.model import Model
from fmcore.rows.batch import Batch
from fmcore.rows.evidence import Evidence
from fmcore.rows.scaling import Scaling
from fmcore.rows.source import Rows
from fmcore.solvers.epoch import Epoch, Progress
from fmcore.solvers.observer import Observer


@dataclass(frozen=True)
class TeamOptions:
    """Several workers that train one model.

    engine: one of fmcore.solvers.team.ENGINES. workers: their number.
    dist_state: one of fmcore.solvers.team.STATES. address: of a Ray cluster.
    """

    engine: str = "local"
    workers: int = 1
    dist_state: str = "auto"
    address: str | None = None


@dataclass(frozen=True)
class Resources:
    """The resources that a training may use.

    threads: of this process, or of each worker of a team, where None is as many as each has.
    memory_limit: bytes, as fmcore.system.memory.budget takes it; of each worker of a team.
    device: as fmcore.kernels.backend_for takes it. team: several workers, or None.
    """

    threads: int | None = 1
    memory_limit: int | None = None
    device: str = "cpu"
    team: TeamOptions | None = None


class Task(NamedTuple):
    """A training.

    rows: to train on. test: rows to test on, or None. initial_model: a trained Model to start from, or None.
    sample: how many of the rows are kept as they are, for a pilot.
    """

    rows: Rows
    hyperparameters: Hyperparameters
    test: Rows | None = None
    initial_model: Model | None = None
    sample: int = 0


class Placed(Protocol):
    """Facts about the training rows, known once a solver has read them.

    rows, non_zeros, feature_dim: of all of them, or, until an epoch has ended, of the first block where `complete` is
    False (pipes). mean_label: weighted. mini_batch_size: rows of a step, where there are such.
    scaling: what is done to the rows before they are trained on. evidence: where penalties go by rows, else None.
    in_memory: whether the rows are kept in memory. memory: bytes that they take.
    """

    rows: int
    non_zeros: int
    feature_dim: int
    mean_label: float
    mini_batch_size: int
    scaling: Scaling
    evidence: Evidence | None
    in_memory: bool
    complete: bool

    @property
    def memory(self) -> int:
        """Return the bytes that the rows take."""
        ...

    def take_sample(self) -> list[Batch]:
        """Return the first rows, raw, where a task's solver was asked to keep some, once; else nothing."""
        ...


Judged = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class Solver(Protocol):
    """A way to train the parameters of a model on rows that are placed where it needs them.

    A training calls `place`, then `begin`, then in each epoch `sweep` until its end is reached, `judge` where there are
    test rows, and `snapshot`; `position` where it resumes in the middle of an epoch that was saved by another number of
    workers or in another unit. What it keeps beside the weights stands in fmcore.hyper.solvers.

    name: for people, of what it computes on. note: a sentence on how that was chosen, or None.
    threads: of each process. placed: what is known of the training rows.
    tested: whether there are test rows.
    workers: how many train together; a saved state of another number is converted (see fmcore.training.state).
    unit: what the steps of its Progress count, one of fmcore.solvers.epoch.UNITS.
    """

    name: str
    note: str | None
    threads: int
    placed: Placed
    tested: bool
    workers: int
    unit: str

    @classmethod
    def place(
        cls,
        task: Task,
        resources: Resources,
        observer: Observer,
        *,
        previous: Solver | None = None,
        checkpoint: Callable[[], str | None] = lambda: None,
    ) -> AbstractContextManager[Solver]:
        """Read the rows of a Task, and return a block that is given a solver, for which `begin` comes next.

        observer: an Observer, which the solver reports to from then on.
        previous: one that was placed before, whose prepared rows may be used again where it `fits` the task.
        checkpoint: called where workers die, for the path of a checkpoint to resume from, or None.
        Raises DataError for bad rows, UsageError for what does not fit together, ResourceError beyond the memory.
        """
        ...

    def fits(self, task: Task) -> bool:
        """Return whether the rows of a Task are those placed here, prepared as its hyperparameters want them."""
        ...

    def begin(self, model: Model) -> None:
        """Start from a copy of the model's parameters and state, of scaled values; drop what was trained before.

        Called once before the first sweep, and again where training goes back to the start of an epoch.
        """
        ...

    def position(self, epoch: Epoch, rows: int) -> Progress:
        """Return the Progress, without sums, that is nearest to so many rows of an epoch."""
        ...

    def sweep(self, epoch: Epoch, progress: Progress, pause: Callable[[], bool]) -> bool:
        """Train what is left of an epoch, moving `progress` along; return whether its end was reached.

        pause: asked wherever the sweep can be saved and resumed within; True ends it there.
        Raises DivergedError where a loss is not finite.
        """
        ...

    def score(self, batch: Batch) -> np.ndarray:
        """Return raw scores, float32 (rows,), of unscaled rows with the parameters as they are."""
        ...

    def judge(self) -> Iterator[Judged]:
        """Return (raw scores, labels, weights or None), float32, of all test rows in order, piece by piece."""
        ...

    def snapshot(self) -> Model:
        """Return a copy of the parameters and the state, of scaled values."""
        ...

    @staticmethod
    def memory(hyperparameters: Hyperparameters, feature_dim: int) -> int:
        """Return the bytes that parameters and state take at most while they are trained, rows aside."""
        ...


def solver_of(hyperparameters: Hyperparameters, resources: Resources) -> type[Solver]:
    """Return the class of the solver that hyperparameters and resources ask for; UsageError where they contradict."""
    name = hyperparameters.solver
    if resources.team is None:
        return SOLVERS[name].load()
    if name != DEFAULT:
        raise UsageError(f"solver {name} trains in one process; leave --distributed out, or use solver {DEFAULT}")
    from fmcore.solvers.team.solver import TeamDescent

    return TeamDescent

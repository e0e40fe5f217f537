"""Score and update: the slow NumPy truth, the fast kernels and PyTorch, under one contract.

`Backend` and `Trainer` are what all of them have; `SharedBackend` and `SharedTrainer` what workers that train together
need beside that. A loss is that of the model's objective (see fmcore.objectives) times the row's weight.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fmcore.errors import UsageError
from fmcore.families import family_of
from fmcore.hyper.params import Hyperparameters
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block, Counts


class Trainer(Protocol):
    """A copy of a model's parameters and of its optimizer's state, which is trained."""

    def train(
        self, block: Block, order: np.ndarray, lr: float = 1.0, fall: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Train one pass over mini-batches of a prepared block; return its rows' raw scores and weighted losses.

        order: int64, the numbers of the mini-batches in their order. lr: what all learning rates are multiplied by in
        the first of them. fall: how much less it would be right behind the last.
        Both results are float32 (rows,) and as they were before the row's own mini-batch changed anything; those of
        rows whose mini-batch is not in `order` are arbitrary. A loss that is not finite raises nothing here.
        """
        ...

    def count(self, counts: Counts) -> None:
        """Add rows to those that are known of each feature, where penalties go by rows."""
        ...

    def score(self, batch: Batch) -> np.ndarray:
        """Return raw scores, float32 (rows,), with the parameters as they are; the batch as for `Backend.score`."""
        ...

    def snapshot(self) -> Model:
        """Return a Model of copies of the parameters and the state as they are."""
        ...


class Backend(Protocol):
    """Code that computes scores and steps, on some device.

    name: a word or two for people. note: a sentence on how it came to be chosen, or None.
    """

    name: str
    note: str | None

    @property
    def threads(self) -> int:
        """Return how many threads of this process it uses."""
        ...

    def prepare(self, block: Block) -> Block:
        """Return the Block with what a trainer needs in `groups`; its batch may lose all but labels, weights, groups.

        May be called from any thread. Raises UsageError for rows that it has no place for.
        """
        ...

    def score(self, batch: Batch, model: Model) -> np.ndarray:
        """Return raw scores, float32 (rows,), of rows whose indices are all below model.feature_dim.

        Raises UsageError where the model's family needs fields and the rows have none.
        """
        ...

    def trainer(self, model: Model) -> Trainer:
        """Return a Trainer that starts from a copy of the model."""
        ...


class SharedTrainer(Trainer, Protocol):
    """A Trainer whose parameters can be read and changed between two passes, feature by feature.

    What belongs to a feature, weights and optimizer state, is a float32 row; in which order it stands there is the
    trainer's, the same in all trainers of one backend for models of one family, optimizer and num_factors.
    Where features are given (int32, within the model), each comes once.
    updates: mini-batches trained so far.
    """

    updates: int

    @property
    def bias(self) -> np.ndarray:
        """Return what belongs to no feature, float32 (n,): weights and optimizer state. To be set, not written into."""
        ...

    @bias.setter
    def bias(self, numbers: np.ndarray) -> None: ...

    def take(self, features: np.ndarray) -> np.ndarray:
        """Return a copy of the rows of some features, float32 (features, size)."""
        ...

    def put(self, features: np.ndarray, rows: np.ndarray) -> None:
        """Replace the rows of some features; ValueError where rows have another shape than those of `take`."""
        ...

    def add(self, features: np.ndarray, rows: np.ndarray) -> None:
        """Add to the rows of some features; ValueError as for `put`."""
        ...

    def difference(self, features: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the rows of some features less those before, float32 (features, size); ValueError as for `put`."""
        ...


class SharedBackend(Backend, Protocol):
    """A Backend for workers that train together."""

    def trainer(self, model: Model, workers: int = 1) -> SharedTrainer:
        """See Backend; workers: how many train, each on its own rows, and take the mean of what they have changed."""
        ...

    def mark(self, block: Block, order: np.ndarray, seen: np.ndarray) -> None:
        """Set `seen`, uint8 (feature_dim,), to 1 for the features of mini-batches `order` (int64) of a prepared block.

        It may be set for others that are below the block's largest index.
        """
        ...

    def renumbered(self, block: Block, order: np.ndarray, places: np.ndarray) -> Block:
        """Return a prepared block with feature places[i] for i in mini-batches `order` (int64); others are arbitrary.

        places: int32 (feature_dim,), rising over the features that `mark` marks for these mini-batches, from 0 on.
        """
        ...


HEADERS = ("fm.h",)  # of families, which the kernels are compiled with


def has_kernels(hyperparameters: Hyperparameters, *, training: bool = True) -> bool:
    """Return whether the kernels train models of these hyperparameters, or (training=False) score them."""
    return not without_kernels(hyperparameters, training=training)


def without_kernels(hyperparameters: Hyperparameters, *, training: bool = True) -> list[str]:
    """Return what of the hyperparameters the kernels have no case for, in words such as "family other"; see above."""
    family, objective, optimizer = (
        family_of(hyperparameters),
        objective_of(hyperparameters),
        optimizer_of(hyperparameters),
    )
    if family.kernel not in (None, *HEADERS):
        raise UsageError(
            f"family {family.name} names the header {family.kernel!r}, but these kernels are compiled with "
            f"{', '.join(HEADERS)}; set its kernel to None"
        )
    cases: list[tuple[str, str, object]] = [("family", family.name, family.kernel)]
    if training:
        cases += [("predictor_type", objective.name, objective.kernel), ("optimizer", optimizer.name, optimizer.kernel)]
    return [f"{kind} {name}" for kind, name, case in cases if case is None]


def require_kernels(hyperparameters: Hyperparameters) -> None:
    """Raise UsageError where the kernels have no case for these hyperparameters, and several workers are to train."""
    if missing := without_kernels(hyperparameters):
        raise UsageError(
            f"{missing[0]} has no case in the kernels, which several workers train with; leave out --distributed"
        )


def backend_of(
    hyperparameters: Hyperparameters, name: str = "cpu", threads: int = 1, *, training: bool = True
) -> Backend:
    """Return the backend of that name for models of these hyperparameters.

    What the kernels have no case for (its `kernel` is None) is trained and scored by the reference, whose note says so.
    name, threads, errors: as for `backend_for`. training: False where models are scored alone, by their family.
    """
    missing = without_kernels(hyperparameters, training=training)
    if not missing:
        return backend_for(name, threads)
    if name not in ("cpu", "auto", "reference"):
        return backend_for(name, threads)  # which has objectives by their Python, and refuses whatever else it lacks
    chosen = backend_for("reference")
    has = "has" if len(missing) == 1 else "have"
    chosen.note = (
        f"{' and '.join(missing)} {has} no case in the kernels: the NumPy reference, which is slow, does the work"
    )
    return chosen


def backend_for(name: str, threads: int = 1) -> Backend:
    """Return the backend "reference", or that of a device.

    name: as fmcore.kernels.devices.parse_device returns it. Raises UsageError where the device is not there.
    """
    if name == "reference":
        from fmcore.kernels.reference import ReferenceBackend

        return ReferenceBackend()
    if name == "cpu":
        from fmcore.kernels.cpu import CpuBackend

        return CpuBackend(threads)
    if name == "auto":
        from fmcore.kernels.devices import AutoBackend

        return AutoBackend(backend_for, threads)
    if "," in name:
        from fmcore.kernels.pytorch.several import SeveralBackend

        return SeveralBackend(tuple(name.split(",")), threads)
    from fmcore.kernels.pytorch.backend import TorchBackend

    return TorchBackend(name, threads)


def shared_backend(threads: int = 1) -> SharedBackend:
    """Return the backend that several workers train with, each with so many threads."""
    from fmcore.kernels.cpu import CpuBackend

    return CpuBackend(threads)


def add_rows(rows: np.ndarray, places: np.ndarray, more: np.ndarray, threads: int = 1) -> None:
    """Add float32 rows to some others in place, at `places` (int32), of which each comes once.

    Raises ValueError where shapes do not fit, or a place is beyond the rows.
    """
    from fmcore.kernels._exchange import move

    move("add", places, more, rows, np.empty((1, 0), np.float32), width=1, k=0, threads=threads)

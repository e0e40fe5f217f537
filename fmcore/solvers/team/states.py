"""The parameters of one worker: a replica of all, or a shard of them and what a round needs of the others' shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from fmcore.families.contract import per_feature
from fmcore.kernels import SharedBackend, SharedTrainer
from fmcore.model.model import Model
from fmcore.optimizers.state import TOTALS
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block
from fmcore.solvers.team import deltas
from fmcore.solvers.team.deltas import Delta
from fmcore.solvers.team.feed import Stretch

BETWEEN = "no round is under way"


class Parameters(Protocol):
    """The parameters of a worker; between `begin` and `apply`, `trainer` trains a round of them."""

    @property
    def trainer(self) -> SharedTrainer:
        """Return the trainer of the round, for blocks and batches as `block` and `batch` make them."""
        ...

    def begin(self, features: np.ndarray) -> None:
        """Begin a round that changes no other features (int32, rising) than these."""
        ...

    def deltas(self) -> list[Delta]:
        """Return what the round has changed so far, a Delta of each owner's features."""
        ...

    def rewind(self) -> None:
        """Undo the round, bit by bit, if one is under way."""
        ...

    def merge(self, merged: Delta) -> None:
        """Change, as an owner, what is owned by the mean of what all workers changed of it."""
        ...

    def apply(self, merged: Sequence[Delta | None]) -> None:
        """End the round by what each owner has merged; None from one that has changed its features itself."""
        ...

    def batch(self, batch: Batch) -> Batch:
        """Return a Batch as the trainer wants it."""
        ...

    def block(self, stretch: Stretch) -> Block:
        """Return the prepared Block of a Stretch as the trainer wants it."""
        ...

    def model(self) -> Model:
        """Return a Model of what is held."""
        ...


class Replica:
    """All parameters, and those that the round under way may change as they were before; see Parameters.

    workers: how many there are, who own the features in turn.
    """

    def __init__(self, backend: SharedBackend, model: Model, workers: int) -> None:
        self.trainer, self._workers = backend.trainer(model, workers), workers
        self._before: list[tuple[np.ndarray, np.ndarray]] | None = (
            None  # features and rows by owner; None between rounds
        )

    def begin(self, features: np.ndarray) -> None:
        """See Parameters."""
        self._before = [(own, self.trainer.take(own)) for own in deltas.by_owner(features, self._workers)]
        self._bias, self._updates = self.trainer.bias.copy(), self.trainer.updates

    def deltas(self) -> list[Delta]:
        """See Parameters."""
        if self._before is None:
            raise ValueError(BETWEEN)
        trainer, updates = self.trainer, self.trainer.updates - self._updates
        return [
            Delta(own, trainer.difference(own, rows), trainer.bias - self._bias, updates) for own, rows in self._before
        ]

    def rewind(self) -> None:
        """See Parameters."""
        if self._before is not None:
            for own, rows in self._before:
                self.trainer.put(own, rows)
            self.trainer.bias, self.trainer.updates = self._bias, self._updates
            self._before = None

    def merge(self, merged: Delta) -> None:
        """Do nothing, for all workers apply what is merged."""

    def apply(self, merged: Sequence[Delta | None]) -> None:
        """Change all features by what the owners have merged, in place of what was trained."""
        self.rewind()
        found = [delta for delta in merged if delta is not None]
        for delta in found:
            self.trainer.add(delta.features, delta.rows)
        self.trainer.bias = self.trainer.bias + found[0].bias
        self.trainer.updates += found[0].updates

    def batch(self, batch: Batch) -> Batch:
        """See Parameters."""
        return batch

    def block(self, stretch: Stretch) -> Block:
        """See Parameters."""
        return stretch.block

    def model(self) -> Model:
        """See Parameters."""
        return self.trainer.snapshot()


class Shard:
    """The features that this worker owns, and in a round a small model of those that its mini-batches hold.

    model: of the owned features alone, in their order. workers: how many there are. See Parameters.
    """

    def __init__(self, backend: SharedBackend, model: Model, workers: int, feature_dim: int) -> None:
        self._backend, self._like, self._workers = backend, model, workers
        self._own = backend.trainer(model, workers)
        self._places = np.zeros(feature_dim, np.int32)  # of each feature in the small model
        self._small: SharedTrainer | None = None
        self._features: list[np.ndarray] = []  # of the small model, by owner
        self._rows: Sequence[np.ndarray] = ()  # likewise, as the round found them

    @property
    def trainer(self) -> SharedTrainer:
        """Return the trainer of the small model; ValueError where no round is under way."""
        if self._small is None:
            raise ValueError(BETWEEN)
        return self._small

    def ask(self, features: np.ndarray) -> list[np.ndarray]:
        """Return the features of each owner whose rows this worker needs, of all that it needs (int32, rising)."""
        self._places[features] = np.arange(len(features), dtype=np.int32)
        self._features = deltas.by_owner(features, self._workers)
        return self._features

    def answer(self, asked: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the rows of the owned features that each worker has asked for."""
        return [self._own.take(features // self._workers) for features in asked]

    def take(self, answers: Sequence[np.ndarray]) -> None:
        """Make the small model of what all owners have answered."""
        self._rows, self._small = answers, None  # whose memory is free before the next one takes as much
        own, count, like = self._own, sum(map(len, answers)), self._like
        h, tensors = like.hyperparameters, like.family.tensors
        zeros: dict[str, np.ndarray] = {
            tensor.name: np.zeros(tensor.shape(h, count), tensor.dtype) for tensor in tensors
        }
        self._small = self._backend.trainer(Model(h, zeros, _shared(like)), self._workers)
        for features, rows in zip(self._features, answers, strict=True):
            self._small.put(self._places[features], rows)
        self._small.bias, self._small.updates = own.bias, own.updates

    def begin(self, features: np.ndarray) -> None:
        """Do nothing: the features are those that were asked for."""

    def deltas(self) -> list[Delta]:
        """See Parameters."""
        trainer, own = self.trainer, self._own
        bias, updates = trainer.bias - own.bias, trainer.updates - own.updates
        return [
            Delta(features, trainer.difference(self._places[features], rows), bias, updates)
            for features, rows in zip(self._features, self._rows, strict=True)
        ]

    def rewind(self) -> None:
        """Do nothing: what is owned changes at a round's end alone."""

    def merge(self, merged: Delta) -> None:
        """See Parameters."""
        self._own.add(merged.features // self._workers, merged.rows)
        self._own.bias = self._own.bias + merged.bias
        self._own.updates += merged.updates

    def apply(self, merged: Sequence[Delta | None]) -> None:  # noqa: ARG002 - the owners have merged it
        """See Parameters."""
        self._small, self._rows = None, ()

    def batch(self, batch: Batch) -> Batch:
        """Return the batch with its features numbered as in the small model, which keeps their order."""
        return replace(batch, indices=self._places[batch.indices])

    def block(self, stretch: Stretch) -> Block:
        """Return the mini-batches of a Stretch, likewise."""
        return self._backend.renumbered(stretch.block, stretch.order[stretch.first :], self._places)

    def model(self) -> Model:
        """See Parameters."""
        return self._own.snapshot()


def _shared(model: Model) -> dict[str, np.ndarray]:
    """Return what a model's state has that belongs to no feature and is not trained."""
    return {TOTALS: model.state[TOTALS]} if TOTALS in model.state else {}


def owned(model: Model, worker: int, workers: int) -> Model:
    """Return the Model of the features that a worker owns."""
    mine = slice(worker, None, workers)
    split = _per_feature(model)
    weights, state = (
        {name: array[mine] if name in split else array for name, array in arrays.items()}
        for arrays in (model.weights, model.state)
    )
    return Model(model.hyperparameters, weights, state, model.info)


def own(model: Model) -> Model:
    """Return the Model with arrays that can be written to, which what an engine brings may not be."""
    weights, state = (
        {name: np.require(array, None, "W") for name, array in arrays.items()}
        for arrays in (model.weights, model.state)
    )
    return Model(model.hyperparameters, weights, state, model.info)


def whole(models: Sequence[Model], feature_dim: int) -> Model:
    """Return the Model of all features, given those that the workers own, in worker order."""
    first = models[0]
    split = _per_feature(first)

    def join(name: str, arrays: list[np.ndarray]) -> np.ndarray:
        if name not in split:
            return arrays[0].copy()
        joint = np.empty((feature_dim, *arrays[0].shape[1:]), arrays[0].dtype)
        for worker, array in enumerate(arrays):
            joint[worker :: len(arrays)] = array
        return joint

    weights = {name: join(name, [model.weights[name] for model in models]) for name in first.weights}
    state = {name: join(name, [model.state[name] for model in models]) for name in first.state}
    return Model(first.hyperparameters, weights, state, first.info)


def _per_feature(model: Model) -> set[str]:
    """Return the names of the arrays of weights and state that have a row per feature."""
    names = {tensor.name for tensor in per_feature(model.family)}
    return names | {name for name, spec in model.state_table().items() if spec.per_feature}

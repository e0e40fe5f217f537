"""The slow reference: families, losses and optimizers in NumPy and float64, exactly as in their formulas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from fmcore.errors import UsageError
from fmcore.families import Family, Tensor
from fmcore.kernels.row_rule import Penalties, RowPenalties, row_rule
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE, slot_name, updates_in, updates_state
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block, Counts


class ReferenceBackend:
    """A SharedBackend, slowly; see fmcore.kernels."""

    name, threads = "reference", 1
    note: str | None = None

    def prepare(self, block: Block) -> Block:
        """Return the block as it is."""
        return block

    def score(self, batch: Batch, model: Model) -> np.ndarray:
        """See Backend."""
        weights = {name: array.astype(float) for name, array in model.weights.items()}
        family, X = model.family, matrix(batch, model.feature_dim)
        return family.score(X, weights, **fields_of(family, batch)).astype(np.float32)

    def trainer(self, model: Model, workers: int = 1) -> ReferenceTrainer:
        """See SharedBackend."""
        return ReferenceTrainer(model, workers)

    def mark(self, block: Block, order: np.ndarray, seen: np.ndarray) -> None:
        """See SharedBackend."""
        for m in order:
            seen[block.batch.take(slice(block.starts[m], block.starts[m + 1])).indices] = 1

    def renumbered(self, block: Block, order: np.ndarray, places: np.ndarray) -> Block:  # noqa: ARG002 - takes all
        """See SharedBackend."""
        return replace(block, batch=replace(block.batch, indices=places[block.batch.indices]))


class ReferenceTrainer:
    """A SharedTrainer over float64, rounded to a model's float32 after each call, as a checkpoint has them.

    The row of a feature is the weights of the family's tensors in their order, then the optimizer's slots of each.
    """

    def __init__(self, model: Model, workers: int = 1) -> None:
        self._model, self._h = model, model.hyperparameters
        self._family = model.family
        self._objective = objective_of(self._h)
        self._weights = {name: array.astype(float) for name, array in model.weights.items()}
        self._optimizer = optimizer_of(self._h)
        table = model.state_table()
        self._state = {  # of each tensor: name of a slot -> array
            tensor: {slot.name: self._kept(slot_name(slot, tensor), table) for slot in self._optimizer.slots}
            for tensor in self._weights
        }
        self.updates = updates_in(self._optimizer, model.state)
        rule = row_rule(model, workers)
        self._by_rows = None if rule is None else RowPenalties(model, rule)

    def _kept(self, name: str, table: dict) -> np.ndarray:
        return np.array(self._model.state.get(name, np.zeros(table[name].shape)), float)

    def train(
        self, block: Block, order: np.ndarray, lr: float = 1.0, fall: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """See Trainer."""
        scores, losses = np.empty(len(block.batch), np.float32), np.empty(len(block.batch), np.float32)
        for step, m in enumerate(order):
            rows = slice(block.starts[m], block.starts[m + 1])
            scores[rows], losses[rows] = self._mini_batch(block.batch.take(rows), lr - fall * step / len(order))
        for array in self._all_arrays():
            array[...] = array.astype(np.float32)
        return scores, losses

    def _all_arrays(self) -> Iterator[np.ndarray]:
        yield from self._weights.values()
        yield from (array for slots in self._state.values() for array in slots.values())
        if self._by_rows is not None:
            yield self._by_rows.variance

    def count(self, counts: Counts) -> None:
        """See Trainer."""
        if self._by_rows is not None:
            self._by_rows.rows[counts.features] += counts.rows
            rule = self._by_rows.rule
            self._by_rows.rule = rule._replace(rows=rule.rows + counts.total)

    def score(self, batch: Batch) -> np.ndarray:
        """See Trainer."""
        X = matrix(batch, self._model.feature_dim)
        return self._family.score(X, self._weights, **fields_of(self._family, batch)).astype(np.float32)

    def snapshot(self) -> Model:
        """See Trainer."""
        weights: dict[str, np.ndarray] = {
            tensor.name: self._weights[tensor.name].astype(tensor.dtype) for tensor in self._family.tensors
        }
        state: dict[str, np.ndarray] = {
            slot_name(slot, tensor): slots[slot.name].astype(slot.dtype)
            for slot in self._optimizer.slots
            for tensor, slots in self._state.items()
        }
        state |= updates_state(self._optimizer, self.updates)
        if self._by_rows is not None:
            state |= {TOTALS: self._by_rows.rule.totals()}
            state |= {name: array.astype(np.float32) for name, array in self._evidence()}
        return Model(self._h, weights, state, info=dict(self._model.info))

    @property
    def bias(self) -> np.ndarray:
        """See SharedTrainer."""
        return np.concatenate([array.ravel() for array in self._arrays(per_feature=False)]).astype(np.float32)

    @bias.setter
    def bias(self, numbers: np.ndarray) -> None:
        at = 0
        for array in self._arrays(per_feature=False):
            array[...] = numbers[at : at + array.size].reshape(array.shape)
            at += array.size

    def take(self, features: np.ndarray) -> np.ndarray:
        """See SharedTrainer."""
        parts = [array[features].reshape(len(features), -1) for array in self._arrays(per_feature=True)]
        return np.hstack(parts).astype(np.float32)

    def put(self, features: np.ndarray, rows: np.ndarray) -> None:
        """See SharedTrainer."""
        if rows.shape != (shape := self.take(features).shape):
            raise ValueError(f"rows are {rows.shape}; {len(features)} features need {shape}")
        at = 0
        for array in self._arrays(per_feature=True):
            size = array[:1].size
            array[features] = rows[:, at : at + size].reshape(array[features].shape)
            at += size

    def add(self, features: np.ndarray, rows: np.ndarray) -> None:
        """See SharedTrainer."""
        self.put(features, self.take(features) + rows)

    def difference(self, features: np.ndarray, before: np.ndarray) -> np.ndarray:
        """See SharedTrainer."""
        return self.take(features) - before

    def _arrays(self, *, per_feature: bool) -> Iterator[np.ndarray]:
        """Return weights, then slots, of the tensors that have a row per feature, or of the others."""
        names = [tensor.name for tensor in self._family.tensors if tensor.per_feature == per_feature]
        yield from (self._weights[name] for name in names)
        yield from (array for name in names for array in self._state[name].values())
        if per_feature:
            yield from (array for _, array in self._evidence())

    def _evidence(self) -> Iterator[tuple[str, np.ndarray]]:
        """Return (name in the state, array) of what penalties by rows keep of each feature."""
        if self._by_rows is not None:
            yield ROWS, self._by_rows.rows
            yield VARIANCE, self._by_rows.variance

    def _mini_batch(self, batch: Batch, lr: float) -> tuple[np.ndarray, np.ndarray]:
        h, X = self._h, matrix(batch, self._model.feature_dim)
        self.updates += 1
        fields = fields_of(self._family, batch)
        scores = self._family.score(X, self._weights, **fields)
        labels = batch.labels.astype(float)
        losses, outer = self._objective.loss(np, scores, labels), self._objective.gradient(np, scores, labels)
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(float)
        rule, present, penalties = self._by_rows, np.unique(batch.indices), None
        if rule is None:
            outer = weights * outer * (h.rescale_grad or 1 / len(batch))
        else:
            curvature = self._objective.curvature(np, scores, labels)
            penalties = rule.of(X, self._family, self._weights, weights, curvature)
            outer = weights * outer * rule.rule.rescale
            lr = lr / len(batch) if self._optimizer.linear else lr
        gradients = self._family.gradient(X, self._weights, outer, **fields)
        for tensor in self._family.tensors:
            if h.uses(tensor.group):
                rows = self._moved(tensor, present)
                decay, eps = self._decay_and_eps(tensor, rows, penalties, weights)
                self._step(tensor, rows, gradients[tensor.name], lr, decay, eps)
        if rule is not None and penalties is not None:
            rule.update(present, penalties)
        return scores, weights * losses

    def _moved(self, tensor: Tensor, present: np.ndarray) -> np.ndarray | slice:
        """Return the rows of a tensor that a mini-batch with these features moves."""
        if not tensor.per_feature:
            return slice(None)
        if self._by_rows is None or tensor.group != "factors":
            return present
        return present[self._by_rows.variance[present] > 0]

    def _decay_and_eps(
        self, tensor: Tensor, rows: np.ndarray | slice, penalties: Penalties | None, weights: np.ndarray
    ) -> tuple[Any, Any]:
        """Return what the weights are multiplied by in their gradient, and the optimizer's eps: numbers, or by row."""
        wd, rule = getattr(self._h, f"{tensor.group}_wd"), self._by_rows
        if rule is None or penalties is None:
            return wd, self._h.eps
        if not tensor.per_feature:
            count = rule.rule.count * weights.sum()
            return wd * count * rule.rule.share, rule.eps(tensor.group, penalties.of_rows.sum())
        shape = (-1, *(1 for _ in self._weights[tensor.name].shape[1:]))
        decay, eps = rule.decay(tensor, penalties)[rows], rule.eps(tensor.group, penalties.reach[rows])
        return np.reshape(decay, shape), np.reshape(eps, shape)

    def _step(
        self, tensor: Tensor, rows: np.ndarray | slice, gradient: np.ndarray, lr: float, decay: Any, eps: Any
    ) -> None:
        """Make a step for the rows of a tensor that the mini-batch holds; the others are neither moved nor decayed."""
        h, name = self._h, tensor.name
        weight = self._weights[name][rows]
        clip = np.inf if h.clip_gradient is None else h.clip_gradient
        gradient = np.clip(gradient[rows] + decay * weight, -clip, clip)
        state = {slot: array[rows] for slot, array in self._state[name].items()}
        self._optimizer.step(weight, gradient, state, lr * getattr(h, f"{tensor.group}_lr"), eps, self.updates)
        self._weights[name][rows] = weight
        for slot, array in state.items():
            self._state[name][slot][rows] = array


def matrix(batch: Batch, feature_dim: int) -> csr_matrix:
    """Return the rows as a scipy CSR matrix of float64; no row may hold an index twice."""
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values.astype(float)
    return csr_matrix((values, batch.indices, batch.indptr), (len(batch), feature_dim))


def fields_of(family: Family, batch: Batch) -> dict[str, np.ndarray]:
    """Return the fields of a Batch's non-zeros, as a family that needs them takes them; UsageError without any."""
    if not family.needs_fields:
        return {}
    if batch.fields is None:
        raise UsageError(f"family {family.name} needs a field for each non-zero, and these rows have none")
    return {"fields": batch.fields}

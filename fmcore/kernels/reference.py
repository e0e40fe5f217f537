"""The slow reference: families, losses and optimizers in NumPy and float64, exactly as in their formulas."""

import numpy as np
from scipy.sparse import csr_matrix

from fmcore.errors import UsageError
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import slot_name, updates_in, updates_state


class ReferenceBackend:
    """The contract of fmcore.kernels, slowly."""

    name, note, threads = "reference", None, 1

    def prepare(self, block):
        """Return the block: there is nothing to add."""
        return block

    def score(self, batch, model):
        """Return raw scores; see fmcore.kernels."""
        weights = {name: array.astype(float) for name, array in model.weights.items()}
        family, X = model.family, matrix(batch, model.feature_dim)
        return family.score(X, weights, **fields_of(family, batch)).astype(np.float32)

    def trainer(self, model):
        """Return a trainer that starts from a copy of the model."""
        return ReferenceTrainer(model)


class ReferenceTrainer:
    """Parameters in training, float64; rounded to a model's float32 after each call, as a checkpoint holds them."""

    def __init__(self, model):
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
        self._updates = updates_in(self._optimizer, model.state)

    def _kept(self, name, table):
        return np.array(self._model.state.get(name, np.zeros(table[name].shape)), float)

    def train(self, block, order, lr=1.0):
        """Train on a block's mini-batches once; see fmcore.kernels."""
        scores, losses = np.empty(len(block.batch), np.float32), np.empty(len(block.batch), np.float32)
        for m in order:
            rows = slice(block.starts[m], block.starts[m + 1])
            scores[rows], losses[rows] = self._mini_batch(block.batch.take(rows), lr)
        for array in (*self._weights.values(), *(a for slots in self._state.values() for a in slots.values())):
            array[...] = array.astype(np.float32)
        return scores, losses

    def score(self, batch):
        """Return raw scores; see fmcore.kernels."""
        X = matrix(batch, self._model.feature_dim)
        return self._family.score(X, self._weights, **fields_of(self._family, batch)).astype(np.float32)

    def snapshot(self):
        """Return a copy of the model as it is; see fmcore.kernels."""
        weights = {tensor.name: self._weights[tensor.name].astype(tensor.dtype) for tensor in self._family.tensors}
        state = {
            slot_name(slot, tensor): slots[slot.name].astype(slot.dtype)
            for slot in self._optimizer.slots
            for tensor, slots in self._state.items()
        }
        state |= updates_state(self._optimizer, self._updates)
        return Model(self._h, weights, state, info=dict(self._model.info))

    def _mini_batch(self, batch, lr):
        h, X = self._h, matrix(batch, self._model.feature_dim)
        self._updates += 1
        fields = fields_of(self._family, batch)
        scores = self._family.score(X, self._weights, **fields)
        labels = batch.labels.astype(float)
        losses, outer = self._objective.loss(np, scores, labels), self._objective.gradient(np, scores, labels)
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights
        outer = weights * outer * (h.rescale_grad or 1 / len(batch))
        gradients = self._family.gradient(X, self._weights, outer, **fields)
        present = np.unique(batch.indices)
        for tensor in self._family.tensors:
            if h.uses(tensor.group):
                self._step(tensor, present if tensor.per_feature else slice(None), gradients[tensor.name], lr)
        return scores, weights * losses

    def _step(self, tensor, rows, gradient, lr):
        """Step the rows of a tensor that the mini-batch holds; the others are neither changed nor decayed."""
        h, name, group = self._h, tensor.name, tensor.group
        weight = self._weights[name][rows]
        clip = np.inf if h.clip_gradient is None else h.clip_gradient
        gradient = np.clip(gradient[rows] + getattr(h, f"{group}_wd") * weight, -clip, clip)
        state = {slot: array[rows] for slot, array in self._state[name].items()}
        self._optimizer.step(weight, gradient, state, lr * getattr(h, f"{group}_lr"), h.eps, self._updates)
        self._weights[name][rows] = weight
        for slot, array in state.items():
            self._state[name][slot][rows] = array


def matrix(batch, feature_dim):
    """Return the rows as a scipy CSR matrix of float64; no row may hold an index twice."""
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values.astype(float)
    return csr_matrix((values, batch.indices, batch.indptr), (len(batch), feature_dim))


def fields_of(family, batch):
    """Return the fields of a Batch's non-zeros as keyword arguments of a family: none where it needs no fields.

    Raises UsageError where it needs them and they are missing.
    """
    if not family.needs_fields:
        return {}
    if batch.fields is None:
        raise UsageError(f"family {family.name} needs a field for each non-zero, and these rows have none")
    return {"fields": batch.fields}

"""The slow truth: families, losses and optimizers in NumPy and float64, as their formulas have them."""

import numpy as np
from scipy.sparse import csr_matrix

from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import slot_name, updates_in, updates_state


class ReferenceBackend:
    """The contract of fmcore.kernels, slowly."""

    name, note, threads = "reference", None, 1

    def prepare(self, block):
        """Nothing to add."""
        return block

    def score(self, batch, model):
        """See fmcore.kernels."""
        weights = {name: array.astype(float) for name, array in model.weights.items()}
        return model.family.score(matrix(batch, model.feature_dim), weights).astype(np.float32)

    def trainer(self, model):
        """See fmcore.kernels."""
        return ReferenceTrainer(model)


class ReferenceTrainer:
    """Parameters being trained, float64; rounded to a model's float32 after each call, as a checkpoint has them."""

    def __init__(self, model):
        self._model, self._h = model, model.hyperparameters
        self._family = model.family
        self._objective = objective_of(self._h)
        self._weights = {name: array.astype(float) for name, array in model.weights.items()}
        self._optimizer = optimizer_of(self._h)
        table = model.state_table()
        self._state = {  # of each tensor by the names of slots
            tensor: {slot.name: self._kept(slot_name(slot, tensor), table) for slot in self._optimizer.slots}
            for tensor in self._weights
        }
        self._updates = updates_in(self._optimizer, model.state)

    def _kept(self, name, table):
        return np.array(self._model.state.get(name, np.zeros(table[name].shape)), float)

    def train(self, block, order, lr=1.0):
        """See fmcore.kernels."""
        scores, losses = np.empty(len(block.batch), np.float32), np.empty(len(block.batch), np.float32)
        for m in order:
            rows = slice(block.starts[m], block.starts[m + 1])
            scores[rows], losses[rows] = self._mini_batch(block.batch.take(rows), lr)
        for array in (*self._weights.values(), *(a for slots in self._state.values() for a in slots.values())):
            array[...] = array.astype(np.float32)
        return scores, losses

    def score(self, batch):
        """See fmcore.kernels."""
        return self._family.score(matrix(batch, self._model.feature_dim), self._weights).astype(np.float32)

    def snapshot(self):
        """See fmcore.kernels."""
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
        scores = self._family.score(X, self._weights)
        labels = batch.labels.astype(float)
        losses, outer = self._objective.loss(np, scores, labels), self._objective.gradient(np, scores, labels)
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights
        gradients = self._family.gradient(X, self._weights, weights * outer * (h.rescale_grad or 1 / len(batch)))
        present = np.unique(batch.indices)
        for tensor in self._family.tensors:
            if h.uses(tensor.group):
                self._step(tensor, present if tensor.per_feature else slice(None), gradients[tensor.name], lr)
        return scores, weights * losses

    def _step(self, tensor, rows, gradient, lr):
        """One step for the rows of a tensor that the mini-batch holds; the others are neither moved nor decayed."""
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
    """The rows as a scipy CSR matrix of float64; no row may hold an index twice."""
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values.astype(float)
    return csr_matrix((values, batch.indices, batch.indptr), (len(batch), feature_dim))

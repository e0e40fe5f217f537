"""The slow truth: scores, gradients and optimizers in NumPy and float64, written from the formulas."""

import numpy as np
from scipy.sparse import csr_matrix

from fmcore.hyper.optimizers import BETA1, BETA2, SLOTS, slot_shape, state_name, updates_in, updates_state
from fmcore.model.model import Model
from fmcore.objectives import objective_of

GROUPS = ("bias", "linear", "factors")


def score(X, bias, linear, factors):
    """y(x) of each row of X (Rendle 2010, Factorization Machines, equation 1 by lemma 3.1), float64 (rows,)."""
    sums = X @ factors
    squares = X.multiply(X) @ (factors * factors)
    return bias + X @ linear + 0.5 * (sums**2 - squares).sum(1)


def score_gradient(X, factors, outer):
    """Sums over the rows of X of outer (rows,) times the gradient of y(x) for each group (Rendle 2010, equation 4)."""
    weighted = X.multiply(outer[:, None]).tocsr()
    squares = weighted.multiply(X).sum(0).A1[:, None] if len(outer) else 0
    return {
        "bias": outer.sum(keepdims=True),
        "linear": weighted.T @ np.ones(len(outer)),
        "factors": weighted.T @ (X @ factors) - squares * factors,
    }


def sgd(weight, gradient, state, lr, eps, t):  # noqa: ARG001 - every rule is called alike
    """Plain descent: w -= lr g."""
    weight -= lr * gradient


def adagrad(weight, gradient, state, lr, eps, t):  # noqa: ARG001 - every rule is called alike
    """G += g^2; w -= lr g / (sqrt(G) + eps) (Duchi, Hazan, Singer 2011, figure 1, diagonal)."""
    state["sum_of_squares"] += gradient**2
    weight -= lr * gradient / (np.sqrt(state["sum_of_squares"]) + eps)


def rowwise_adagrad(weight, gradient, state, lr, eps, t):  # noqa: ARG001 - every rule is called alike
    """G += mean of g^2 over the factors of a feature; w -= lr g / (sqrt(G) + eps). All other weights as by adagrad.

    Mudigere et al. 2022, Software-hardware co-design for fast and scalable training of deep learning recommendation
    models (row-wise sparse AdaGrad); exact_rowwise_adagrad of FBGEMM.
    """
    squares = gradient**2
    state["sum_of_squares"] += squares.mean(1, keepdims=True) if squares.ndim > 1 else squares
    weight -= lr * gradient / (np.sqrt(state["sum_of_squares"]) + eps)


def adam(weight, gradient, state, lr, eps, t):
    """Moments: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; step: w -= lr c m / (sqrt(v) + eps).

    c = sqrt(1 - b2^t) / (1 - b1^t), where t counts the updates of the whole tensor, rows that were absent included
    (Kingma, Ba 2015, Adam, the form at the end of section 2; lazy rows as in MXNet 1.3).
    """
    m, v = state["first_moment"], state["second_moment"]
    m += (1 - BETA1) * (gradient - m)
    v += (1 - BETA2) * (gradient**2 - v)
    weight -= lr * np.sqrt(1 - BETA2**t) / (1 - BETA1**t) * m / (np.sqrt(v) + eps)


RULES = {"adagrad": adagrad, "adam": adam, "rowwise_adagrad": rowwise_adagrad, "sgd": sgd}


class ReferenceBackend:
    """The contract of fmcore.kernels, slowly."""

    name, note, threads = "reference", None, 1

    def prepare(self, block):
        """Nothing to add."""
        return block

    def score(self, batch, model):
        """See fmcore.kernels."""
        scores = score(matrix(batch, model.feature_dim), *(getattr(model, g).astype(float) for g in GROUPS))
        return scores.astype(np.float32)

    def trainer(self, model):
        """See fmcore.kernels."""
        return ReferenceTrainer(model)


class ReferenceTrainer:
    """Parameters being trained, float64."""

    def __init__(self, model):
        self._model, self._h = model, model.hyperparameters
        self._objective = objective_of(self._h)
        self._weights = {g: getattr(model, g).astype(float) for g in GROUPS}
        optimizer, state = self._h.optimizer, model.state
        self._state = {
            g: {
                slot: np.array(state.get(state_name(slot, g), np.zeros(slot_shape(optimizer, w))), float)
                for slot in SLOTS[optimizer]
            }
            for g, w in self._weights.items()
        }
        self._updates = updates_in(model.state)

    def train(self, block, order, lr=1.0):
        """See fmcore.kernels."""
        scores, losses = np.empty(len(block.batch), np.float32), np.empty(len(block.batch), np.float32)
        for m in order:
            rows = slice(block.starts[m], block.starts[m + 1])
            scores[rows], losses[rows] = self._mini_batch(block.batch.take(rows), lr)
        return scores, losses

    def score(self, batch):
        """See fmcore.kernels."""
        return score(matrix(batch, self._model.feature_dim), *self._weights.values()).astype(np.float32)

    def snapshot(self):
        """See fmcore.kernels."""
        arrays = {g: w.astype(np.float32) for g, w in self._weights.items()}
        state = {
            state_name(slot, g): array.astype(np.float32) for g in GROUPS for slot, array in self._state[g].items()
        }
        state |= updates_state(self._h.optimizer, self._updates)
        return Model(self._h, **arrays, state=state, info=dict(self._model.info))

    def _mini_batch(self, batch, lr):
        h, X = self._h, matrix(batch, self._model.feature_dim)
        self._updates += 1
        scores = score(X, *self._weights.values())
        labels = batch.labels.astype(float)
        losses, outer = self._objective.loss(np, scores, labels), self._objective.gradient(np, scores, labels)
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights
        gradients = score_gradient(X, self._weights["factors"], weights * outer * (h.rescale_grad or 1 / len(batch)))
        present = {"bias": slice(None), "linear": np.unique(batch.indices), "factors": np.unique(batch.indices)}
        for group, rows in present.items():
            if h.uses(group):
                self._move(group, rows, gradients[group][rows], lr)
        return scores, weights * losses

    def _move(self, group, rows, gradient, lr):
        """One step for the rows of a group that the mini-batch holds; the others are neither moved nor decayed."""
        h, weight = self._h, self._weights[group][rows]
        clip = np.inf if h.clip_gradient is None else h.clip_gradient
        gradient = np.clip(gradient + getattr(h, f"{group}_wd") * weight, -clip, clip)
        state = {slot: array[rows] for slot, array in self._state[group].items()}
        RULES[h.optimizer](weight, gradient, state, lr * getattr(h, f"{group}_lr"), h.eps, self._updates)
        self._weights[group][rows] = weight
        for slot, array in state.items():
            self._state[group][slot][rows] = array


def matrix(batch, feature_dim):
    """The rows as a scipy CSR matrix of float64; no row may hold an index twice."""
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values.astype(float)
    return csr_matrix((values, batch.indices, batch.indptr), (len(batch), feature_dim))

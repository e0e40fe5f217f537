"""What a mini-batch does: scores, gradients and a step of the weights that it holds, as products of matrices.

With the table W = [V | w] of fmcore.backends.pytorch.table and a mini-batch X, whose first column is 1:

    P = X W = [S | linear + bias];   score = P_k + (|S|^2 - X^2 |V|^2) / 2;   g = derivative of the loss by the score
    gradient = X^T [g S | g] - [V (X^2)^T g | 0]

(Rendle 2010, Factorization Machines, lemma 3.1 and equation 4.) Nothing here waits for the device.
"""
from typing import NamedTuple

import numpy as np

from fmcore.backends.pytorch.library import torch
from fmcore.backends.pytorch.rules import RULES, Step
from fmcore.optimizers import BETA1, BETA2


class Run(NamedTuple):
    """Mini-batches of one size, in the order in which they are trained.

    cells, squares: X and its squares, float32 (mini-batches, rows, columns). labels, shares: float32 (mini-batches,
    rows); a share is what the derivative of a row's loss is multiplied by. present: float32 (mini-batches, columns), 1
    where a mini-batch holds a feature, else 0; None where all hold all.
    """

    cells: torch.Tensor
    squares: torch.Tensor
    labels: torch.Tensor
    shares: torch.Tensor
    present: torch.Tensor | None

    def __len__(self):
        return self.cells.shape[0]


def corrections(optimizer, lr, updates, count):
    """What learning rates are multiplied by in `count` mini-batches after the first `updates`, float32 (count,)."""
    if optimizer != "adam":
        return np.full(count, lr, np.float32)
    t = updates + 1 + np.arange(count, dtype=np.float64)
    return (lr * np.sqrt(1 - BETA2**t) / (1 - BETA1**t)).astype(np.float32)


class Steps:
    """Trains mini-batches of a Table. add: sums a gradient over all who train it, in place; None for one alone."""

    def __init__(self, table, hyperparameters, add=None):
        self._table, self._h, self._add = table, hyperparameters, add
        self._rule = RULES[hyperparameters.optimizer]

    def __call__(self, run, factors, scores):
        """Train a run; factors: `corrections`; scores: float32 (mini-batches, rows), is written."""
        columns = run.cells.shape[2]
        weights = self._table.weights[:columns]
        slots = tuple(slot[:columns] for slot in self._table.slots.values())
        rates = self._table.rates[:columns] * factors[0]
        for number in range(len(run)):
            if number and self._h.optimizer == "adam":
                rates = self._table.rates[:columns] * factors[number]
            present = None if run.present is None else run.present[number][:, None]
            gradient = self._gradient(run, number, weights, scores[number])
            self._settle(gradient, weights, present)
            self._rule(Step(weights, gradient, slots, rates, self._h.eps, present, self._table.num_factors))

    def _gradient(self, run, number, weights, score):
        """Write a mini-batch's scores and return the gradient of its loss."""
        x, squares, k = run.cells[number], run.squares[number], self._table.num_factors
        products = x @ weights
        torch.addmv(products[:, k], squares, weights[:, :k].square().sum(1), alpha=-0.5, out=score)
        size = torch.linalg.vector_norm(products[:, :k], dim=1)
        score.addcmul_(size, size, value=0.5)
        outer = score.sigmoid() if self._h.predictor_type == "binary_classifier" else score.clone()
        outer.sub_(run.labels[number]).mul_(run.shares[number])
        products[:, k] = 1
        gradient = x.T @ products.mul_(outer[:, None])
        gradient[:, :k].addcmul_(weights[:, :k], torch.mv(squares.T, outer)[:, None], value=-1)
        return gradient

    def _settle(self, gradient, weights, present):
        """Make of a loss' gradient what the optimizer is given, in place."""
        if self._add is not None:
            self._add(gradient)
        if self._table.decayed:
            gradient.addcmul_(weights, self._table.decays[:len(weights)])
        if self._h.clip_gradient is not None:
            gradient.clamp_(-self._h.clip_gradient, self._h.clip_gradient)
        if present is not None:
            gradient.mul_(present)


def losses(predictor_type, scores, labels, weights):
    """Of each row, as fmcore.backends has it."""
    if predictor_type == "regressor":
        return (scores - labels).square_().mul_(weights)
    wrong = scores * (1 - 2 * labels)
    return wrong.abs().neg_().exp_().log1p_().add_(wrong.clamp_(min=0)).mul_(weights)


def raw_scores(table, batch, device):
    """float32 (rows,) of a Batch, dense or sparse, in one pass over its non-zeros."""
    k, weights = table.num_factors, table.weights
    indices = torch.tensor(batch.indices, device=device).long() + 1
    offsets = torch.tensor(batch.indptr[:-1], device=device)
    values = None if batch.values is None else torch.tensor(batch.values, device=device)

    def sums(columns, by):
        return torch.nn.functional.embedding_bag(indices, columns, offsets, mode="sum", per_sample_weights=by)

    products = sums(weights, values)
    squares = sums(weights[:, :k].square().sum(1, keepdim=True), None if values is None else values.square())
    return products[:, :k].square().sum(1).sub_(squares[:, 0]).mul_(0.5).add_(products[:, k]).add_(weights[0, k])

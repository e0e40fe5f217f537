"""Training of a mini-batch: scores, gradients and a step of the weights that it holds, as products of matrices.

With the table W = [V | w] of fmcore.kernels.pytorch.table and a mini-batch X, whose first column is 1:

    P = X W = [S | linear + bias];   score = P_k + (|S|^2 - X^2 |V|^2) / 2;   g = derivative of the loss by the score
    gradient = X^T [g S | g] - [V (X^2)^T g | 0]

(Rendle 2010, Factorization Machines, lemma 3.1 and equation 4.) Nothing here waits for the device.
"""

from typing import NamedTuple

import numpy as np

from fmcore.kernels.pytorch.library import torch
from fmcore.kernels.pytorch.rules import Step, rule_of
from fmcore.objectives import objective_of
from fmcore.optimizers.adam import BETA1, BETA2


class MiniBatch(NamedTuple):
    """Rows that are trained together.

    cells, squares: X and its squares, float32 (rows, columns), 0 in columns beyond those of the block.
    shares: float32 (rows,), what the derivative of a row's loss is multiplied by. targets: float32 (rows,), the labels;
    minus their products with the shares where the objective is canonical.
    present: float32 (columns, 1), 1 where a feature is in the mini-batch, else 0; None where all are, and no columns
    beyond.
    """

    cells: torch.Tensor
    squares: torch.Tensor
    targets: torch.Tensor
    shares: torch.Tensor
    present: torch.Tensor | None


def corrections(updates, count):
    """Return adam's factors of the learning rates in `count` mini-batches after the first `updates`, float32."""
    t = updates + 1 + np.arange(count, dtype=np.float64)
    return (np.sqrt(1 - BETA2**t) / (1 - BETA1**t)).astype(np.float32)


class Steps:
    """Steps of a DeviceTable, one for each mini-batch.

    add: sums a gradient in place over all processes that train the same weights; None for one alone.
    """

    def __init__(self, table, hyperparameters, add=None):
        self._table, self._h, self._add = table, hyperparameters, add
        self._rule, self._objective = rule_of(hyperparameters), objective_of(hyperparameters)

    def __call__(self, mini_batch, factor, score):
        """Train a MiniBatch; score: float32 (rows,), is written.

        factor: one of `corrections` for adam, a number or a tensor of one; None for others.
        """
        columns, table = mini_batch.cells.shape[1], self._table
        weights, rates = table.weights[:columns], table.rates[:columns]
        rates = rates if factor is None else rates * factor
        gradient = self._gradient(mini_batch, weights, score)
        self._finish(gradient, weights, mini_batch.present)
        slots = tuple(slot[:columns] for slot in table.slots.values())
        self._rule(Step(weights, gradient, slots, rates, self._h.eps, mini_batch.present, table.num_factors))

    def _gradient(self, mini_batch, weights, score):
        """Write a mini-batch's scores and return the gradient of its loss."""
        x, squares, targets, shares, _ = mini_batch
        k = self._table.num_factors
        products = x @ weights
        torch.addmv(products[:, k], squares, weights[:, :k].square().sum(1), alpha=-0.5, out=score)
        size = torch.linalg.vector_norm(products[:, :k], dim=1)
        score.addcmul_(size, size, value=0.5)
        if self._objective.canonical:  # one fused operation subtracts the label from the prediction
            outer = torch.addcmul(targets, self._objective.gradient(torch, score, 0), shares)
        else:
            outer = self._objective.gradient(torch, score, targets).mul_(shares)
        products[:, k] = 1
        gradient = x.T @ products.mul_(outer[:, None])
        gradient[:, :k].addcmul_(weights[:, :k], torch.mv(squares.T, outer)[:, None], value=-1)
        return gradient

    def _finish(self, gradient, weights, present):
        """Turn a loss' gradient into the gradient for the optimizer, in place: summed, with decay, clipped."""
        if self._add is not None:
            self._add(gradient)
        if self._table.decayed:
            gradient.addcmul_(weights, self._table.decays[: len(weights)])
        if self._h.clip_gradient is not None:
            gradient.clamp_(-self._h.clip_gradient, self._h.clip_gradient)
        if present is not None:
            gradient.mul_(present)


def raw_scores(table, batch, device):
    """Return the raw scores, float32 (rows,), of a Batch, dense or sparse, in one pass over its non-zeros."""
    k, weights = table.num_factors, table.weights
    indices = torch.tensor(batch.indices, device=device).long() + 1
    offsets = torch.tensor(batch.indptr[:-1], device=device)
    values = None if batch.values is None else torch.tensor(batch.values, device=device)

    def sums(columns, by):
        return torch.nn.functional.embedding_bag(indices, columns, offsets, mode="sum", per_sample_weights=by)

    products = sums(weights, values)
    squares = sums(weights[:, :k].square().sum(1, keepdim=True), None if values is None else values.square())
    return products[:, :k].square().sum(1).sub_(squares[:, 0]).mul_(0.5).add_(products[:, k]).add_(weights[0, k])

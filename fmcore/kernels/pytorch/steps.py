"""Training of a mini-batch: scores, gradients and a step of the weights that it holds, as products of matrices.

With the table W = [V | w] of fmcore.kernels.pytorch.table and a mini-batch X, whose first column is 1:

    P = X W = [S | linear + bias];   score = P_k + (|S|^2 - X^2 |V|^2) / 2;   g = derivative of the loss by the score
    gradient = X^T [g S | g] - [V (X^2)^T g | 0]

(Rendle 2010, Factorization Machines, lemma 3.1 and equation 4.) Nothing here waits for the device.
"""

from typing import NamedTuple

import numpy as np

from fmcore.kernels.pytorch.library import torch
from fmcore.kernels.pytorch.penalties import DeviceRowPenalties, add_decay
from fmcore.kernels.pytorch.rules import Step, rule_of
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.adam import BETA1, BETA2


class MiniBatch(NamedTuple):
    """Rows that are trained together.

    cells, squares: X and its squares, float32 (rows, columns), 0 in columns beyond those of the block.
    shares: float32 (rows,), what the derivative of a row's loss is multiplied by. targets: float32 (rows,), the labels;
    minus their products with the shares where Steps are canonical.
    present: float32 (columns, 1), 1 where a feature is in the mini-batch, else 0; None where all are, and no columns
    beyond.
    """

    cells: torch.Tensor
    squares: torch.Tensor
    targets: torch.Tensor
    shares: torch.Tensor
    present: torch.Tensor | None


def rate_factors(hyperparameters, updates, sizes, lr, fall):
    """Return what the learning rates are multiplied by in each mini-batch after the first `updates`, float32.

    sizes: int64 (mini-batches,), the rows of each. lr, fall: see Trainer.
    """
    step = np.arange(len(sizes), dtype=np.float64)
    factors = lr - fall * step / max(1, len(sizes))
    if hyperparameters.optimizer == "adam":
        t = updates + 1 + step
        factors *= np.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    if hyperparameters.penalty == "rows" and optimizer_of(hyperparameters).linear:
        factors /= sizes  # the gradient is a sum
    return factors.astype(np.float32)


class Steps:
    """Steps of a DeviceTable, one for each mini-batch.

    rule: the RowRule where penalties go by rows, else None. add: sums a tensor in place over all processes that train
    the same weights; None for one alone.
    rescale: what gradients of rows are multiplied by, None for one over the rows of the mini-batch. canonical: whether
    the prediction and the label are subtracted in one operation, for which the targets of a MiniBatch are made.
    """

    def __init__(self, table, hyperparameters, rule=None, add=None):
        self._table, self._h, self._add = table, hyperparameters, add
        self._rule, self._objective = rule_of(hyperparameters), objective_of(hyperparameters)
        self._by_rows = None if rule is None else DeviceRowPenalties(table, hyperparameters, rule)
        self.rescale = hyperparameters.rescale_grad if rule is None else rule.rescale
        self.canonical = self._objective.canonical and rule is None

    def __call__(self, mini_batch, factor, score):
        """Train a MiniBatch; score: float32 (rows,), is written.

        factor: one of `rate_factors`, a number or a tensor of one.
        """
        columns, table, present = mini_batch.cells.shape[1], self._table, mini_batch.present
        weights, rates = table.weights[:columns], table.rates[:columns] * factor
        gradient, sums = self._gradient(mini_batch, weights, score)
        penalties = None if sums is None else self._by_rows.of(sums)
        self._finish(gradient, weights, present, penalties)
        eps = self._h.eps if penalties is None else penalties.eps
        slots = tuple(slot[:columns] for slot in table.slots.values())
        unmoved = [] if penalties is None else self._by_rows.unmoved()
        self._rule(Step(weights, gradient, slots, rates, eps, present, table.num_factors))
        if penalties is not None:
            self._by_rows.finish(penalties, present, unmoved)

    def _gradient(self, mini_batch, weights, score):
        """Write a mini-batch's scores; return the gradient of its loss, and the sums of DeviceRowPenalties or None.

        Both are summed over all processes.
        """
        x, squares, targets, shares, _ = mini_batch
        k = self._table.num_factors
        products = x @ weights
        torch.addmv(products[:, k], squares, weights[:, :k].square().sum(1), alpha=-0.5, out=score)
        size = torch.linalg.vector_norm(products[:, :k], dim=1)
        score.addcmul_(size, size, value=0.5)
        sums = None if self._by_rows is None else self._by_rows.sums(mini_batch, weights, products, score)
        if self.canonical:  # one fused operation subtracts the label from the prediction
            outer = torch.addcmul(targets, self._objective.gradient(torch, score, 0), shares)
        else:
            outer = self._objective.gradient(torch, score, targets).mul_(shares)
        products[:, k] = 1
        gradient = x.T @ products.mul_(outer[:, None])
        gradient[:, :k].addcmul_(weights[:, :k], torch.mv(squares.T, outer)[:, None], value=-1)
        if self._add is not None:
            self._add(gradient)
            if sums is not None:
                self._add(sums)
        return gradient, sums

    def _finish(self, gradient, weights, present, penalties):
        """Turn a loss' gradient into the gradient for the optimizer, in place: with decay, clipped."""
        if penalties is not None:
            add_decay(gradient, weights, penalties.decay, self._table.num_factors)
        elif self._table.decayed:
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

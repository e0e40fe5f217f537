"""Penalties by rows on a device: fmcore.kernels.row_rule as products of matrices.

With q = X V, what each row of a mini-batch counts, its curvature h and its R, the variances s, and powers of X taken
number by number:

    counts = [X != 0]^T count;   reach = [X != 0]^T R;   T = X^2 s;   rest = (X^2)^T (h T) - s (X^4)^T h
    spread = ((X^2)^T (h |q|^2) - 2 <V, (X^3)^T (h q)> + |V|^2 (X^4)^T h) / k

All are sums over rows, so those of several processes add up. The bias has rows like a feature, and no variance.
"""

from typing import NamedTuple

from fmcore.kernels.pytorch.library import torch
from fmcore.kernels.row_rule import reach_of
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of

TINY = 1e-30  # rows, in place of none


class DevicePenalties(NamedTuple):
    """Terms that a mini-batch adds to the steps of each feature.

    decay: float32 (columns, 2), what its factors and its linear weight are multiplied by in their gradient. eps:
    likewise, the optimizer's, or one number for all. share: float32 (columns,), of its rows that the mini-batch holds.
    curvature: likewise, what the mini-batch shows of its factors; None where variances are not used.
    """

    decay: torch.Tensor
    eps: torch.Tensor | float
    share: torch.Tensor
    curvature: torch.Tensor | None


class DeviceRowPenalties:
    """The penalties of a DeviceTable in training; rule: a RowRule."""

    def __init__(self, table, hyperparameters, rule):
        h, own = hyperparameters, [0, table.num_factors]
        self._table, self._rule, self._eps = table, rule, h.eps
        self._objective, self._floors = objective_of(h), optimizer_of(h).floors
        self._rates, self._decays = table.rates[:, own], table.decays[:, own]
        self._reach = torch.tensor([reach_of("factors"), reach_of("linear")], device=table.weights.device)
        table.evidence[0, 0] = rule.rows
        self._without = torch.nonzero(table.evidence[1, 1 : table.rows] == 0).flatten()  # features without factors
        self._factors = table.factors() if len(self._without) else []

    def sums(self, mini_batch, weights, products, score):
        """Return counts, reach and, where variances are used, rest and spread, float32 (2 or 4, columns).

        products: float32 (rows, width), of the cells and the weights. score: float32 (rows,).
        """
        x, squares, labels, shares, _ = mini_batch
        rule, q = self._rule, products[:, : self._table.num_factors]
        size, length = torch.mv(squares, self._table.evidence[2, : len(weights)]), q.square().sum(1)
        reach = (0.5 + 0.25 * length).mul_(size).mul_(shares).mul_(rule.bound)
        held = x.sign().abs_().T
        sums = [torch.mv(held, shares * (rule.count / rule.rescale)), torch.mv(held, reach)]
        if rule.tau:
            h = self._objective.curvature(torch, score, labels).mul_(shares)
            sums += self._shown(mini_batch, weights[:, : q.shape[1]], q, h * length, h)
        return torch.stack(sums)

    def _shown(self, mini_batch, v, q, lengths, h):
        """Return rest and spread; v, q, h as above, lengths: h |q|^2."""
        x, squares, s = mini_batch.cells, mini_batch.squares, self._table.evidence[1, : len(v)]
        powers = x * squares
        crossed = (powers.T @ (q * h[:, None])).mul_(v).sum(1)
        fourth = torch.mv(powers.mul_(x).T, h)
        rest = torch.mv(squares.T, torch.mv(squares, s).mul_(h)).addcmul_(s, fourth, value=-1)
        own = v.square().sum(1).mul_(fourth)
        return rest, torch.mv(squares.T, lengths).add_(own).sub_(crossed, alpha=2).div_(v.shape[1])

    def of(self, sums):
        """Return the DevicePenalties of a mini-batch, given its `sums` over all processes."""
        (counts, reach, *shown), columns, rule = sums, sums.shape[1], self._rule
        share = counts / torch.maximum(self._table.evidence[0, :columns], counts).clamp_min_(TINY)
        decay, eps, curvature = self._decays[:columns] * share[:, None], self._eps, None
        if shown:
            penalty = shown[0].clamp_min(0).mul_(rule.tau)
            decay[:, 0].add_(penalty)
            curvature = penalty.add_(shown[1].clamp_min(0))
        if self._floors:
            limits = self._decays[:columns] + reach[:, None] * self._reach
            eps = limits.mul_(self._rates[:columns]).add_(self._eps)
        return DevicePenalties(decay, eps, share, curvature)

    def unmoved(self):
        """Return, before a step, copies of what `finish` puts back after it."""
        return [factors.index_select(0, self._without) for factors in self._factors]

    def finish(self, of, present, unmoved):
        """Put back factors of features that have none, and update the variances of features that a mini-batch holds.

        of: its DevicePenalties. present: as in MiniBatch. unmoved: what `unmoved` has returned.
        """
        for factors, kept in zip(self._factors, unmoved, strict=True):
            factors.index_copy_(0, self._without, kept)
        if of.curvature is not None:
            rule, kept = self._rule, self._table.evidence[1, : len(of.share)]
            before = (1 / kept).sub_(rule.precision).clamp_min_(0).mul_((1 - rule.gain * of.share).clamp_min_(0))
            after = before.add_(of.curvature, alpha=rule.gain).add_(rule.precision).reciprocal_()
            held = kept > 0 if present is None else (kept > 0) & (present[:, 0] > 0)
            kept.copy_(torch.where(held, after, kept))


def add_decay(gradient, weights, decay, num_factors):
    """Add to a gradient, in place, the weights times their decay, float32 (columns, 2) as in DevicePenalties."""
    for columns, by in ((slice(num_factors), decay[:, :1]), (slice(num_factors, None), decay[:, 1:])):
        gradient[:, columns].addcmul_(weights[:, columns], by)

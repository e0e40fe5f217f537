"""The rule of penalties by rows in NumPy, as row_rule.h states it: what they add to gradients and denominators."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fmcore.families import Family, Tensor
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE

LEAST_PRECISION = 0.01  # of factors whose weight decay is 0


FACTORS_REACH = 0.5  # by which the limit of the steps of factors is that of other weights: they learn faster by it


def reach_of(group: str) -> float:
    """Return what R is multiplied by for the weights of a group."""
    return FACTORS_REACH if group == "factors" else 1.0


class RowRule(NamedTuple):
    """The numbers of row_rule.h. rows: n of the bias. mean_weight: of a row, by which its weight is divided."""

    tau: float
    precision: float
    gain: float
    rescale: float
    rows: float
    mean_weight: float
    bound: float

    @property
    def count(self) -> float:
        """Return what a row of weight 1 counts."""
        return 1 / self.mean_weight

    @property
    def share(self) -> float:
        """Return 1 / n of the bias; 0 without rows, as of a pipe that begins with rows of weight 0."""
        return 1 / self.rows if self.rows else 0.0

    def numbers(self) -> tuple[float, ...]:
        """Return them in the order of the header's struct."""
        return self.tau, self.precision, self.gain, self.rescale, self.count, self.share, self.bound

    def totals(self) -> np.ndarray:
        """Return what a model's state has of all rows, float64 (2,): how many, and their mean weight."""
        return np.array([self.rows, self.mean_weight])


def row_rule(model: Model, workers: int = 1) -> RowRule | None:
    """Return how penalties go by rows, by what a model's state has of the rows; None where they do not."""
    h = model.hyperparameters
    if h.penalty != "rows":
        return None
    rows, mean_weight = model.state.get(TOTALS, np.ones(2)).tolist()
    rescale = (h.rescale_grad or 1.0) / mean_weight
    bound = objective_of(h).curvature_bound
    return RowRule(h.factors_variance, first_precision(h), workers, rescale, rows, mean_weight, bound)


def first_precision(hyperparameters: Any) -> float:
    """Return the precision, 1 / variance, of factors that no row has shown anything about."""
    return max(objective_of(hyperparameters).precision * hyperparameters.factors_wd, LEAST_PRECISION)


class Penalties(NamedTuple):
    """Terms that a mini-batch adds to the steps of each feature.

    share: float64 (features,), its rows in the mini-batch by all of them. reach: likewise, sum_r R. variance:
    the penalty of its factors by their variances. spread: sum_r h x^2 |q - v x|^2 / k. of_rows: (rows,), R.
    """

    reach: np.ndarray
    of_rows: np.ndarray
    share: np.ndarray
    variance: np.ndarray
    spread: np.ndarray


class RowPenalties:
    """The penalties of a model that is trained. rows, variance: float64 (features,), as in the model's state."""

    def __init__(self, model: Model, rule: RowRule) -> None:
        self._h, self.rule = model.hyperparameters, rule
        self._floors = optimizer_of(model.hyperparameters).floors
        features = model.feature_dim
        self.rows = np.array(model.state.get(ROWS, np.zeros(features)), float)
        self.variance = np.array(model.state.get(VARIANCE, np.zeros(features)), float)

    def of(self, X: Any, family: Family, weights: dict, row_weights: np.ndarray, curvature: np.ndarray) -> Penalties:
        """Return the Penalties of a mini-batch X, scipy CSR (rows, features).

        weights: of the family. row_weights: float64 (rows,). curvature: likewise, the loss' second derivatives.
        """
        rule, s = self.rule, self.variance
        held, squares = (X != 0).T, X.multiply(X).tocsr()
        size = squares @ np.ones(X.shape[1])
        of_rows = rule.bound * rule.rescale * row_weights * size * (0.5 + 0.25 * family.reach(X, weights))
        rows, reach = held @ (rule.count * row_weights), held @ of_rows
        share = rows / np.maximum(np.maximum(self.rows, rows), 1e-300)
        if not rule.tau:
            return Penalties(reach, of_rows, share, np.zeros_like(rows), np.zeros_like(rows))
        h = rule.rescale * row_weights * curvature
        rest = squares.T @ (h * (squares @ s)) - s * (squares.multiply(squares).T @ h)
        spread = family.spread(X, weights, h) / self._h.num_factors
        return Penalties(reach, of_rows, share, rule.tau * np.maximum(rest, 0), spread)

    def decay(self, tensor: Tensor, of: Penalties) -> np.ndarray:
        """Return what weights of a tensor per feature are multiplied by in their gradient, float64 (features,)."""
        decay = getattr(self._h, f"{tensor.group}_wd") * of.share
        return decay + of.variance if tensor.group == "factors" else decay

    def eps(self, group: str, reach: np.ndarray | float) -> np.ndarray | float:
        """Return the eps of weights of a group, given the sum of R over the rows of the mini-batch."""
        if not self._floors:
            return self._h.eps
        lr, wd = getattr(self._h, f"{group}_lr"), getattr(self._h, f"{group}_wd")
        return self._h.eps + lr * (wd + reach_of(group) * reach)

    def update(self, present: np.ndarray, of: Penalties) -> None:
        """Update the variances of the features that a mini-batch holds."""
        rule, present = self.rule, present[self.variance[present] > 0]
        if not rule.tau:
            return
        curvature = np.maximum(1 / self.variance[present] - rule.precision, 0)
        curvature *= np.maximum(1 - rule.gain * of.share[present], 0)
        curvature += rule.gain * (np.maximum(of.spread[present], 0) + of.variance[present])
        self.variance[present] = 1 / (rule.precision + curvature)

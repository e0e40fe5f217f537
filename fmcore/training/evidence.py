"""What penalties by rows keep of the training rows in a model's state (see kernels/row_rule.h)."""

from __future__ import annotations

import numpy as np

from fmcore.families.contract import per_feature
from fmcore.kernels.row_rule import first_precision
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE
from fmcore.rows.evidence import Evidence

FIRST = 0.08  # share of the curvature at the first scores that factors begin with


def add_evidence(model: Model, evidence: Evidence, mean_label: float, known: int = 0) -> None:
    """Add the rows to a model's state; features that no training has seen before get the variance that they begin with.

    The rows of earlier trainings stay counted: what they have shown about a feature is in its weights. known: of how
    many features, the first ones, the weights come from an earlier training; their factors stay, FAR values or not.
    """
    h, objective = model.hyperparameters, objective_of(model.hyperparameters)
    state, features = model.state, model.feature_dim
    before = state.get(ROWS, np.zeros(features, np.float32))
    usual = float(objective.curvature(np, np.array([objective.first_bias(mean_label)]), np.array([mean_label]))[0])
    variance = 1 / (first_precision(h) + FIRST * usual * _padded(evidence.squares, features))
    kept = state.get(VARIANCE)
    if kept is not None:
        variance = np.where(before > 0, kept, variance)
    far = evidence.far[evidence.far >= known]
    variance[far] = 0  # which the kernels take for no factors
    state[VARIANCE] = variance.astype(np.float32)
    for tensor in per_feature(model.family):
        if tensor.group == "factors":
            model.weights[tensor.name][far] = 0
    state[ROWS] = before + _padded(evidence.rows, features)
    earlier = state.get(TOTALS, np.zeros(2))[0]
    state[TOTALS] = np.array([earlier + evidence.total, evidence.mean_weight])


def _padded(numbers: np.ndarray, size: int) -> np.ndarray:
    return np.append(numbers, np.zeros(size - len(numbers), numbers.dtype))

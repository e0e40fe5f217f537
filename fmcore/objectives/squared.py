"""The squared error: a number is predicted, its mean."""

import math
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from fmcore.objectives.metrics import Metrics, sum_of


class Squared:
    """Regression by least squares; the prediction is the raw score."""

    name, noun = "regressor", "regressor"
    kernel: int | None = 0
    outputs, binary, groups, canonical = 1, False, False, True
    expected = "a finite number"
    curvature_bound = 1.0
    defaults: Mapping[str, Any] = MappingProxyType({"linear_wd": 2e-3, "factors_wd": 2e-3})
    native: Mapping[str, Any] = MappingProxyType(
        {
            "label_scaling": "standard",
            "label_range": "training",
            "bias_lr": 0.3,
            "linear_lr": 0.3,
            "factors_lr": 0.3,
            "linear_wd": 3.0,
            "factors_wd": 3.0,
        }
    )
    label_degree, precision = 2, 7 / 3
    search: Mapping[str, tuple[float, float]] = MappingProxyType({"epochs": (5, 40), "wd": (1e-4, 3e-2)})
    goals: Mapping[str, tuple[str, str]] = MappingProxyType({"test:rmse": ("rmse", "minimize")})
    primary = ("rmse", "minimize")
    columns: tuple[str, ...] = ("score",)

    def accepts(self, labels: np.ndarray) -> np.ndarray:
        """Return which labels are finite, bool (rows,)."""
        return np.isfinite(labels)

    def first_bias(self, mean_label: float) -> float:
        """Return the mean label."""
        return mean_label

    def loss(self, xp: ModuleType, scores: Any, labels: Any) -> Any:  # noqa: ARG002 - one interface for all objectives
        """Return (s - y)^2."""
        return (scores - labels) ** 2

    def gradient(self, xp: ModuleType, scores: Any, labels: Any) -> Any:  # noqa: ARG002 - as above
        """Return s - y, the derivative of half the loss, as in MXNet."""
        return scores - labels

    def curvature(self, xp: ModuleType, scores: Any, labels: Any) -> Any:  # noqa: ARG002 - as above
        """Return 1, the second derivative of half the loss."""
        return xp.ones_like(scores)

    def predict(self, raw: np.ndarray) -> np.ndarray:
        """Return the raw scores."""
        return raw

    def metrics(self, *, auc: bool = True) -> Metrics:  # noqa: ARG002 - none keeps the scores
        """Return empty `Regression` metrics."""
        return Regression()

    def epoch_metrics(self, mean_loss: float) -> dict[str, float]:
        """Return the rmse."""
        return {"rmse": mean_loss**0.5}


class Regression(Metrics):
    """rmse, mse and mae: root mean squared, mean squared and mean absolute error."""

    def _sums(self, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        errors = scores.astype(np.float64) - labels
        return np.array([sum_of(weights), np.sum(weights * errors**2), np.sum(weights * np.abs(errors))])

    def _metrics(self, *totals: float) -> dict[str, float | None]:
        weight, squared, absolute = totals
        return {"rmse": math.sqrt(squared / weight), "mse": squared / weight, "mae": absolute / weight}

"""The logistic loss: one of two classes is predicted, by the probability of label 1."""

import math
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from fmcore.objectives.metrics import Metrics, Ranking, sum_of

NEAR = 1e-3  # to 0, where a score over itself is 1


class Logistic:
    """Classification of labels 0 and 1; the prediction is sigmoid(s), the probability of 1."""

    name, noun = "binary_classifier", "classifier"
    kernel: int | None = 1
    outputs, binary, groups, canonical = 1, True, False, True
    expected = "0 and 1"
    curvature_bound, label_degree, precision = 0.25, 0, 1.0
    defaults: Mapping[str, Any] = MappingProxyType({})
    native: Mapping[str, Any] = MappingProxyType(
        {"bias_lr": 0.75, "linear_lr": 0.75, "factors_lr": 0.75, "linear_wd": 3.0, "factors_wd": 1.0}
    )
    search: Mapping[str, tuple[float, float]] = MappingProxyType({"epochs": (3, 30), "wd": (1e-6, 1e-2)})
    goals: Mapping[str, tuple[str, str]] = MappingProxyType(
        {
            "test:binary_classification_cross_entropy": ("logloss", "minimize"),
            "test:binary_classification_accuracy": ("accuracy", "maximize"),
            "test:binary_f_beta": ("f1", "maximize"),
            "test:auc": ("auc", "maximize"),
        }
    )
    primary = ("logloss", "minimize")
    columns: tuple[str, ...] = ("score", "predicted_label")

    def accepts(self, labels: np.ndarray) -> np.ndarray:
        """Return which labels are 0 or 1, bool (rows,)."""
        return (labels == 0) | (labels == 1)

    def first_bias(self, mean_label: float) -> float:
        """Return the log-odds of the mean label; within +-10 where all labels are of one class."""
        return math.log(max(mean_label, 1e-4) / max(1 - mean_label, 1e-4))

    def loss(self, xp: ModuleType, scores: Any, labels: Any) -> Any:
        """Return log(1 + e^-s) for label 1 and log(1 + e^s) for 0, without overflow at either end."""
        wrong = scores * (1 - 2 * labels)
        return xp.log1p(xp.exp(-xp.abs(wrong))) + xp.clip(wrong, 0, None)

    def gradient(self, xp: ModuleType, scores: Any, labels: Any) -> Any:
        """Return sigmoid(s) - y."""
        return sigmoid(xp, scores) - labels

    def curvature(self, xp: ModuleType, scores: Any, labels: Any) -> Any:  # noqa: ARG002 - one interface for all
        """Return the geometric mean of p (1 - p), p being sigmoid(s), and tanh(s / 2) / (2 s).

        The former is the second derivative, which all but vanishes for rows that are predicted with certainty, and with
        it what their features are known by; the latter that of the parabola above the loss that touches it at s and -s
        (Jaakkola, Jordan 2000, Bayesian parameter estimation via variational methods, section 3). Both are 1/4 at 0.
        """
        size = xp.abs(scores)
        near, small = size <= NEAR, xp.exp(-size)
        bound = xp.where(near, 0.25, xp.tanh(size / 2) / (2 * xp.where(near, 1, size)))
        return xp.sqrt(small / (1 + small) ** 2 * bound)

    def predict(self, raw: np.ndarray) -> np.ndarray:
        """Return sigmoid(s), float32 by way of float64."""
        return sigmoid(np, raw.astype(np.float64)).astype(np.float32)

    def metrics(self, *, auc: bool = True) -> Metrics:
        """Return empty `Classification` metrics."""
        return Classification(auc=auc)

    def epoch_metrics(self, mean_loss: float) -> dict[str, float]:
        """Return the log loss."""
        return {"logloss": mean_loss}


def sigmoid(xp: ModuleType, scores: Any) -> Any:
    """Return 1 / (1 + e^-s) without overflow, of the scores' dtype; xp: numpy or torch, which has it in one step."""
    if hasattr(xp, "sigmoid"):
        return xp.sigmoid(scores)
    small = xp.exp(-xp.abs(scores))
    return xp.where(scores >= 0, 1, small) / (1 + small)


class Classification(Metrics):
    """logloss, accuracy, f1 and auc for labels 0 and 1.

    A row is predicted 1 where its raw score is at least 0, that is, sigmoid at least 0.5. f1 is 0 where no row is
    labelled or predicted 1. auc is None where only one class is present.

    auc: exact, so every score is kept: 4 bytes a row, 8 where there are weights other than 1, and about 35 more while
    `result` runs. False leaves it out, and then nothing is kept.
    """

    def __init__(self, *, auc: bool = True) -> None:
        super().__init__()
        self._ranking = Ranking() if auc else None

    def _sums(self, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        z, predicted, actual = scores.astype(np.float64), scores >= 0, labels > 0.5
        # -log sigmoid(z) = softplus(-z), here for both labels at once without a rounded probability in between
        losses = np.maximum(z, 0) - z * actual + np.log1p(np.exp(-np.abs(z)))
        return np.array(
            [
                sum_of(weights),
                np.sum(weights * losses),
                sum_of(weights[predicted == actual]),
                sum_of(weights[predicted & actual]),
                sum_of(weights[predicted]),
                sum_of(weights[actual]),
            ]
        )

    def result(self) -> dict[str, float | None]:
        """Do as `Metrics.result`."""
        metrics = super().result()
        return metrics if self._ranking is None else {**metrics, "auc": self._ranking.auc(self._rest())}

    def _metrics(self, *totals: float) -> dict[str, float | None]:
        weight, loss, correct, both, predicted, actual = totals
        return {
            "logloss": loss / weight,
            "accuracy": correct / weight,
            "f1": 2 * both / (predicted + actual) if predicted + actual else 0.0,
        }

    def _keep(self, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
        if self._ranking is not None:
            self._ranking.add(scores, labels, weights)

"""An objective that the package does not have, as a program would add one: counts, by a log link."""

import math
from types import MappingProxyType

import numpy as np

from fmcore.objectives import OBJECTIVES
from fmcore.objectives.metrics import Metrics, sum_of


class Poisson:
    """Poisson regression: predictions are the mean of a count, e^s; the loss is half the deviance."""

    name, noun = "poisson", "counts"
    kernel, outputs, binary, groups, canonical = None, 1, False, False, True
    expected = "a number of at least 0"
    curvature_bound, precision, label_degree = 2.0, 1.0, 0  # of counts that are mostly small
    defaults = MappingProxyType({"linear_wd": 1e-3})
    native = MappingProxyType(
        {"bias_lr": 0.3, "linear_lr": 0.3, "factors_lr": 0.3, "linear_wd": 2.0, "factors_wd": 1.0}
    )
    search = MappingProxyType({"epochs": (2, 6), "wd": (1e-5, 1e-2)})
    goals = MappingProxyType({"test:poisson_deviance": ("deviance", "minimize"), "test:rmse": ("rmse", "minimize")})
    primary = ("deviance", "minimize")
    columns = ("score",)

    def accepts(self, labels):
        return np.isfinite(labels) & (labels >= 0)

    def first_bias(self, mean_label):
        return math.log(max(mean_label, 1e-4))

    def loss(self, xp, scores, labels):
        some = xp.where(labels > 0, labels, xp.ones_like(labels))
        return xp.exp(scores) - labels * scores + labels * xp.log(some) - labels

    def gradient(self, xp, scores, labels):
        return xp.exp(scores) - labels

    def curvature(self, xp, scores, labels):
        return xp.exp(scores)

    def predict(self, raw):
        return np.exp(raw.astype(np.float64)).astype(np.float32)

    def metrics(self, *, auc=True):
        return Deviance()

    def epoch_metrics(self, mean_loss):
        return {"deviance": 2 * mean_loss}


class Deviance(Metrics):
    """Mean deviance, and the rmse of the counts."""

    def _sums(self, scores, labels, weights):
        scores, labels = scores.astype(float), labels.astype(float)
        losses = Poisson().loss(np, scores, labels)
        return np.array([sum_of(weights), np.sum(weights * losses), np.sum(weights * (np.exp(scores) - labels) ** 2)])

    def _metrics(self, weight, losses, squares):
        return {"deviance": 2 * losses / weight, "rmse": math.sqrt(squares / weight)}


def register():
    """Register the objective in this process."""
    OBJECTIVES[Poisson.name] = Poisson()

"""Penalties by rows, number by number, against plain loops written from the formulas of row_rule.h, on every backend."""

import math

import numpy as np
import pytest
from rows import PENALTIES, block_of, random_rows, small_model, with_evidence
from test_backends import backend, dense, dense_score  # noqa: F401 - a fixture

from fmcore.optimizers.state import VARIANCE

BOUND = {"binary_classifier": 0.25, "regressor": 1.0}  # of the second derivative of a row's loss
PRECISION = {"binary_classifier": 1.0, "regressor": 7 / 3}  # of factors that nothing is known of, by their decay
RATES = {"bias_lr": 0.3, "linear_lr": 0.2, "factors_lr": 0.1}
SIZE = 9


def slope(predictor_type, score, label):
    """Return the derivative of a row's loss by its score, and the curvature that counts for variances."""
    if predictor_type == "regressor":
        return score - label, 1.0
    p = 1 / (1 + math.exp(-score))
    return p - label, math.sqrt(p * (1 - p) * math.tanh(score / 2) / (2 * score))


class Rows:
    """A mini-batch of the first SIZE rows of a batch, and sums over them by the formulas."""

    def __init__(self, model, batch):
        self.h, self.model = model.hyperparameters, model
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(float)
        self.every, self.counts = dense(batch, model.feature_dim), weights / weights.mean()
        self.rows = range(SIZE)
        slopes = [slope(self.h.predictor_type, dense_score(model, self.every[r]), batch.labels[r]) for r in self.rows]
        by = [(self.h.rescale_grad or 1) * count for count in self.counts]
        self.g, self.curved = ([row[part] * by[r] for r, row in enumerate(slopes)] for part in (0, 1))

    def count(self, i=None, rows=None):
        """Return how much rows count, those with feature i alone; rows: None for those of the mini-batch."""
        return sum(self.counts[r] for r in rows or self.rows if i is None or self.every[r, i])

    def share(self, i=None):
        count = self.count(i)
        return count / self.count(i, range(len(self.every))) if count else 0

    def others(self, r, i, numbers):
        """Return the sum of numbers of the other features of row r."""
        return sum(number for j, number in enumerate(numbers) if j != i and self.every[r, j])

    def shown(self, i):
        """Return the penalty of a feature's factors by variances, and the curvature that rows show of them."""
        x, s, v = self.every, self.model.state[VARIANCE].astype(float), self.model.factors.astype(float)
        penalty = spread = 0.0
        for r in self.rows:
            by = self.curved[r] * x[r, i] ** 2
            penalty += self.h.factors_variance * by * self.others(r, i, x[r] ** 2 * s)
            spread += by * np.sum(self.others(r, i, x[r][:, None] * v) ** 2) / self.h.num_factors
        return penalty, penalty + spread

    def gradients(self):
        """Return the gradient of each group with penalties."""
        h, m, x = self.h, self.model, self.every
        features = range(m.feature_dim)
        bias = sum(self.g) + h.bias_wd * self.share() * m.bias
        linear = [
            sum(self.g[r] * x[r, i] for r in self.rows) + h.linear_wd * self.share(i) * m.linear[i] for i in features
        ]
        factors = np.zeros_like(m.factors, float)
        for i in np.flatnonzero(m.state[VARIANCE]):
            decay = h.factors_wd * self.share(i) + (self.shown(i)[0] if h.factors_variance else 0)
            factors[i] = decay * m.factors[i]
            for r in self.rows:
                factors[i] += self.g[r] * x[r, i] * self.others(r, i, x[r][:, None] * m.factors)
        return {"bias": bias, "linear": np.array(linear), "factors": factors}

    def reach(self, i=None):
        """Return the sum of R over rows, those with feature i alone."""
        total = 0.0
        for r in self.rows:
            if i is None or self.every[r, i]:
                x, by = self.every[r], self.counts[r] * (self.h.rescale_grad or 1)
                total += BOUND[self.h.predictor_type] * by * (x @ x) * (2 + ((x @ self.model.factors) ** 2).sum()) / 4
        return total

    def floors(self, group):
        """Return what AdaGrad adds to the root of its sums, of each feature or of the bias."""
        lr, wd = getattr(self.h, f"{group}_lr"), getattr(self.h, f"{group}_wd")
        places = [None] if group == "bias" else range(self.model.feature_dim)
        share = 0.5 if group == "factors" else 1
        return np.array([self.h.eps + lr * (wd + share * self.reach(i)) for i in places])

    def variances(self):
        s = self.model.state[VARIANCE].astype(float).copy()
        precision = PRECISION[self.h.predictor_type] * self.h.factors_wd
        for i in np.flatnonzero(s) if self.h.factors_variance else ():
            s[i] = 1 / (precision + (1 - self.share(i)) * (1 / s[i] - precision) + self.shown(i)[1])
        return s


def steps_of(rows, lr):
    """Return the first step of each group by the formula of the optimizer."""
    steps = {}
    for group, gradient in rows.gradients().items():
        rate, g = lr * getattr(rows.h, f"{group}_lr"), gradient.reshape(len(gradient), -1)
        if rows.h.optimizer == "sgd":
            divisors = SIZE
        else:
            squares = (g**2).mean(1, keepdims=True) if rows.h.optimizer == "rowwise_adagrad" else g**2
            divisors = np.sqrt(squares) + rows.floors(group)[:, None]
        steps[group] = -rate * g / divisors
    return steps


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad"])
@pytest.mark.parametrize("predictor_type", BOUND)
@pytest.mark.parametrize("penalty", ["rows", "rows without variances"])
@pytest.mark.parametrize("variant", [{}, {"weights": True}, {"binary": True}, {"rescale_grad": 0.3}, {"far": (1, 6)}])
def test_a_step_by_rows_follows_the_formulas(backend, optimizer, predictor_type, penalty, variant):  # noqa: F811
    made = {name: variant[name] for name in ("weights", "binary") if name in variant}
    batch = random_rows(40, 12, classes=predictor_type == "binary_classifier", **made)
    given = {**RATES, **PENALTIES[penalty], **{name: variant[name] for name in ("rescale_grad",) if name in variant}}
    model = small_model(predictor_type, 12, optimizer=optimizer, **given)
    model = with_evidence(model, batch, variant.get("far", ()))
    rows, trainer = Rows(model, batch), backend.trainer(model)
    trainer.train(backend.prepare(block_of(batch, SIZE)), np.array([0]), 0.5)
    after = trainer.snapshot()
    for group, step in steps_of(rows, 0.5).items():
        moved = after.weights[group].astype(float) - model.weights[group]
        np.testing.assert_allclose(moved, step.reshape(moved.shape), rtol=1e-3, atol=2e-6, err_msg=group)
    np.testing.assert_allclose(after.state[VARIANCE], rows.variances(), rtol=1e-4)

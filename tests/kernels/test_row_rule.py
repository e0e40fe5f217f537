"""Penalties by rows: the reference goes down the gradient of what it should minimise, and the kernels do as it does."""

import numpy as np
import pytest
from fits import begun
from rows import as_matrix, block_of, random_rows, small_model

from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for, cpu
from fmcore.kernels.prepared import Cells, Groups
from fmcore.kernels.reference import matrix
from fmcore.objectives import objective_of
from fmcore.optimizers import OPTIMIZERS
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE
from fmcore.rows.batch import Batch
from fmcore.rows.evidence import Evidence
from fmcore.rows.scaling import Scaling
from fmcore.rows.sums import FeatureSums, LabelSums
from fmcore.training.evidence import add_evidence

KINDS, TAU, STEP = ("regressor", "binary_classifier"), 0.5, 1e-5
NO_FACTORS = [2, 7]  # features whose variance is 0


def evidence_of(batch, feature_dim):
    labels, features = LabelSums(), FeatureSums()
    labels.add(batch)
    features.add(batch)
    return Evidence.of(labels, features, feature_dim, Scaling())


def model_of(kind, batch, **given):
    """Return a model of rows in which all is away from 0 but the factors of NO_FACTORS."""
    chosen = {"bias_wd": 0.7, "linear_wd": 3.0, "factors_wd": 2.0, "factors_variance": TAU, **given}
    model = small_model(kind, feature_dim=12, num_factors=3, penalty="rows", **chosen)
    add_evidence(model, evidence_of(batch, 12), 0.3)
    model.state[VARIANCE] = np.random.default_rng(3).uniform(0.05, 0.4, 12).astype(np.float32)
    model.state[VARIANCE][NO_FACTORS] = model.factors[NO_FACTORS] = 0
    return model


class Minimised:
    """What a mini-batch adds to what is minimised, as a function of the weights.

    sum_r c_r L_r  +  sum_i lambda c_i / n_i w_i^2 / 2  +  tau / 2 sum_r c_r h_r x_i^2 (T_r - x_i^2 s_i) |v_i|^2

    L: half the squared error, or the log loss. c_r: the weight of a row by the mean weight, and c_i the sum over those
    that hold feature i, n_i of all rows. T_r = sum_j x_j^2 s_j. s and h are held as they are at the given model.
    """

    def __init__(self, model, batch, rows):
        self.model, self.h, self.objective = model, model.hyperparameters, objective_of(model.hyperparameters)
        mini = batch.take(rows)
        self.X, self.labels = matrix(mini, model.feature_dim), mini.labels.astype(float)
        total, mean_weight = model.state[TOTALS]
        self.c = (np.ones(len(mini)) if mini.weights is None else mini.weights.astype(float)) / mean_weight
        self.held = (self.X != 0).T @ self.c
        n = np.maximum(model.state[ROWS].astype(float), 1e-30)
        self.share = {"bias": self.c.sum() / total, "linear": self.held / n, "factors": (self.held / n)[:, None]}
        at = {name: array.astype(float) for name, array in model.weights.items()}
        self.curvature = self.c * self.objective.curvature(np, model.family.score(self.X, at), self.labels)
        self.s, squares = model.state[VARIANCE].astype(float), self.X.multiply(self.X).tocsr()
        self.T = squares @ self.s
        self.rest = squares.T @ (self.curvature * self.T) - self.s * (squares.multiply(squares).T @ self.curvature)

    def __call__(self, weights):
        loss = self.objective.loss(np, self.model.family.score(self.X, weights), self.labels)
        total = self.c @ (loss / 2 if self.h.predictor_type == "regressor" else loss)
        for name, array in weights.items():
            total += getattr(self.h, f"{name}_wd") / 2 * np.sum(self.share[name] * array**2)
        return total + TAU / 2 * self.rest @ (weights["factors"] ** 2).sum(1)

    def gradient(self):
        """Return its gradient by central differences, name -> float64 array."""
        weights = {name: array.astype(float) for name, array in self.model.weights.items()}
        found = {name: np.zeros_like(array) for name, array in weights.items()}
        for name, array in weights.items():
            for place in np.ndindex(array.shape):
                middle, ends = array[place], []
                for sign in (1, -1):
                    array[place] = middle + sign * STEP
                    ends.append(self(weights))
                array[place] = middle
                found[name][place] = (ends[0] - ends[1]) / (2 * STEP)
        return found


def gradient_by_a_step(backend, model, batch, rows):
    """Return the gradient of a mini-batch that a backend steps by: with sgd and rates of 1, the step times the rows."""
    block = backend.prepare(block_of(batch.take(rows), len(batch)))
    trainer = backend.trainer(model)
    trainer.train(block, np.array([0]))
    after = trainer.snapshot()
    count = len(block.batch)
    return {name: (array.astype(float) - after.weights[name]) * count for name, array in model.weights.items()}, after


SGD = {"optimizer": "sgd", "bias_lr": 1.0, "linear_lr": 1.0, "factors_lr": 1.0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_step_goes_down_the_gradient_of_the_penalised_objective(kind, weights, backend):
    batch = random_rows(60, 12, weights=weights, classes=kind == "binary_classifier")
    model, rows = model_of(kind, batch, **SGD), np.arange(5, 30)
    found, after = gradient_by_a_step(backend_for(backend), model, batch, rows)
    expected = Minimised(model, batch, rows).gradient()
    expected["factors"][NO_FACTORS] = 0
    for name, gradient in expected.items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found[name], gradient, rtol=1e-3, atol=2e-4 * scale, err_msg=name)
    assert not after.factors[NO_FACTORS].any()
    assert not after.state[VARIANCE][NO_FACTORS].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_variances_follow_their_formula(kind, backend):
    """Check 1 / s = p + C and C <- (1 - c / n) C + sum_r h x^2 [ |q - v x|^2 / k + tau (T - x^2 s) ], in plain loops."""
    batch = random_rows(60, 12, weights=True, classes=kind == "binary_classifier")
    model, rows = model_of(kind, batch, **SGD), np.arange(5, 30)
    _, after = gradient_by_a_step(backend_for(backend), model, batch, rows)
    of, precision = Minimised(model, batch, rows), objective_of(kind).precision * 2.0
    X, v = of.X.toarray(), model.factors.astype(float)
    for i in range(12):
        C, seen = 1 / of.s[i] - precision if of.s[i] else 0, 0.0
        for r in np.flatnonzero(X[:, i]):
            others = X[r] @ v - v[i] * X[r, i]
            square = of.curvature[r] * X[r, i] ** 2
            seen += square * (others @ others / 3 + TAU * (of.T[r] - X[r, i] ** 2 * of.s[i]))
        C = max(C, 0) * (1 - of.share["linear"][i]) + seen
        wanted = 0 if i in NO_FACTORS else of.s[i] if not of.held[i] else 1 / (precision + C)
        assert after.state[VARIANCE][i] == pytest.approx(wanted, rel=1e-4)


def test_steps_of_adagrad_are_limited_by_the_curvature_of_the_rows_at_hand():
    """A first step is lr g / (|g| + lr (lambda + sum_r H |x|^2 (1/2 + |q|^2 / 4))), over the rows with the feature."""
    batch, rates = random_rows(60, 12, weights=True), {"bias_lr": 0.3, "linear_lr": 0.2, "factors_lr": 0.1, "eps": 1e-8}
    model, rows = model_of("binary_classifier", batch, **rates), np.arange(5, 30)
    gradients, _ = gradient_by_a_step(
        backend_for("reference"), model_of("binary_classifier", batch, **SGD), batch, rows
    )
    of, X = Minimised(model, batch, rows), matrix(batch.take(rows), 12).toarray()
    reach = of.c / 4 * (X**2).sum(1) * (0.5 + 0.25 * ((X @ model.factors.astype(float)) ** 2).sum(1))
    by_feature = (X != 0).T @ reach
    sums = {"bias": reach.sum(), "linear": by_feature, "factors": 0.5 * by_feature[:, None]}
    for name in ("reference", "cpu"):
        backend = backend_for(name)
        trainer = backend.trainer(model)
        trainer.train(backend.prepare(block_of(batch.take(rows), 60)), np.array([0]))
        for tensor, array in trainer.snapshot().weights.items():
            lr, wd, g = rates[f"{tensor}_lr"], getattr(model.hyperparameters, f"{tensor}_wd"), gradients[tensor]
            step = lr * g / (np.abs(g) + 1e-8 + lr * (wd + sums[tensor]))
            np.testing.assert_allclose(model.weights[tensor] - array, step, rtol=2e-3, atol=1e-6, err_msg=tensor)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_what_is_minimised_does_not_depend_on_the_size_of_mini_batches(kind, backend):
    """The gradients of an epoch's mini-batches at the same weights add up to the same sum, however rows are cut."""
    batch = random_rows(60, 12, weights=True, classes=kind == "binary_classifier")
    model, backend = model_of(kind, batch, **SGD), backend_for(backend)
    model.state[TOTALS], model.state[ROWS] = model.state[TOTALS].copy(), model.state[ROWS]
    sums = []
    for size in (1, 7, 60):
        parts = [np.arange(first, min(first + size, 60)) for first in range(0, 60, size)]
        gradients = [gradient_by_a_step(backend, model, batch, rows)[0] for rows in parts]
        sums.append({name: sum(each[name] for each in gradients) for name in model.weights})
    for name, whole in sums[-1].items():
        for other in sums[:-1]:
            np.testing.assert_allclose(other[name], whole, rtol=1e-3, atol=3e-4 * np.abs(whole).max(), err_msg=name)


# -------------------------------------------------------------------------------------- the kernels and the reference
def full_rows(kind, *, valued, weighted, dense):
    """Return rows of 6 features of 40 each, or of 25 of 32 for a matrix; all labels and values of one deviation."""
    rng, count, columns, held = np.random.default_rng(1), 150, *((32, 25) if dense else (40, 6))
    indices = np.concatenate([np.sort(rng.permutation(columns)[:held]) for _ in range(count)]).astype(np.int32)
    labels = rng.integers(0, 2, count) if kind == "binary_classifier" else rng.normal(size=count)
    return Batch(
        np.arange(0, count * held + 1, held, dtype=np.int64),
        indices,
        rng.normal(size=count * held).astype(np.float32) if valued else None,
        labels.astype(np.float32),
        rng.uniform(0.2, 3, count).astype(np.float32) if weighted else None,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("num_factors", [5, 16])
@pytest.mark.parametrize("dense", [False, True])
def test_kernels_train_as_the_reference(monkeypatch, kind, optimizer, num_factors, dense):
    if dense:
        as_matrix(monkeypatch)
    lr = 0.3 if OPTIMIZERS[optimizer].floors else 0.01
    given = {"linear_lr": lr, "factors_lr": lr, "bias_lr": 0.01, "feature_scaling": "rms"}
    h = resolve(predictor_type=kind, optimizer=optimizer, num_factors=num_factors, mini_batch_size=37, **given)
    for valued, weighted in ((False, True), (True, False), (True, True)):
        batch, results = full_rows(kind, valued=valued, weighted=weighted, dense=dense), []
        for backend in (backend_for("reference"), backend_for("cpu", 2)):
            monkeypatch.setattr(cpu, "TEAM_WORK", 0)
            dataset, model = begun(batch, h, backend)
            model.state[VARIANCE][NO_FACTORS] = model.factors[NO_FACTORS] = 0
            trainer = backend.trainer(model)
            with dataset.epoch() as blocks:
                (block,) = blocks
                passes = [trainer.train(block, np.array([3, 0, 4, 1, 2]), lr, 0.5) for lr in (1.0, 0.5)]
            results.append((passes, trainer.snapshot().tensors()))
        assert isinstance(block.groups, Cells if dense else Groups)
        (slow, expected), (fast, found) = results
        np.testing.assert_allclose(np.array(fast), np.array(slow), rtol=1e-3, atol=2e-4)
        for name, array in expected.items():
            scale = np.abs(array).max() + 1e-9
            np.testing.assert_allclose(found[name] / scale, array / scale, atol=3e-4, err_msg=name)
        assert not found["factors"][NO_FACTORS].any()

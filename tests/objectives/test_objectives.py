"""The contract of every objective: its gradient that of its loss, its labels, its first bias, and the registry of all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from poisson import Poisson
from rows import random_rows, small_model

from fmcore.errors import UsageError
from fmcore.families import FAMILIES
from fmcore.hyper.params import PARAMETERS
from fmcore.hyper.presets import resolve
from fmcore.io.predictions import COLUMNS
from fmcore.kernels import backend_of
from fmcore.kernels.cpu import settings
from fmcore.objectives import OBJECTIVES, objective_of
from fmcore.objectives.logistic import sigmoid
from fmcore.optimizers import OPTIMIZERS
from fmcore.solvers import Resources
from fmcore.training.fit import fit
from fmcore.training.state import State

EACH = pytest.mark.parametrize("objective", [*OBJECTIVES.values(), Poisson()], ids=lambda objective: objective.name)


def labels_of(objective, n=200):
    """Return labels that the objective accepts, float64."""
    random = np.random.default_rng(0)
    labels = (random.random(n) < 0.3) if objective.binary else random.gamma(2, size=n)
    assert objective.accepts(labels.astype(np.float32)).all()
    return labels.astype(float)


@EACH
def test_the_gradient_is_that_of_the_loss_by_finite_differences(objective):
    labels = labels_of(objective)
    scores, step = np.linspace(-4, 4, len(labels)), 1e-6
    slope = (objective.loss(np, scores + step, labels) - objective.loss(np, scores - step, labels)) / (2 * step)
    gradient = objective.gradient(np, scores, labels)
    factor = {"regressor": 2.0}.get(objective.name, 1.0)  # half the squared error is what is gone down, as in MXNet
    np.testing.assert_allclose(slope, factor * gradient, rtol=1e-6, atol=1e-7)


@EACH
def test_numpy_and_torch_have_one_loss_and_gradient(objective):
    labels = labels_of(objective)
    scores = np.linspace(-30, 30, len(labels))
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 2e-6)):
        arrays = scores.astype(dtype), labels.astype(dtype)
        for function in (objective.loss, objective.gradient):
            expected = function(np, *arrays)
            assert expected.dtype == dtype
            found = function(torch, *map(torch.tensor, arrays))
            np.testing.assert_allclose(found.numpy(), expected, rtol=rtol, atol=rtol)
        np.testing.assert_array_equal(arrays[0], scores.astype(dtype), "arguments are left as they are")


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=lambda objective: objective.name)
def test_curvature_lies_between_the_second_derivative_and_its_bound_in_numpy_and_torch(objective):
    scores = np.concatenate([np.linspace(-30, 30, 200), [0, 1e-4, 1e-3, -1e-3, 2e-3]])
    labels, small = labels_of(objective, len(scores)), 1e-4
    slopes = [objective.gradient(np, scores + change, labels) for change in (-small, small)]
    curvature = objective.curvature(np, scores, labels)
    assert (curvature > (1 - 1e-6) * (slopes[1] - slopes[0]) / (2 * small)).all()
    assert (curvature <= objective.curvature_bound).all()
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 2e-6)):
        arrays = scores.astype(dtype), labels.astype(dtype)
        in_numpy = objective.curvature(np, *arrays)
        in_torch = objective.curvature(torch, *map(torch.tensor, arrays)).numpy()
        assert (in_numpy.dtype, in_torch.dtype) == (dtype, dtype)
        for found in (in_numpy, in_torch):
            np.testing.assert_allclose(found, curvature, rtol=rtol)


def test_far_scores_neither_overflow_nor_warn():
    logistic, far = objective_of("binary_classifier"), np.array([-1e4, -800, 800, 1e4])
    assert logistic.loss(np, far, np.ones(4)).tolist() == [1e4, 800, 0, 0]
    assert logistic.gradient(np, far, np.zeros(4)).tolist() == [0, 0, 1, 1]
    assert logistic.predict(far.astype(np.float32)).tolist() == [0, 0, 1, 1]
    assert logistic.predict(far.astype(np.float32)).dtype == np.float32
    small = np.array([-50.0, -20, 3])
    np.testing.assert_allclose(sigmoid(np, small), torch.sigmoid(torch.tensor(small)).numpy(), rtol=1e-14)


@EACH
def test_the_first_bias_has_the_least_loss_of_all_constants(objective):
    labels, weights = labels_of(objective), np.random.default_rng(1).uniform(0, 2, 200)
    best = objective.first_bias(float(weights @ labels / weights.sum()))

    def loss(constant):
        return weights @ objective.loss(np, np.full(len(labels), constant), labels)

    assert loss(best) < min(loss(best - 0.01), loss(best + 0.01))


@pytest.mark.parametrize(("mean", "bound"), [(0.0, -10), (1.0, 10)])
def test_the_first_bias_of_one_class_is_bounded(mean, bound):
    assert abs(objective_of("binary_classifier").first_bias(mean) - bound) < 1


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("binary_classifier", [0, 1, -1, 3, 0.5, np.nan, np.inf], [1, 1, 0, 0, 0, 0, 0]),
        ("regressor", [0, -1.5, 3e38, np.nan, np.inf, -np.inf], [1, 1, 1, 0, 0, 0]),
    ],
)
def test_each_objective_accepts_its_labels_alone(name, labels, expected):
    accepted = objective_of(name).accepts(np.array(labels, np.float32))
    assert accepted.dtype == bool
    assert accepted.tolist() == [bool(each) for each in expected]


@EACH
def test_metrics_hold_the_primary_metric_and_every_goal(objective):
    metrics = objective.metrics()
    metrics.update(np.array([-1, 1], np.float32), np.array([0, 1], np.float32))
    found = metrics.result()
    wanted = [objective.primary, *objective.goals.values()]
    assert {metric for metric, _ in wanted} <= found.keys()
    assert {direction for _, direction in wanted} <= {"minimize", "maximize"}
    (name,) = objective.epoch_metrics(0.25)
    assert name == objective.primary[0]


@EACH
def test_a_mean_loss_gives_the_metric_of_the_same_rows(objective):
    labels = labels_of(objective).astype(np.float32)
    scores = np.linspace(-2, 2, len(labels)).astype(np.float32)
    metrics = objective.metrics()
    metrics.update(scores, labels)
    mean = objective.loss(np, scores.astype(float), labels.astype(float)).mean()
    for name, value in objective.epoch_metrics(mean).items():
        assert value == pytest.approx(metrics.result()[name], rel=1e-6)


@EACH
def test_attributes_of_an_objective_are_of_their_kinds(objective):
    assert objective.columns in COLUMNS
    assert objective.outputs == 1
    assert objective.search.keys() == {"epochs", "wd"}
    assert objective.defaults.keys() <= PARAMETERS.keys()


def test_the_registry_names_each_objective_once():
    assert {name: objective.name for name, objective in OBJECTIVES.items()} == {name: name for name in OBJECTIVES}
    assert len({objective.kernel for objective in OBJECTIVES.values()}) == len(OBJECTIVES)
    assert objective_of(resolve(predictor_type="regressor")) is OBJECTIVES["regressor"]
    with pytest.raises(UsageError, match="predictor_type is 'ranker'; expected binary_classifier or regressor"):
        objective_of("ranker")
    with pytest.raises(UsageError, match="predictor_type is 'ranker'; expected binary_classifier or regressor"):
        resolve(predictor_type="ranker")


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_an_objective_without_a_kernel_is_trained_by_the_reference(monkeypatch, name):
    monkeypatch.setitem(OBJECTIVES, "poisson", Poisson())
    h = resolve(predictor_type="poisson")
    backend = backend_of(h, name, 2)
    assert backend.name == "reference"
    assert "poisson has no case in the kernels" in backend.note
    assert backend_of(resolve(predictor_type="regressor"), "cpu").note is None
    with pytest.raises(ValueError, match="no case"):
        settings(h, (99, 99))


def test_a_device_trains_an_objective_without_a_kernel_and_is_not_replaced(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "poisson", Poisson())
    h = resolve(predictor_type="poisson", epochs=2)
    assert backend_of(h, "torch:cpu", 1).name.startswith("torch:cpu")
    rows = dense_counts()
    on_device, slowly = (fit(rows, h, resources=Resources(1, device=name)) for name in ("torch:cpu", "cpu"))
    np.testing.assert_allclose(on_device.factors, slowly.factors, rtol=1e-3, atol=1e-5)
    with pytest.raises(UsageError, match="cuda"):
        backend_of(h, "cuda:99")


def dense_counts():
    """Rows of four columns, all filled, whose labels are counts."""
    rows = random_rows(64, 4)
    values = np.random.default_rng(5).uniform(0.5, 1.5, 256).astype(np.float32)
    indices = np.tile(np.arange(4, dtype=np.int32), 64)
    labels = np.random.default_rng(6).poisson(2, 64).astype(np.float32)
    return replace(rows, indptr=np.arange(0, 257, 4), indices=indices, values=values, labels=labels, weights=None)


def test_a_family_of_a_header_that_is_not_compiled_is_refused(monkeypatch):
    monkeypatch.setattr(FAMILIES["fm"], "kernel", "other.h", raising=False)
    with pytest.raises(UsageError, match=r"names the header 'other.h', but these kernels are compiled with fm\.h"):
        backend_of(resolve(predictor_type="regressor"))


def test_an_objective_or_optimizer_that_the_kernels_were_compiled_without_is_refused(monkeypatch):
    monkeypatch.setattr(OBJECTIVES["regressor"], "kernel", 77, raising=False)
    with pytest.raises(UsageError, match="predictor_type regressor is number 77 in the kernels"):
        backend_of(resolve(predictor_type="regressor"), "cpu").trainer(small_model("regressor"))
    monkeypatch.setattr(OPTIMIZERS["adam"], "kernel", 88, raising=False)
    with pytest.raises(UsageError, match="optimizer adam is number 88 in the kernels"):
        backend_of(resolve(predictor_type="binary_classifier"), "cpu").trainer(
            small_model("binary_classifier", optimizer="adam")
        )


def test_early_stopping_goes_by_the_direction_of_the_primary_metric(monkeypatch):
    monkeypatch.setattr(type(OBJECTIVES["binary_classifier"]), "primary", ("auc", "maximize"))
    state = State(small_model(early_stopping_patience=1, epochs=9))
    for epoch, auc in enumerate((0.5, 0.75, 0.625), 1):
        state.add({"epoch": epoch, "test": {"auc": auc}}, lambda: state.model)
    assert (state.best.epoch, state.best.value, state.ended()) == (2, 0.75, True)

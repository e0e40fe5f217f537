"""Every family: its gradient against finite differences, its shapes, the kernels that it names."""

from dataclasses import replace

import numpy as np
import pytest
from fielded import Fielded
from gated import shapes
from rows import block_of, random_rows
from shell import ROOT

from fmcore.errors import UsageError
from fmcore.families import FAMILIES, family_of
from fmcore.families.contract import numbers_per_feature, per_feature
from fmcore.hyper.params import PARAMETERS, Hyperparameters
from fmcore.kernels import backend_of, reference
from fmcore.model.model import initial
from fmcore.rows.batch import Batch

STEP = 1e-6


def hyperparameters(**more):
    return Hyperparameters(predictor_type="regressor", feature_dim=7, num_factors=3, **more)


def finite_differences(family, X, weights, outer):
    """Name of a tensor -> central differences of outer . score by each of its weights."""
    found = {}
    for name, array in weights.items():
        found[name] = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            sums = []
            for sign in (1, -1):
                moved = {other: values.copy() for other, values in weights.items()}
                moved[name][place] += sign * STEP
                sums.append(outer @ family.score(X, moved))
            found[name][place] = (sums[0] - sums[1]) / (2 * STEP)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_of_a_family_is_that_of_its_score(name):
    family, h, rng = FAMILIES[name], hyperparameters(family=name), np.random.default_rng(0)
    X = reference.matrix(random_rows(12, 7), 7)
    weights = {tensor: rng.normal(size=shape) for tensor, shape in shapes(family, h, 7).items()}
    outer = rng.normal(size=12)
    found, expected = family.gradient(X, weights, outer), finite_differences(family, X, weights, outer)
    assert found.keys() == weights.keys()
    for tensor, gradient in expected.items():
        assert found[tensor].shape == weights[tensor].shape
        np.testing.assert_allclose(found[tensor], gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.shifts])
def test_spread_and_reach_are_squares_of_the_gradient_of_the_score(name):
    """Spread: of the factors of a feature, summed over rows; reach: of the factors of all, but for the values' own."""
    family, h, rng = FAMILIES[name], hyperparameters(family=name), np.random.default_rng(1)
    X = reference.matrix(random_rows(12, 7), 7)
    weights = {tensor: rng.normal(size=shape) for tensor, shape in shapes(family, h, 7).items()}
    curvature, spread = rng.uniform(0.1, 2, 12), np.zeros(7)
    for row in range(12):
        of_row = family.gradient(X[row], weights, np.ones(1))["factors"]
        spread += curvature[row] * (of_row**2).sum(1)
    np.testing.assert_allclose(family.spread(X, weights, curvature), spread, rtol=1e-9, atol=1e-12)
    sums = X @ weights["factors"]
    np.testing.assert_allclose(family.reach(X, weights), (sums**2).sum(1), rtol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_tensors_per_feature_have_a_row_for_each_feature(name):
    family, h = FAMILIES[name], hyperparameters(family=name)
    assert family.name == name
    assert per_feature(family)
    for tensor in family.tensors:
        assert tensor.group in {"bias", "linear", "factors"}
        longer = [tensor.shape(h, d) for d in (7, 9)]
        assert [shape[0] for shape in longer] == [7, 9] if tensor.per_feature else longer[0] == longer[1]


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.kernel])
def test_the_kernel_header_of_a_family_exists(name):
    assert (ROOT / "fmcore/kernels" / FAMILIES[name].kernel).is_file()


def test_a_factorization_machine_has_a_weight_and_factors_for_each_feature():
    family, h = FAMILIES["fm"], hyperparameters()
    assert shapes(family, h, 7) == {"bias": (1,), "linear": (7,), "factors": (7, 3)}
    assert numbers_per_feature(family, h) == 4


def test_a_family_is_named_in_a_model_only_where_it_is_not_the_default(monkeypatch):
    assert "family" not in hyperparameters().as_dict()
    assert Hyperparameters.from_dict(hyperparameters().as_dict()).family == "fm"
    with pytest.raises(UsageError, match=r"^family is 'other'; expected fm$"):
        hyperparameters(family="other")
    assert PARAMETERS["family"].hidden
    other = object()
    monkeypatch.setitem(FAMILIES, "other", other)
    chosen = hyperparameters(family="other")
    assert chosen.as_dict()["family"] == "other"
    assert Hyperparameters.from_dict(chosen.as_dict()) == chosen
    assert family_of(chosen) is other
    assert not PARAMETERS["family"].hidden


def test_a_family_that_needs_fields_is_given_those_of_each_mini_batch(monkeypatch):
    monkeypatch.setitem(FAMILIES, "fielded", Fielded())
    h = hyperparameters(family="fielded", optimizer="sgd", linear_lr=1.0, linear_wd=0.0, linear_init_value=0.5)
    backend, model = backend_of(h), initial(h)
    plain = Batch(
        np.array([0, 2, 3, 4], np.int64),
        np.array([4, 1, 2, 1], np.int32),
        np.array([1, 3, 2, 1], np.float32),
        np.array([1, 0, 2], np.float32),
    )
    rows = replace(plain, fields=np.array([2, 0, 1, 3], np.int32))
    assert backend.score(rows, model).tolist() == [3, 2, 2]
    trainer = backend.trainer(model)
    scores, _ = trainer.train(block_of(rows, 2), np.array([0, 1]))
    assert scores[:2].tolist() == [3, 2]
    # (3 - 1) (3, 3) / 2 for features 4 and 1, 2 * 4 / 2 for feature 2; then feature 1 alone, by 4 (4 (0.5 - 3) - 2)
    first = 0.5 - 3
    expected = [0.5, first - 4 * (4 * first - 2), 0.5 - 4, 0.5, first, 0.5, 0.5]
    np.testing.assert_allclose(trainer.snapshot().weights["linear"], expected)
    with pytest.raises(UsageError, match=r"^family fielded needs a field for each non-zero, and these rows have none$"):
        backend.score(plain, model)

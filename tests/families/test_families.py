"""Every family: its gradient against finite differences, its shapes, the kernels that it names."""

import numpy as np
import pytest
from rows import random_rows
from shell import ROOT

from fmcore.errors import UsageError
from fmcore.families import FAMILIES, family_of
from fmcore.families.contract import numbers_per_feature, per_feature, shapes
from fmcore.hyper.params import PARAMETERS, Hyperparameters
from fmcore.kernels import reference

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


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tensors_of_a_family_have_a_row_for_each_feature_where_they_say_so(name):
    family, h = FAMILIES[name], hyperparameters(family=name)
    assert family.name == name
    assert per_feature(family)
    for tensor in family.tensors:
        assert tensor.group in {"bias", "linear", "factors"}
        longer = [tensor.shape(h, d) for d in (7, 9)]
        assert [shape[0] for shape in longer] == [7, 9] if tensor.per_feature else longer[0] == longer[1]


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.kernel])
def test_the_kernel_header_of_a_family_is_there(name):
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

"""The optimizers that there are: their formulas by hand, their numbers in the kernels, what they keep."""

import re

import numpy as np
import pytest
from rows import small_model
from shell import ROOT

from fmcore.errors import UsageError
from fmcore.families import FAMILIES
from fmcore.hyper.params import Hyperparameters
from fmcore.optimizers import OPTIMIZERS, optimizer_of
from fmcore.optimizers.state import COUNTED, Spec, state_table, updates_in, updates_state
from fmcore.training.state import converted

# After two steps with gradients 3 and -1, learning rate 0.5 and eps 0.25, from weight 1.
FIRST = 0.5 * np.sqrt(1 - 0.999) / (1 - 0.9) * 0.3 / (np.sqrt(9e-3) + 0.25)
SECOND = 0.5 * np.sqrt(1 - 0.999**2) / (1 - 0.9**2) * 0.17 / (np.sqrt(9.991e-3) + 0.25)
BY_HAND = {
    "sgd": 1 - 0.5 * 3 + 0.5,
    "adagrad": 1 - 1.5 / 3.25 + 0.5 / (np.sqrt(10) + 0.25),
    "rowwise_adagrad": 1 - 1.5 / 3.25 + 0.5 / (np.sqrt(10) + 0.25),
    "adam": 1 - FIRST - SECOND,
}


def hyperparameters(optimizer):
    return Hyperparameters(predictor_type="regressor", feature_dim=7, num_factors=3, optimizer=optimizer)


def steps(optimizer, shape):
    """Return a tensor's weights after two steps of one gradient each for all of them."""
    weight = np.ones(shape)
    state = {
        slot.name: np.zeros((shape[0], *(1 for _ in shape[1:])) if slot.per_row else shape) for slot in optimizer.slots
    }
    for t, gradient in enumerate((3.0, -1.0), 1):
        optimizer.step(weight, np.full(shape, gradient), state, 0.5, 0.25, t)
    return weight


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_steps_are_those_computed_by_hand(name, shape):
    np.testing.assert_allclose(steps(OPTIMIZERS[name], shape), np.full(shape, BY_HAND[name]), rtol=1e-12)


def test_the_numbers_of_optimizers_are_those_of_the_kernels():
    header = (ROOT / "fmcore/kernels/optimizers.h").read_text()
    (listed,) = re.findall(r"enum \{ (FIXED = .*?) \};", header)
    numbers = {name.lower(): int(number) for name, number in re.findall(r"(\w+) = (\d+)", listed)}
    assert numbers.pop("fixed") == 0
    assert numbers == {name: optimizer.factors_kernel or optimizer.kernel for name, optimizer in OPTIMIZERS.items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_attributes_of_an_optimizer_are_of_their_kinds(name):
    optimizer, h = OPTIMIZERS[name], hyperparameters(name)
    assert optimizer_of(h) is optimizer
    assert optimizer.name == name
    assert h.eps == optimizer.eps > 0
    assert len({slot.per_row for slot in optimizer.slots}) <= 1
    assert {slot.combine for slot in optimizer.slots} <= {"mean", "sum"}


def test_the_state_table_of_adam_has_both_moments_and_the_updates():
    slots = {"first_moment": (None, 1), "second_moment": (0.0, 2)}
    shapes = {"bias": (1,), "linear": (7,), "factors": (7, 3)}
    expected = {
        f"{slot}.{name}": Spec(
            shape, np.float32, least=least, degree=degree if name != "bias" else 0, per_feature=name != "bias"
        )
        for slot, (least, degree) in slots.items()
        for name, shape in shapes.items()
    }
    expected["adam.updates"] = Spec((1,), np.int64, least=0, most=COUNTED)
    assert state_table(hyperparameters("adam"), FAMILIES["fm"], 7) == expected


def test_a_spec_checks_shape_dtype_and_bounds():
    spec = Spec((2, 1), np.float32, least=0.0, most=5)
    assert spec.fits(np.zeros((2, 1), np.float32))
    assert not spec.fits(np.zeros((2, 1)))
    assert not spec.fits(np.zeros(2, np.float32))
    assert [spec.holds(np.array([[value], [1]])) for value in (-1, 0, 5, 6)] == [False, True, True, False]
    assert Spec((1,), np.float32).holds(np.array([-1e30]))


def test_updates_are_counted_for_optimizers_that_need_them():
    adam, sgd = OPTIMIZERS["adam"], OPTIMIZERS["sgd"]
    assert updates_in(adam, updates_state(adam, 12)) == 12
    assert updates_state(adam, 12)["adam.updates"].dtype == np.int64
    assert (updates_state(sgd, 12), updates_in(sgd, {}), updates_in(adam, {})) == ({}, 0, 0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sums_alone_are_divided_among_workers(name):
    model = small_model(feature_dim=4, optimizer=name)
    model.state = {key: np.full(spec.shape, 6, spec.dtype) for key, spec in model.state_table().items()}
    converted(model, 1, 3)
    for key, array in model.state.items():
        assert (array == (2 if key.startswith("sum_of_squares") else 6)).all()
        assert model.state_table()[key].fits(array)


def test_the_choices_are_those_of_the_registry(monkeypatch):
    with pytest.raises(UsageError, match=r"^optimizer is 'other'; expected adagrad or adam or rowwise_adagrad or sgd$"):
        hyperparameters("other")
    monkeypatch.setitem(OPTIMIZERS, "other", OPTIMIZERS["sgd"])
    assert hyperparameters("other").eps == 1e-8

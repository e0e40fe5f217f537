"""Ranges, choices and spaces: what may be searched, what is refused, and the grid over it."""

import itertools
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import UsageError
from fmcore.hyper.presets import PRESETS, resolve
from fmcore.objectives import OBJECTIVES
from fmcore.tuning.dimensions import Choice, Range, parse_choice, parse_range
from fmcore.tuning.goals import goal_names, goal_of
from fmcore.tuning.grid import Grid, points
from fmcore.tuning.space import search_space
from fmcore.tuning.spaces import SPACES

CLASSES = {"predictor_type": "binary_classifier"}
RATINGS = {"predictor_type": "regressor"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("factors_lr=1e-3:0.5:log", ("factors_lr", Range(1e-3, 0.5, log=True))),
        ("factors-lr=0:1", ("factors_lr", Range(0.0, 1.0))),
        ("num_factors=2:64:log:int", ("num_factors", Range(2, 64, log=True, integer=True))),
        ("epochs=1:5", ("epochs", Range(1, 5, integer=True))),
        ("bias_init_value=-1:1", ("bias_init_value", Range(-1.0, 1.0))),
        ("mini_batch_size=16:256:int", ("mini_batch_size", Range(16, 256, integer=True))),
    ],
)
def test_ranges_are_parsed(text, found):
    assert parse_range(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epochs", "expected NAME=low:high"),
        ("epochs=", "expected NAME=low:high"),
        ("epochs=5", "expected epochs=low:high"),
        ("epochs=5:", "expected epochs=low:high"),
        ("epochs=1:5:lin", ":log, :int or both"),
        ("epochs=1:5:log:log", ":log, :int or both"),
        ("epochs=5:5", "below"),
        ("epochs=9:5", "below"),
        ("epochs=0:5", "at least 1"),
        ("epochs=1:2.5", "expected an integer"),
        ("factors_lr=0:1:log", "above 0"),
        ("factors_lr=nan:1", "expected a number"),
        ("factors_lr=0:inf", "expected a number"),
        ("epochs=1:x", "an integer"),
        ("factors_lr=0.1:1:int", "no integer"),
        ("optimizer=a:b", "--choice"),
        ("use_bias=0:1", "--choice"),
        ("mini_batch_size=auto:64", "must be a number"),
        ("clip_gradient=0:1", "above 0"),
        ("epoch=1:5", "cannot be searched"),
        ("seed=1:5", "cannot be searched"),
        ("predictor_type=1:2", "cannot be searched"),
        ("validation_fraction=0.1:0.2", "cannot be searched"),
        ("feature_dim=1:2", "cannot be"),
    ],
)
def test_ranges_that_are_refused(text, problem):
    with pytest.raises(UsageError, match=problem):
        parse_range(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("mini_batch_size=auto,64", (None, 64)),
        ("clip_gradient=none,1", (None, 1.0)),
        ("use_linear=true,false", (True, False)),
        ("optimizer=sgd, adam,sgd", ("sgd", "adam")),
        ("num_factors=4", (4,)),
    ],
)
def test_choices_are_parsed(text, values):
    assert parse_choice(text) == (text.partition("=")[0], Choice(values))


@pytest.mark.parametrize(
    "text", ["optimizer=rprop", "epochs=1,,2", "epochs=1,0", "use_bias=maybe", "optimizer=", "x=1", "pilot=auto,none"]
)
def test_choices_that_are_refused(text):
    with pytest.raises(UsageError):
        parse_choice(text)


@pytest.mark.parametrize("kind", tuple(OBJECTIVES))
@pytest.mark.parametrize("name", SPACES)
def test_every_space_suits_every_predictor_type_and_preset(name, kind):
    for preset in PRESETS:
        space = search_space({}, {"predictor_type": kind}, space=name, preset=preset)
        for number in range(20):
            assert space.hyperparameters(Grid(space).point(number)).predictor_type == kind


@pytest.mark.parametrize("kind", tuple(OBJECTIVES))
@pytest.mark.parametrize("name", ["small", "full"])
def test_the_native_spaces_lie_around_the_preset(name, kind):
    space = search_space({}, {"predictor_type": kind}, space=name)
    decided = {"epochs", "mini_batch_size", "factors_init_scale"}  # by the rows; not of the preset's method
    for dimension in space.dimensions.keys() - decided:
        assert space.dimensions[dimension].holds(space.defaults[dimension]), dimension


def test_the_small_space_of_native_leaves_the_rest_of_the_recipe_alone():
    space = search_space({}, RATINGS)
    assert set(space.dimensions) == {
        *("num_factors", "epochs", "factors_lr", "linear_wd", "factors_wd", "factors_variance"),
    }
    found = space.hyperparameters({"num_factors": 64})
    assert found.factors_init_sigma == pytest.approx(0.2 / 64**0.5)


@pytest.mark.parametrize(
    ("preset", "fixed"), [("native-1", {}), ("native", {"penalty": "batch", "factors_variance": 0})]
)
def test_the_small_space_with_a_penalty_by_batches_is_that_of_its_defaults(preset, fixed):
    space = search_space({}, {**RATINGS, **fixed}, preset=preset)
    assert space.dimensions == {
        "num_factors": Range(4, 64, log=True, integer=True),
        "epochs": Range(5, 40, log=True, integer=True),
        "linear_lr": Range(0.01, 0.3, log=True),
        "factors_lr": Range(0.01, 0.3, log=True),
        "linear_wd": Range(1e-4, 3e-2, log=True),
        "factors_wd": Range(1e-4, 3e-2, log=True),
        "factors_init_sigma": Range(4e-3, 0.2, log=True),
    }


def test_learning_rates_of_another_optimizer_are_searched_in_its_own_range():
    usual, other = (search_space({}, {**CLASSES, **fixed}) for fixed in ({}, {"optimizer": "adam"}))
    assert "linear_lr" not in usual.dimensions
    assert {"bias_lr", "linear_lr"} <= other.dimensions.keys()
    assert other.dimensions["factors_lr"].low < usual.dimensions["factors_lr"].low
    assert other.dimensions["factors_lr"].holds(other.defaults["factors_lr"])
    assert "optimizer" not in search_space({}, {**CLASSES, "optimizer": "adam"}, space="full").dimensions


def test_trials_have_no_pilot_and_the_untuned_model_has_that_of_the_preset():
    space = search_space({}, RATINGS)
    assert space.untuned() == resolve("native", **RATINGS)
    assert space.hyperparameters({"epochs": 4}).pilot == "none"
    assert space.given({"epochs": 4}) == {**RATINGS, "epochs": 4, "pilot": "none"}
    older = search_space({}, RATINGS, preset="native-1")
    assert older.given({"epochs": 4}) == {**RATINGS, "epochs": 4}


def test_the_space_holds_what_a_trial_could_have_been_given():
    space = search_space({}, RATINGS)
    usual = {**asdict(space.untuned()), "epochs": 10, "mini_batch_size": 45, "feature_dim": 7}
    assert space.values_of(usual)["epochs"] == 10
    assert space.holds(usual)
    assert not space.holds({**usual, "epochs": 100})
    assert not space.holds({**usual, "rescale_grad": 0.5})  # which is no dimension
    assert space.outside({"epochs": 100, "num_factors": 8}) == {"epochs": 100}


def test_auto_is_the_value_of_an_untuned_model_where_it_can_be_chosen():
    found = {**asdict(resolve("native", **RATINGS)), "mini_batch_size": 45}
    space = search_space({"mini_batch_size": Choice((None, 64))}, RATINGS)
    assert space.values_of(found) == {"mini_batch_size": None}
    assert space.holds(found)
    space = search_space({"mini_batch_size": Range(16, 64, integer=True)}, RATINGS)
    assert space.values_of(found) == {"mini_batch_size": 45}
    assert space.holds(found)


def test_fixed_hyperparameters_are_not_searched():
    space = search_space({}, {**CLASSES, "epochs": 3, "num_factors": 4})
    assert not {"epochs", "num_factors"} & set(space.dimensions)
    assert space.hyperparameters({"linear_lr": 0.3}).epochs == 3


def test_named_ranges_stand_alone_or_beside_a_space():
    named = {"epochs": Range(1, 2, integer=True)}
    assert search_space(named, RATINGS).dimensions == named
    assert search_space(named, RATINGS, space="small").dimensions["epochs"] == named["epochs"]
    both = search_space(named, RATINGS, space="small")
    assert both.dimensions.keys() == search_space({}, RATINGS).dimensions.keys()
    assert both.named == named.keys()


def test_an_init_number_is_searched_only_under_its_method():
    space = search_space({}, CLASSES, space="sagemaker", preset="sagemaker")
    assert space.applies("factors_init_scale", {"factors_init_method": "uniform"})
    assert not space.applies("factors_init_sigma", {"factors_init_method": "uniform"})
    fixed = search_space({}, {**CLASSES, "factors_init_method": "constant"}, space="sagemaker", preset="sagemaker")
    assert [name for name in fixed.dimensions if name.startswith("factors_init")] == ["factors_init_value"]


def test_a_given_init_number_fixes_its_method():
    space = search_space({}, {**CLASSES, "factors_init_sigma": 0.1}, space="sagemaker", preset="sagemaker")
    assert [name for name in space.dimensions if name.startswith("factors_init")] == []


@pytest.mark.parametrize(
    ("named", "fixed", "problem"),
    [
        ({"epochs": Range(1, 2)}, {"epochs": 1}, "both a value and a range"),
        ({"factors_init_scale": Range(0, 1)}, {}, "only counts under the init method uniform"),
        ({"factors_init_method": Choice(("normal",))}, {"factors_init_sigma": 0.1}, "goes with one method"),
        ({}, dict.fromkeys(search_space({}, CLASSES).dimensions, 1), "nothing is left"),
    ],
)
def test_spaces_that_are_refused(named, fixed, problem):
    with pytest.raises(UsageError, match=problem):
        search_space(named, {**CLASSES, **fixed})


def test_objectives_belong_to_predictor_types():
    assert goal_of(None, "regressor") == ("test:rmse", "rmse", "minimize")
    assert goal_of(None, "binary_classifier").name == "test:binary_classification_cross_entropy"
    for name in goal_names():
        (kind,) = (kind for kind, objective in OBJECTIVES.items() if name in objective.goals)
        assert goal_of(name, kind).name == name
        with pytest.raises(UsageError, match="does not fit"):
            goal_of(name, next(other for other in OBJECTIVES if other != kind))


@given(st.integers(1, 1000), st.integers(1, 1000), st.booleans())
def test_grid_points_of_an_integer_range_are_distinct_and_include_both_ends(low, width, log):
    found = points(Range(low, low + width, log=log, integer=True))
    assert found[0] == low
    assert found[-1] == low + width
    assert found == sorted(set(found))
    assert all(isinstance(point, int) for point in found)


def test_a_grid_visits_each_point_once():
    named = {
        "epochs": Range(1, 3, integer=True),
        "optimizer": Choice(("adam", "sgd")),
        "factors_init_method": Choice(("normal", "uniform", "constant")),
        "factors_init_sigma": Range(0.1, 0.5),
        "factors_init_scale": Range(0.1, 0.2),
    }
    space = search_space(named, CLASSES)
    grid = Grid(space)
    assert grid.size == 3 * 2 * (5 + 5 + 1)
    seen = [grid.point(number) for number in range(grid.size)]
    assert len({tuple(sorted(point.items())) for point in seen}) == grid.size
    assert all(space.applies(name, point) for point in seen for name in point)
    first = list(itertools.islice(seen, 6))
    assert {point["optimizer"] for point in first} == {"adam", "sgd"}
    assert {point["epochs"] for point in first} == {1, 2, 3}


def test_a_grid_of_any_size_is_made_without_its_points():
    grid = Grid(search_space({}, CLASSES, space="sagemaker", preset="sagemaker"))
    assert grid.size > 10**9
    assert grid.point(grid.size - 1) != grid.point(0)

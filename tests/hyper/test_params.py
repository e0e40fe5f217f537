"""The table of hyperparameters: what each takes, and how texts and dicts become values."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import UsageError
from fmcore.hyper.given import from_strings, layered
from fmcore.hyper.groups import GROUPS, INIT_NUMBERS
from fmcore.hyper.params import PARAMETERS, Hyperparameters
from fmcore.hyper.presets import resolve

REGRESSOR = {"predictor_type": "regressor"}


def test_every_parameter_has_a_sentence_a_group_and_a_valid_default():
    for name, parameter in PARAMETERS.items():
        assert parameter.name == name
        assert parameter.help.endswith(".")
        assert parameter.group
        assert parameter.valid
        if not parameter.required:
            assert parameter.check(parameter.default) == parameter.default
    assert [name for name, parameter in PARAMETERS.items() if parameter.required] == ["predictor_type"]


def test_layered_values_drop_the_number_of_another_init_method():
    assert layered({"epochs": 1, "seed": 2}, {"epochs": 3}) == {"epochs": 3, "seed": 2}
    lower = {"bias_init_method": "normal", "bias_init_sigma": 0.5, "linear_init_sigma": 0.25}
    assert layered(lower, {"bias_init_method": "uniform"}) == {"bias_init_method": "uniform", "linear_init_sigma": 0.25}
    assert layered(lower, {"bias_init_method": "normal"}) == lower
    assert layered(lower, {"bias_init_scale": 1.0}) == {**lower, "bias_init_scale": 1.0}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("method", INIT_NUMBERS)
@pytest.mark.parametrize("number", INIT_NUMBERS.values())
def test_each_init_method_takes_its_own_number(group, method, number):
    given = {**REGRESSOR, f"{group}_init_method": method, f"{group}_init_{number}": 0.5}
    if number == INIT_NUMBERS[method]:
        assert resolve(**given).init(group) == (method, 0.5)
    else:
        with pytest.raises(UsageError) as raised:
            resolve(**given)
        assert str(raised.value).startswith(f"{group}_init_{number} is 0.5, but {group}_init_method is {method}")


def test_the_bias_may_start_at_the_mean_label_and_then_takes_no_number():
    assert resolve(**REGRESSOR, bias_init_method="mean").init("bias") == ("mean", None)
    with pytest.raises(UsageError, match=r"bias_init_sigma is 0\.5, but bias_init_method is mean, which takes no"):
        resolve(**REGRESSOR, bias_init_sigma=0.5)
    with pytest.raises(UsageError, match="linear_init_method is 'mean'; expected normal or uniform or constant"):
        resolve(**REGRESSOR, linear_init_method="mean")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("predictor_type", "classifier", "binary_classifier or regressor"),
        ("optimizer", "lbfgs", "adagrad or adam or rowwise_adagrad or sgd"),
        ("num_factors", 0, "an integer from 1 to 65536"),
        ("num_factors", 2.5, "an integer from 1 to 65536"),
        ("num_factors", True, "an integer from 1 to 65536"),
        ("epochs", 0, "an integer of at least 1, or auto"),
        ("penalty", "row", "rows or batch"),
        ("factors_variance", -0.5, "a number of at least 0"),
        ("validation_fraction", 1.0, "a number above 0 and at most 0.9, or none"),
        ("mini_batch_size", -1, "an integer from 1 to 2147483647, or auto"),
        ("linear_lr", -0.5, "a number of at least 0"),
        ("linear_lr", float("nan"), "a number of at least 0"),
        ("linear_lr", float("inf"), "a number of at least 0"),
        ("linear_lr", 1e39, "a number of at least 0"),
        ("linear_lr", 10**400, "a number of at least 0"),
        ("clip_gradient", 0.0, "a number above 0, or none"),
        ("eps", 0.0, "a number from 1e-30 to 1.0, or none"),
        ("bias_init_value", "x", "a number, or none"),
        ("shuffle", 1, "true or false"),
        ("seed", -1, "an integer from 0 to 9223372036854775807"),
    ],
)
def test_a_refusal_names_parameter_value_and_what_is_valid(name, value, expected):
    with pytest.raises(UsageError) as raised:
        resolve(**{**REGRESSOR, name: value})
    assert str(raised.value) == f"{name} is {value!r}; expected {expected}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"factors_variance": 0.5},
            "factors_variance is 0.5, but penalty is batch; choose penalty rows, or preset native-1",
        ),
        ({"label_scaling": "standard"}, "label_scaling is standard, but the labels of a binary_classifier are no"),
        ({"label_range": "training"}, "label_range is training, but the labels of a binary_classifier are no quantity"),
    ],
)
def test_values_that_contradict_each_other_are_refused(given, said):
    with pytest.raises(UsageError) as raised:
        resolve("native-1", predictor_type="binary_classifier", **given)
    assert str(raised.value).startswith(said)


def test_numbers_of_other_kinds_become_plain_ones():
    h = resolve(**REGRESSOR, num_factors=np.int64(4), linear_lr=1, factors_lr=np.float32(0.5))
    assert [type(v) for v in (h.num_factors, h.linear_lr, h.factors_lr)] == [int, float, float]


def test_the_predictor_type_must_be_given():
    for make in (resolve, lambda: Hyperparameters.from_dict({})):
        with pytest.raises(UsageError, match=r"^predictor_type is required: binary_classifier or regressor$"):
            make()


def test_texts_become_typed_values():
    given = from_strings(
        {
            "predictor_type": "regressor",
            "num_factors": "16",
            "linear_lr": "1e-3",
            "mini_batch_size": "auto",
            "clip_gradient": "None",
            "shuffle": "False",
            "epochs": " 3 ",
            "seed": 7,
        }
    )
    assert given == {
        "predictor_type": "regressor",
        "num_factors": 16,
        "linear_lr": 0.001,
        "mini_batch_size": None,
        "clip_gradient": None,
        "shuffle": False,
        "epochs": 3,
        "seed": 7,
    }
    assert type(given["linear_lr"]) is float


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("num_factors", "8.5"),
        ("num_factors", "1_0"),
        ("num_factors", ""),
        ("num_factors", "auto"),
        ("num_factors", "9" * 5000),
        ("linear_lr", "fast"),
        ("linear_lr", "nan"),
        ("linear_lr", "1e999"),
        ("linear_lr", "1_0.0"),
        ("shuffle", "maybe"),
        ("predictor_type", "Regressor"),
        ("mini_batch_size", "0"),
        ("epochs", [3]),
        ("epochs", {}),
    ],
)
def test_texts_that_are_no_value_are_refused_as_they_stand(name, text):
    with pytest.raises(UsageError) as raised:
        from_strings({name: text})
    assert str(raised.value).startswith(f"{name} is ")
    assert PARAMETERS[name].valid in str(raised.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"mini_batch_siz": "10"},
            "Additional properties are not allowed ('mini_batch_siz' was unexpected); did you mean 'mini_batch_size'?",
        ),
        ({"zzz": 1, "yyy": 2}, "Additional properties are not allowed ('zzz', 'yyy' were unexpected)"),
    ],
)
def test_unknown_names_are_refused(given, message):
    for make in (
        from_strings,
        lambda g: resolve(**REGRESSOR, **g),
        lambda g: Hyperparameters.from_dict({**REGRESSOR, **g}),
    ):
        with pytest.raises(UsageError) as raised:
            make(given)
        assert str(raised.value) == message


def test_hyperparameters_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolve(**REGRESSOR).epochs = 3


def test_a_dict_without_newer_names_takes_their_defaults():
    assert Hyperparameters.from_dict(REGRESSOR) == Hyperparameters(**REGRESSOR)


def values_of(parameter):
    if parameter.choices:
        return st.sampled_from(list(parameter.choices))
    if parameter.kind is bool:
        return st.booleans()
    if parameter.kind is int:
        return st.integers(parameter.low, parameter.high)
    low = parameter.low if parameter.above is None else 1e-6
    return st.floats(-1e30 if low is None else low, 1e30 if parameter.high is None else parameter.high)


PLAIN = {name: values_of(p) for name, p in PARAMETERS.items() if "_init_" not in name}


@given(
    st.fixed_dictionaries(
        {"predictor_type": PLAIN["predictor_type"]}, optional={k: v for k, v in PLAIN.items() if k != "predictor_type"}
    )
)
def test_dict_json_and_texts_lose_nothing(values):
    if values["predictor_type"] == "binary_classifier":  # whose labels are no quantity
        values = {name: value for name, value in values.items() if not name.startswith("label_")}
    if values.get("factors_variance"):
        values = {**values, "penalty": "rows"}
    h = resolve("native-1", **values)
    assert Hyperparameters.from_dict(json.loads(json.dumps(h.as_dict()))) == h
    texts = {name: "none" if value is None else str(value) for name, value in h.as_dict().items()}
    assert resolve("native-1", **from_strings(texts)) == h

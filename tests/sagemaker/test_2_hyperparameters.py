"""SageMaker's contract, section 2: hyperparameters, their defaults and limits, hyperparameters.json, and adam."""

import json

import numpy as np
import pytest
from plain_adam import assert_equal, plain_adam
from rows import random_rows
from shell import last_line, libsvm_rows

from fmcore.errors import UsageError
from fmcore.hyper.given import from_strings
from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile
from fmcore.model.model import initial

REGRESSOR = {"predictor_type": "regressor"}
RATE = ("0", "0.5", "1e-8", "512"), ("-0.1", "fast", "nan", "inf", "")
COUNT = ("1", "1000"), ("0", "-1", "1.5", "ten", "1e3", "")
METHOD = ("normal", "uniform", "constant"), ("gaussian", "Normal", "")
OPTIONAL = ("none", "None", "0.5", "1e-8"), ("x", "", "nan")
TABLE = {  # name -> default under the preset where predictor_type alone is given, (valid texts, invalid ones)
    "feature_dim": (None, COUNT),
    "num_factors": (64, COUNT),
    "predictor_type": ("regressor", (("binary_classifier", "regressor"), ("classifier", "Regressor", ""))),
    "epochs": (1, COUNT),
    "mini_batch_size": (1000, (("1", "100", "10000"), COUNT[1])),
    "bias_lr": (0.1, RATE),
    "linear_lr": (0.001, RATE),
    "factors_lr": (0.0001, RATE),
    "bias_wd": (0.01, RATE),
    "linear_wd": (0.001, RATE),
    "factors_wd": (0.00001, RATE),
    "bias_init_method": ("normal", METHOD),
    "linear_init_method": ("normal", METHOD),
    "factors_init_method": ("normal", METHOD),
    "bias_init_sigma": (0.01, RATE),
    "linear_init_sigma": (0.01, RATE),
    "factors_init_sigma": (0.001, RATE),
    "bias_init_scale": (None, RATE),
    "linear_init_scale": (None, RATE),
    "factors_init_scale": (None, RATE),
    "bias_init_value": (None, (("-1", "0", "512"), ("x", "nan"))),
    "linear_init_value": (None, (("-1", "0", "512"), ("x", "nan"))),
    "factors_init_value": (None, (("-1", "0", "512"), ("x", "nan"))),
    "clip_gradient": (None, OPTIONAL),
    "eps": (1e-8, OPTIONAL),
    "rescale_grad": (0.001, OPTIONAL),
    "use_bias": (True, (("true", "False"), ("maybe", ""))),
    "use_linear": (True, (("true", "False"), ("maybe", ""))),
    "batch_metrics_publish_interval": (500, COUNT),
}
INTERNAL = {
    "_optimizer": "adam",
    "_learning_rate": "1.0",
    "_wd": "1.0",
    "_kvstore": "auto",
    "_num_gpus": "auto",
    "_num_kv_servers": "auto",
    "_log_level": "info",
    "_tuning_objective_metric": "",
}
GROUPS = ("bias", "linear", "factors")


@pytest.fixture
def train(fm):
    """Return a function that trains on the same few rows: (hyperparameters of the model, the command's output)."""
    fm.write("train.svm", libsvm_rows(30, 1, classes=False))

    def train(*options, file=None, code=0):
        if file is not None:
            fm.write("h.json", file if isinstance(file, str) else json.dumps(file))
            options = ("--hyperparameters", "h.json", *options)
        said = fm("train", "train.svm", *options, "-o", "x.fm", code=code).err
        return (modelfile.load(fm.folder / "x.fm").hyperparameters if code == 0 else None), said

    return train


# ------------------------------------------------------------------------------------------------------- the table
@pytest.mark.parametrize("name", TABLE)
def test_each_sagemaker_default_is_the_documented_one(name):
    for predictor_type in ("regressor", "binary_classifier"):
        h = resolve("sagemaker", predictor_type=predictor_type)
        expected = predictor_type if name == "predictor_type" else TABLE[name][0]
        assert getattr(h, name) == expected


@pytest.mark.parametrize("name", TABLE)
def test_each_hyperparameter_accepts_and_refuses_the_documented_texts(name):
    valid, invalid = TABLE[name][1]
    method = {"sigma": "normal", "scale": "uniform", "value": "constant"}.get(name.rsplit("_", 1)[-1])
    for text in valid:
        with_method = {f"{name.split('_')[0]}_init_method": method} if "_init_" in name and method else {}
        h = resolve("sagemaker", **{**REGRESSOR, **from_strings({name: text, **with_method})})
        value = getattr(h, name)
        if text.lower() == "none":
            assert value == {"eps": 1e-8}.get(name)
        else:
            assert str(value).lower() == text.lower() or float(value) == float(text)
    for text in invalid:
        with pytest.raises(UsageError, match=f"^{name} is {text!r}; expected |^{name} is {text}; expected "):
            from_strings({name: text})


def test_the_hidden_defaults_are_those_of_adam_on_a_base_of_one():
    h = resolve("sagemaker", **REGRESSOR)
    assert (h.optimizer, h.lr_schedule, h.feature_scaling) == ("adam", "constant", "none")


@pytest.mark.parametrize("name", [name for name in TABLE if name.endswith(("_lr", "_wd", "_sigma", "_scale"))])
@pytest.mark.parametrize("text", ["1e-8", "512"])
def test_the_ends_of_the_documented_tunable_ranges_are_accepted(name, text):
    assert from_strings({name: text}) == {name: float(text)}


@pytest.mark.parametrize(
    ("given", "rescale_grad"),
    [
        ({}, 0.001),
        ({"mini_batch_size": 250}, 0.004),
        ({"rescale_grad": 0.5}, 0.5),
        ({"rescale_grad": None}, None),
        ({"mini_batch_size": None}, None),
    ],
)
def test_rescale_grad_is_one_over_the_mini_batch_size_where_it_is_not_given(given, rescale_grad):
    assert resolve("sagemaker", **REGRESSOR, **given).rescale_grad == rescale_grad
    assert resolve("native", **REGRESSOR).rescale_grad is None


# ------------------------------------------------------------------------------------------------------ first values
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("method", ["normal", "uniform", "constant"])
def test_init_methods_use_their_numbers(group, method):
    number = {"normal": "sigma", "uniform": "scale", "constant": "value"}[method]
    h = resolve(
        "sagemaker",
        **REGRESSOR,
        feature_dim=20_000,
        num_factors=1,
        **{f"{group}_init_method": method, f"{group}_init_{number}": 0.25},
    )
    values = getattr(initial(h), group)
    if method == "constant":
        assert (values == 0.25).all()
    elif group == "bias":
        assert 0 < abs(values[0]) < 1
    elif method == "uniform":
        assert -0.25 <= values.min() < -0.249
        assert 0.249 < values.max() <= 0.25
    else:
        assert values.std() == pytest.approx(0.25, rel=0.03)
        assert abs(values.mean()) < 0.01


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("method", ["uniform", "constant"])
def test_an_init_method_without_its_number_takes_the_native_default(group, method):
    given = {**REGRESSOR, f"{group}_init_method": method}
    assert resolve("sagemaker", **given).init(group) == resolve("native", **given).init(group)


@pytest.mark.parametrize(
    ("method", "number", "takes"),
    [
        ("uniform", "sigma", "scale"),
        ("constant", "sigma", "value"),
        ("normal", "scale", "sigma"),
        ("constant", "scale", "value"),
        ("normal", "value", "sigma"),
        ("uniform", "value", "scale"),
    ],
)
def test_the_number_of_another_init_method_is_refused(train, method, number, takes):
    _, said = train(
        "--preset",
        "sagemaker",
        file={**REGRESSOR, "linear_init_method": method, f"linear_init_{number}": "0.5"},
        code=2,
    )
    assert said.startswith(
        f"fm: h.json: linear_init_{number} is 0.5, but linear_init_method is {method}, which takes "
        f"linear_init_{takes}; "
    )


def test_groups_that_are_not_used_stay_zero(fm, train):
    train("--preset", "sagemaker", file={**REGRESSOR, "use_bias": "false", "use_linear": "false", "epochs": "2"})
    model = modelfile.load(fm.folder / "x.fm")
    assert not model.bias.any()
    assert not model.linear.any()
    assert model.factors.all()


# --------------------------------------------------------------------------------------------- hyperparameters.json
def test_a_hyperparameters_file_of_a_job_is_read_unchanged(train):
    given = {
        "feature_dim": "20",
        "num_factors": "5",
        "predictor_type": "regressor",
        "epochs": "2",
        "mini_batch_size": "10",
        "bias_lr": "0.2",
        "linear_wd": "0.5",
        "factors_init_method": "uniform",
        "factors_init_scale": "0.125",
        "clip_gradient": "5.0",
        "eps": "1e-6",
        "use_linear": "true",
        "batch_metrics_publish_interval": "100",
    }
    h, said = train("--preset", "sagemaker", file={**given, **INTERNAL})
    assert {name: getattr(h, name) for name in given} == from_strings(given)
    assert (h.linear_lr, h.rescale_grad, h.factors_init_sigma) == (0.001, 0.1, None)
    assert said.splitlines()[0] == f"note: h.json: names that begin with _ are ignored: {', '.join(INTERNAL)}"
    same, said = train("--preset", "sagemaker", "-q", file={**given, **INTERNAL})
    assert (same, said) == (h, "")


def test_the_command_line_overrides_the_file_and_the_file_the_preset(train):
    file = {**REGRESSOR, "epochs": 2, "mini_batch_size": "7", "linear_lr": 0.5}
    h, _ = train("--preset", "sagemaker", "-p", "epochs=3", "--linear-lr", 0.25, file=file)
    assert (h.epochs, h.mini_batch_size, h.linear_lr, h.factors_lr) == (3, 7, 0.25, 0.0001)
    assert h == train("--preset", "sagemaker", "--epochs", 3, "--param", "linear-lr=0.25", file=file)[0]
    assert h == train("--preset=sagemaker", "--epochs", 3, "-p", "epochs=3", "-p", "linear_lr=2.5e-1", file=file)[0]
    assert h != train("-p", "epochs=3", "-p", "linear_lr=0.25", file=file)[0]


def test_an_init_method_on_the_command_line_drops_the_number_in_the_file(train):
    file = {**REGRESSOR, "linear_init_method": "normal", "linear_init_sigma": "0.5"}
    h, _ = train("--preset", "sagemaker", "-p", "linear_init_method=uniform", "-p", "linear_init_scale=0.25", file=file)
    assert h.init("linear") == ("uniform", 0.25)


@pytest.mark.parametrize(
    "where", [("--predictor-type", "regressor"), ("-p", "predictor_type=regressor"), ("-p", "predictor-type=regressor")]
)
def test_the_predictor_type_may_come_from_anywhere(train, where):
    assert train(*where, file={"epochs": "1"})[0].predictor_type == "regressor"
    assert train(file={**REGRESSOR, "epochs": "1"})[0].predictor_type == "regressor"


MISSING = (
    "Error: Missing option '--predictor-type'. Expected binary_classifier or regressor. It can also be given by "
    "-p or --hyperparameters FILE."
)
UNKNOWN = "Additional properties are not allowed ('mini_batch_siz' was unexpected); did you mean 'mini_batch_size'?"


@pytest.mark.parametrize(
    ("options", "file", "code", "message"),
    [
        ((), {"epochs": "1"}, 2, MISSING),
        (("-p", "epochs=1"), None, 2, MISSING),
        ((), {"mini_batch_siz": "10"}, 2, f"fm: h.json: {UNKNOWN}"),
        (("-p", "mini_batch_siz=10"), None, 2, f"Error: Invalid value for '-p' / '--param': {UNKNOWN}"),
        (("-p", "_kvstore=auto"), None, 2, "Error: Invalid value for '-p' / '--param': Additional properties are not "),
        (("-p", "epochs"), None, 2, "Error: Invalid value for '-p' / '--param': found 'epochs'; expected name=value"),
        (
            ("-p", "epochs=0"),
            None,
            2,
            "Error: Invalid value for '-p' / '--param': epochs is 0; expected an integer of at least 1",
        ),
        ((), {"epochs": "0"}, 2, "fm: h.json: epochs is 0; expected an integer of at least 1"),
        (
            (),
            {"predictor_type": "ranking"},
            2,
            "fm: h.json: predictor_type is 'ranking'; expected binary_classifier or regressor",
        ),
        ((), '{"epochs": 3', 3, "fm: h.json: not valid JSON (Expecting ',' delimiter: line 1 column 13 (char 12)); "),
        ((), "[]", 3, "fm: h.json: expected a JSON object of hyperparameters, such as "),
        (("--hyperparameters", "gone.json"), None, 3, "fm: gone.json: cannot be read: No such file or directory"),
        (("-p", "epochs=3", "--epochs", 2), None, 2, "fm: epochs is given twice, as 2 and as 3; leave one of them out"),
        (
            ("-p", "epochs=3", "-p", "epochs=2"),
            None,
            2,
            "fm: epochs is given twice, as 3 and as 2; leave one of them out",
        ),
        (
            ("-p", "use_bias=true", "--no-use-bias"),
            None,
            2,
            "fm: use_bias is given twice, as false and as true; leave one of them out",
        ),
        (
            ("--mini-batch-size", "auto", "-p", "mini_batch_size=5"),
            None,
            2,
            "fm: mini_batch_size is given twice, as auto and as 5; leave one of them out",
        ),
        (("--preset", "amazon"), None, 2, "Error: Invalid value for '--preset': 'amazon' is not one of "),
    ],
)
def test_bad_hyperparameters_are_refused_before_any_work(fm, train, options, file, code, message):
    _, said = train(*options, file=file, code=code)
    assert last_line(said).startswith(message)
    assert "x.fm" not in fm.files()


# ------------------------------------------------------------------------------------------------------------- adam
@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("more", [(), ("clip_gradient=0.02", "rescale_grad=0.5"), ("use_linear=false",)])
def test_a_job_updates_every_weight_by_the_formula(fm, predictor_type, more):
    """From the drawn first values to the model's file and the optimizer's state in it, over two epochs."""
    batch = random_rows(40, 30, classes=predictor_type == "binary_classifier")
    lines = [
        f"{label:.9g} "
        + " ".join(f"{i}:{x:.9g}" for i, x in zip(batch.indices[first:last], batch.values[first:last], strict=True))
        for label, first, last in zip(batch.labels, batch.indptr[:-1], batch.indptr[1:], strict=True)
    ]
    fm.write("train.svm", "\n".join(lines) + "\n")
    pairs = (
        f"predictor_type={predictor_type}",
        "feature_dim=33",
        "num_factors=3",
        "epochs=2",
        "mini_batch_size=7",
        "shuffle=false",
        "linear_lr=0.05",
        "factors_lr=0.02",
        "linear_wd=0.1",
        "factors_init_sigma=0.5",
        *more,
    )
    fm("train", "train.svm", "--preset", "sagemaker", *(word for pair in pairs for word in ("-p", pair)), "-o", "x.fm")
    model = modelfile.load(fm.folder / "x.fm")
    first = initial(model.hyperparameters)
    weights, moments, _ = plain_adam(first, batch, 7, [(m, 1.0) for m in (*range(6), *range(6))])
    assert_equal(model, weights, moments)
    assert model.state["adam.updates"].tolist() == [12]
    np.testing.assert_array_equal(model.factors[30:], first.factors[30:])  # never in a row: not even decayed

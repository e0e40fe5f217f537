"""The presets: what each sets, and how options go before them."""

import pytest

from fmcore.errors import UsageError
from fmcore.hyper.given import from_strings
from fmcore.hyper.groups import GROUPS
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.presets import PRESETS, resolve

REGRESSOR = {"predictor_type": "regressor"}
CLASSIFIER = {"predictor_type": "binary_classifier"}


def test_the_native_preset_has_its_defaults():
    h, classifier = resolve(**REGRESSOR), resolve(**CLASSIFIER)
    assert (h.num_factors, h.epochs, h.mini_batch_size, h.feature_dim, h.seed) == (16, None, None, None, 0)
    assert [h.init(group) for group in GROUPS] == [("mean", None), ("constant", 0.0), ("normal", 0.05)]
    assert (h.linear_wd, h.factors_wd, classifier.linear_wd, classifier.factors_wd) == (3, 3, 3, 1)
    assert (h.penalty, h.feature_scaling, h.lr_schedule, h.pilot) == ("rows", "standard", "cosine", "auto")
    assert [(each.label_scaling, each.label_range) for each in (h, classifier)] == [
        ("standard", "training"),
        ("none", "none"),
    ]
    assert h.linear_init_sigma is None


def test_first_factors_of_the_native_preset_depend_on_their_number_unless_they_are_given():
    assert resolve(**REGRESSOR, num_factors=64).init("factors") == ("normal", 0.025)
    assert resolve(**REGRESSOR, num_factors=64, factors_init_sigma=0.5).init("factors") == ("normal", 0.5)
    assert resolve(**REGRESSOR, factors_init_method="constant").init("factors") == ("constant", 0.02)


def test_the_preset_of_the_first_version_is_the_defaults_of_the_table_but_for_the_decay_of_regressors():
    assert resolve("native-1", **CLASSIFIER) == Hyperparameters(**CLASSIFIER)
    assert resolve("native-1", **REGRESSOR) == Hyperparameters(**REGRESSOR, linear_wd=2e-3, factors_wd=2e-3)
    h = resolve("native-1", **REGRESSOR)
    assert (h.num_factors, h.epochs, h.lr_schedule, h.eps, h.init("factors")) == (
        8,
        10,
        "linear",
        2e-3,
        ("normal", 0.02),
    )
    assert (h.penalty, h.factors_variance, h.feature_scaling, h.pilot) == ("batch", 0, "rms", "none")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("predictor_type", ["binary_classifier", "regressor"])
def test_every_preset_resolves(preset, predictor_type):
    assert resolve(preset, predictor_type=predictor_type).predictor_type == predictor_type


def test_given_comes_before_preset_before_default(monkeypatch):
    monkeypatch.setitem(
        PRESETS,
        "other",
        lambda o: {"epochs": 4} if o.binary else {"epochs": 3, "linear_lr": 0.5, "factors_init_sigma": 0.25},
    )
    h = resolve("other", predictor_type="regressor", linear_lr=0.75)
    assert (h.epochs, h.linear_lr, h.bias_lr, h.factors_init_sigma) == (3, 0.75, 0.05, 0.25)
    assert resolve("other", **CLASSIFIER).epochs == 4


def test_a_given_init_method_drops_the_presets_number_of_another_method(monkeypatch):
    preset = {"factors_init_method": "normal", "factors_init_sigma": 0.25}
    monkeypatch.setitem(PRESETS, "other", lambda _objective: preset)
    assert resolve("other", **REGRESSOR, factors_init_method="uniform").init("factors") == ("uniform", 0.02)
    assert resolve("other", **REGRESSOR, factors_init_method="normal").init("factors") == ("normal", 0.25)


@pytest.mark.parametrize(
    ("preset", "optimizer", "eps"),
    [
        ("native", "adagrad", 1e-8),
        ("native-1", "adagrad", 2e-3),
        ("native-1", "adam", 1e-8),
        ("sagemaker", "adam", 1e-8),
    ],
)
def test_eps_none_is_the_optimizers_default(preset, optimizer, eps):
    given = {**REGRESSOR, "optimizer": optimizer}
    assert resolve(preset, **given, **from_strings({"eps": "none"})).eps == resolve(preset, **given).eps == eps


def test_an_unknown_preset_is_refused():
    with pytest.raises(UsageError, match=r"^preset is 'magic'; expected native"):
        resolve("magic", **REGRESSOR)

"""Warm start: n epochs, then m more, are n + m; tables grow; what does not match the model is refused."""

from pathlib import Path

import numpy as np
import pytest
from rows import random_rows, small_model
from shell import libsvm_rows

from fmcore import api
from fmcore.errors import ModelError, PausedError, UsageError
from fmcore.families import family_of
from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile
from fmcore.model.model import initial
from fmcore.model.scaling import rescaled, unscaled
from fmcore.optimizers import OPTIMIZERS
from fmcore.optimizers.state import state_table
from fmcore.rows import blocks
from fmcore.rows.scaling import Scaling
from fmcore.training.warmstart import grown

SETTINGS = {
    "adagrad": {},
    "rowwise_adagrad": {"optimizer": "rowwise_adagrad"},
    "adam": {"optimizer": "adam", "linear_lr": 0.01, "factors_lr": 0.01},
    "sgd": {"optimizer": "sgd", "linear_lr": 1e-3, "factors_lr": 1e-3},
    "no linear": {"use_linear": False},
    "unscaled": {"feature_scaling": "none", "linear_lr": 1e-4, "factors_lr": 1e-5},
}


def wild_rows(rows, seed):
    """Return rows of libsvm text whose features are of very different size."""
    lines = []
    for line in libsvm_rows(rows, seed, classes=False).splitlines():
        label, *features = line.split()
        pairs = [feature.split(":") for feature in features]
        lines.append(" ".join([label, *(f"{index}:{float(value) * 1.9 ** int(index):.3f}" for index, value in pairs)]))
    return "\n".join(lines) + "\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Provide a function that trains in a folder of files of rows, and returns the verified model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 100)
    (tmp_path / "train.svm").write_text(wild_rows(350, 1))

    def train(name, settings, start=None, *, rows="train.svm", limit=1 << 30, **options):
        given = {"lr_schedule": "constant", "mini_batch_size": 9, **settings}
        if start is None:
            h, initial_model = resolve("native-1", **{"predictor_type": "regressor", **given}), None
        else:
            initial_model = api.load(start)
            h, _ = api.continued(initial_model, settings, {})
        api.train(api.Data([rows]), h, name, initial_model=initial_model, resources=api.Resources(2, limit), **options)
        return api.load(name, verify=True)

    return train


def same(one, other):
    """Return whether two models have equal parameters and states, to the bit."""
    pair = one.tensors(), other.tensors()
    return pair[0].keys() == pair[1].keys() and all(np.array_equal(pair[0][n], pair[1][n]) for n in pair[0])


@pytest.mark.parametrize("limit", [1, 1 << 30], ids=["streamed", "in memory"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_n_epochs_and_a_warm_start_of_m_give_the_model_of_n_plus_m(run, settings, limit):
    whole = run("whole.fm", {**settings, "epochs": 6}, limit=limit)
    assert ("feature_scale" in whole.state) is (settings is not SETTINGS["unscaled"])
    run("parts.fm", {**settings, "epochs": 2}, limit=limit)
    run("parts.fm", {"epochs": 1}, "parts.fm", limit=limit)
    parts = run("parts.fm", {"epochs": 3}, "parts.fm", limit=limit)
    assert same(whole, parts)
    assert parts.info["trained_epochs"] == whole.info["trained_epochs"] == 6
    trained = [[record["train"] for record in model.info["epochs"]] for model in (whole, parts)]
    assert trained[0][3:] == trained[1]


def test_resume_of_a_warm_start_gives_the_same_bytes(run):
    class After:
        left = 7

        def __call__(self):
            self.left -= 1
            return self.left < 0

    run("start.fm", {"epochs": 2})
    whole = run("whole.fm", {"epochs": 3}, "start.fm")
    saving = api.Saving("c", resumable=True)
    with pytest.raises(PausedError):
        run("parts.fm", {"epochs": 3}, "start.fm", checkpoint=saving, stop=After())
    assert same(whole, run("parts.fm", {"epochs": 3}, "start.fm", checkpoint=saving))
    assert Path("parts.fm").read_bytes() == Path("whole.fm").read_bytes()
    Path("c").unlink()
    with pytest.raises(PausedError):
        run("parts.fm", {"epochs": 3}, "start.fm", checkpoint=saving, stop=After())
    run("start.fm", {"epochs": 3})
    with pytest.raises(UsageError, match=r"initial model was [0-9a-f]{16} and is [0-9a-f]{16};"):
        run("parts.fm", {"epochs": 3}, "start.fm", checkpoint=saving)


def test_warm_start_with_new_features_initializes_them_as_a_new_model_does(run):
    Path("more.svm").write_text("1 0:1 29:1\n2 3:1 25:3\n")
    old = run("a.fm", {"epochs": 2})
    new = run("b.fm", {"epochs": 1, "linear_lr": 0.0, "factors_lr": 0.0, "bias_lr": 0.0}, "a.fm", rows="more.svm")
    fresh = initial(resolve("native-1", predictor_type="regressor", feature_dim=30))
    assert (old.feature_dim, new.feature_dim) == (20, 30)
    np.testing.assert_array_equal(new.factors[:20], old.factors)
    np.testing.assert_array_equal(new.linear[:20], old.linear)
    scale = new.state["feature_scale"]
    assert (scale[25], scale[29], scale[:20].tolist()) == (4, 1, old.state["feature_scale"].tolist())
    np.testing.assert_array_equal(new.factors[20:], fresh.factors[20:] / scale[20:, None])
    assert new.bias == old.bias
    again = run("c.fm", {"epochs": 1, "feature_dim": 40}, "a.fm")
    assert again.feature_dim == again.hyperparameters.feature_dim == 40


def table_of(model):
    h = model.hyperparameters
    return state_table(h, family_of(h), model.feature_dim)


def test_state_of_new_features_is_zero_in_grown_tables():
    for optimizer in OPTIMIZERS:
        model = small_model(feature_dim=5, optimizer=optimizer)
        model.state = {name: np.full(spec.shape, 3, spec.dtype) for name, spec in table_of(model).items()}
        larger = grown(model, small_model(feature_dim=9, optimizer=optimizer).hyperparameters)
        for name, spec in table_of(larger).items():
            assert larger.state[name].shape == spec.shape
            assert larger.state[name].reshape(len(larger.state[name]), -1)[:, 0].tolist() == (
                [3] * 5 + [0] * 4 if spec.per_feature else [3]
            )
        assert larger.state.keys() == model.state.keys()
    model = small_model(feature_dim=5, optimizer="adam")
    model.state["first_moment.linear"] = np.zeros(5)
    with pytest.raises(ModelError, match=r"its first_moment.linear is float64 \(5,\)"):
        grown(model, small_model(feature_dim=9, optimizer="adam").hyperparameters)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_state_is_converted_to_another_feature_scale(optimizer):
    """A step changes a weight of raw values by the learning rate, whatever the scale is: gradients are g / s."""
    rng = np.random.default_rng(0)
    before, after = (np.exp2(rng.integers(0, 9, 6)).astype(np.float32) for _ in range(2))
    model = small_model(feature_dim=6, optimizer=optimizer)
    gradients = rng.normal(size=6).astype(np.float32)
    raw, slots = model.linear.copy(), OPTIMIZERS[optimizer].slots
    for slot in slots:
        model.state[f"{slot.name}.linear"] = (gradients / before) ** slot.degree
    model.state["feature_scale"] = before
    rescaled(model, Scaling(after), 6)
    np.testing.assert_array_equal(model.linear, raw * after)
    for slot in slots:
        kept = model.state[f"{slot.name}.linear"]
        np.testing.assert_allclose(kept, (gradients / after) ** slot.degree, rtol=1e-6)
    assert unscaled(model, Scaling(after)).linear.tolist() == raw.tolist()


def test_warm_start_never_lowers_a_feature_scale_and_may_drop_it(run):
    scale = run("a.fm", {"epochs": 1}).state["feature_scale"]
    Path("small.svm").write_text("1 0:0.5 19:1\n2 3:1000\n")
    later = run("b.fm", {"epochs": 1}, "a.fm", rows="small.svm").state["feature_scale"]
    assert later[3] == 1024 > scale[3]
    assert np.delete(later, 3).tolist() == np.delete(scale, 3).tolist()
    assert (
        "feature_scale"
        not in run(
            "c.fm", {"epochs": 1, "feature_scaling": "none", "linear_lr": 1e-6, "factors_lr": 1e-7}, "a.fm"
        ).state
    )


# -------------------------------------------------------------------------------------------- what is kept and refused
def test_warm_start_keeps_the_models_hyperparameters_except_those_given(run):
    run("a.fm", {"epochs": 2, "linear_lr": 0.25, "factors_init_method": "uniform", "seed": 3})
    h, _ = api.continued(api.load("a.fm"), {"epochs": 1, "factors_init_method": "constant", "linear_wd": 0.5}, {})
    assert (h.epochs, h.linear_lr, h.linear_wd, h.seed) == (1, 0.25, 0.5, 3)
    assert (h.predictor_type, h.lr_schedule, h.feature_dim) == ("regressor", "constant", None)
    assert (h.factors_init_method, h.factors_init_scale, h.factors_init_value) == ("constant", None, 0.02)


def test_warm_start_keeps_the_learning_rates_that_divergence_halved(run):
    model = run("a.fm", {"epochs": 2, "optimizer": "sgd", "linear_lr": 99.0, "on_divergence": "halve-lr"})
    halvings = len(model.info["halved"])
    assert halvings
    assert api.continued(model, {}, {})[0].linear_lr == 99 * 0.5**halvings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"num_factors": 4}, "num_factors is 4, but 8 in the model"),
        (
            {"optimizer": "adam", "predictor_type": "binary_classifier"},
            "predictor_type is binary_classifier, but regressor in the model, optimizer is adam, but adagrad in the model",
        ),
        ({"use_linear": False}, "use_linear is False, but True in the model"),
        ({"feature_dim": 19}, "cannot warm-start: feature_dim is 19, but the model has 20 features"),
    ],
)
def test_warm_start_refuses_hyperparameters_that_do_not_match_the_model(run, given, said):
    model = run("a.fm", {"epochs": 1})
    assert api.continued(model, {"num_factors": 8, "optimizer": "adagrad", "use_linear": True, "feature_dim": 20}, {})
    with pytest.raises(UsageError, match=said):
        api.continued(model, given, {})


def test_warm_start_from_a_model_without_state_begins_with_empty_state(run):
    model = run("a.fm", {"epochs": 1})
    model.state.clear()
    modelfile.save(model, "b.fm")
    assert run("c.fm", {"epochs": 1}, "b.fm").state["sum_of_squares.linear"].max() > 0


def test_best_epoch_of_a_warm_start_is_one_of_its_own(run):
    (Path.cwd() / "test.svm").write_text(wild_rows(80, 2))
    first = run("a.fm", {"epochs": 4, "early_stopping_patience": 2}, test=api.Data(["test.svm"]))
    second = run("b.fm", {"linear_lr": 0.01}, "a.fm", test=api.Data(["test.svm"]))
    assert 1 <= second.info["best_epoch"] <= len(second.info["epochs"])
    assert second.info["trained_epochs"] == first.info["best_epoch"] + second.info["best_epoch"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_factors", 3), ("predictor_type", "binary_classifier"), ("optimizer", "adam"), ("feature_dim", 5)],
)
def test_fit_refuses_hyperparameters_of_another_model(name, value):
    batch = random_rows(20, classes=True)
    model = api.fit(batch, resolve(predictor_type="regressor", epochs=1))
    with pytest.raises(UsageError, match=f"cannot warm-start: {name} is {value}"):
        api.fit(batch, resolve(**{"predictor_type": "regressor", "epochs": 1, name: value}), initial_model=model)

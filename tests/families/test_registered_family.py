"""A family that a program adds to the registry is trained, tuned, saved, loaded and used like the one there is."""

import json
import sys
from pathlib import Path

import gated
import numpy as np
import pytest
from rows import random_rows
from scalings import rows_of
from shell import Shell, libsvm_rows
from test_families import finite_differences

from fmcore import api
from fmcore.errors import UsageError
from fmcore.families import FAMILIES
from fmcore.families.contract import numbers_per_feature
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for, backend_of, reference
from fmcore.model.model import initial
from fmcore.model.scaling import rescaled, unscaled
from fmcore.rows import blocks
from fmcore.rows.scaling import Scaling
from fmcore.solvers.estimate import parameter_bytes

HELPERS = str(Path(gated.__file__).parent)
PROGRAM = f"""import sys
sys.path.insert(0, {HELPERS!r})
import gated

gated.register()
if __name__ == "__main__":
    from fmcli.main import run
    run()
"""
START = {"linear_init_value": 1.0, "factors_init_sigma": 0.5}
SETTINGS = {"family": "gated", "num_factors": 2, "mini_batch_size": 9, "lr_schedule": "constant", **START}
OPTIONS = ("--family", "gated", "--num-factors", 2, "--linear-init-value", 1, "--factors-init-sigma", 0.5)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Provide a function that trains a model of the registered family in an empty folder: the verified model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 100)
    monkeypatch.setitem(FAMILIES, "gated", gated.Gated())
    Path("train.svm").write_text(libsvm_rows(230, 1, classes=False))
    Path("test.svm").write_text(libsvm_rows(70, 2, classes=False))
    Path("more.svm").write_text("1 0:1 29:1\n2 3:1 25:3\n")

    def train(name, start=None, *, rows="train.svm", test=None, **given):
        options = {key: given.pop(key) for key in ("stop", "checkpoint") if key in given}
        if start is None:
            h, initial_model = resolve("native-1", **{"predictor_type": "regressor", **SETTINGS, **given}), None
        else:
            initial_model = api.load(start)
            h, _ = api.continued(initial_model, given, {})
        test = test and api.Data([test])
        api.train(api.Data([rows]), h, name, test=test, initial_model=initial_model, **options)
        return api.load(name, verify=True)

    return train


def stop_after(asked):
    """Return a function that asks to stop once it has been called so often."""
    left = iter(range(asked))
    return lambda: next(left, None) is None


def same(one, other):
    pair = one.tensors(), other.tensors()
    return pair[0].keys() == pair[1].keys() and all(np.array_equal(pair[0][n], pair[1][n]) for n in pair[0])


def test_the_gradient_of_a_registered_family_is_that_of_its_score():
    family, rng = gated.Gated(), np.random.default_rng(0)
    h = resolve(predictor_type="regressor", num_factors=2)
    X = reference.matrix(random_rows(10, 6), 6)
    weights = {name: rng.normal(size=shape) for name, shape in gated.shapes(family, h, 6).items()}
    outer = rng.normal(size=X.shape[0])
    found = family.gradient(X, weights, outer)
    for name, expected in finite_differences(family, X, weights, outer).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert numbers_per_feature(family, h) == 1 + 2 * 2


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "rowwise_adagrad", "sgd"])
def test_a_registered_family_trains_saves_loads_evaluates_and_predicts(run, optimizer):
    rates = {"linear_lr": 0.01, "factors_lr": 0.01} if optimizer == "sgd" else {}
    model = run("a.fm", epochs=8, test="test.svm", optimizer=optimizer, **rates)
    assert [*model.weights] == ["bias", "mix", "gate", "pairs"]
    assert (model.feature_dim, model.weights["pairs"].shape, model.weights["mix"].shape) == (20, (20, 2, 2), (2, 2))
    losses = [record["train"]["rmse"] for record in model.info["epochs"]]
    assert losses[-1] < 0.95 * losses[0]
    metrics = api.evaluate(model, api.Data(["test.svm"]))
    assert metrics["rmse"] == pytest.approx(model.info["epochs"][-1]["test"]["rmse"], rel=1e-4)
    api.predict(model, api.Data(["test.svm"]), "scores.txt")
    labels = [float(line.split()[0]) for line in Path("test.svm").read_text().splitlines()]
    rmse = np.sqrt(np.mean((np.loadtxt("scores.txt") - labels) ** 2))
    assert metrics["rmse"] == pytest.approx(rmse, rel=1e-5)
    shapes_kept = {name: array.shape for name, array in model.state.items() if name.endswith((".pairs", ".mix"))}
    slots = [spec.shape for name, spec in model.state_table().items() if name.endswith((".pairs", ".mix"))]
    assert sorted(shapes_kept.values()) == sorted(slots)


def test_the_recipe_trains_a_family_that_cannot_shift_without_centring(monkeypatch):
    monkeypatch.setitem(FAMILIES, "gated", gated.Gated())
    cells, random = np.random.default_rng(1).normal(size=(200, 4)), np.random.default_rng(2)
    cells[0, 3], cells[:, 1] = 1e4, 5000 + 40 * cells[:, 1]  # a value far from others, and a column
    batch = rows_of(cells, 1 + cells[:, 0] * cells[:, 2] + random.normal(size=200) / 9)
    model = api.fit(batch, resolve(predictor_type="regressor", family="gated", num_factors=2, epochs=5, **START))
    assert not model.state.keys() & {"feature_mean", "label_scale"}
    assert model.state["feature_scale"].tolist() == [1, 4096, 1, 512]
    assert model.state["variance.factors"].min() > 0
    losses = [record["train"]["rmse"] for record in model.info["epochs"]]
    assert losses[-1] < losses[0]
    assert "pilot" not in model.info


def test_the_largest_tensor_begins_on_a_cache_line_and_the_header_names_the_family(run):
    model = run("a.fm", epochs=1)
    assert model.weights["pairs"].ctypes.data % 64 == 0
    assert model.hyperparameters.family == "gated"
    assert b'\\"family\\":\\"gated\\"' in Path("a.fm").read_bytes()


def test_a_warm_start_gives_the_same_bits_as_without_a_break(run):
    whole = run("whole.fm", epochs=4)
    run("half.fm", epochs=2)
    assert same(run("rest.fm", "half.fm", epochs=2), whole)
    with pytest.raises(UsageError, match="family is fm"):
        run("other.fm", "half.fm", family="fm")


def test_a_warm_start_grows_what_has_a_row_per_feature(run):
    still = {"linear_lr": 0.0, "factors_lr": 0.0, "bias_lr": 0.0}
    old, new = run("a.fm", epochs=1), run("b.fm", "a.fm", rows="more.svm", epochs=1, **still)
    assert (old.feature_dim, new.feature_dim) == (20, 30)
    for name in ("pairs", "gate"):
        np.testing.assert_array_equal(new.weights[name][:20], old.weights[name])
    np.testing.assert_array_equal(new.weights["mix"], old.weights["mix"])
    fresh = initial(resolve("native-1", predictor_type="regressor", feature_dim=30, **SETTINGS))
    assert (new.weights["gate"][20:] == fresh.weights["gate"][20:]).all()
    assert new.weights["pairs"][29].tolist() == fresh.weights["pairs"][29].tolist()  # of scale 1


def test_scaled_tensors_follow_the_scale_of_their_feature(run):
    model = initial(resolve("native-1", predictor_type="regressor", feature_dim=20, **SETTINGS))
    before = {name: array.copy() for name, array in model.weights.items()}
    model.state = {name: np.ones(spec.shape, spec.dtype) for name, spec in model.state_table().items()}
    scale = np.exp2(np.arange(20) % 5).astype(np.float32)
    rescaled(model, Scaling(scale), 20)
    np.testing.assert_array_equal(model.weights["pairs"], before["pairs"] * scale[:, None, None])
    np.testing.assert_array_equal(model.weights["gate"], before["gate"])
    np.testing.assert_array_equal(model.state["sum_of_squares.pairs"][:, 1, 1], scale**-2.0)
    assert (model.state["sum_of_squares.gate"] == 1).all()
    assert all(np.array_equal(array, before[name]) for name, array in unscaled(model, Scaling(scale)).weights.items())


@pytest.mark.parametrize("asked", [5, 9])
def test_a_resumed_training_gives_the_same_bytes(run, asked):
    run("whole.fm", epochs=4)
    run("part.fm", epochs=4, checkpoint=api.Saving("c.fm", minutes=0), stop=stop_after(asked))
    run("again.fm", epochs=4, checkpoint=api.Saving("c.fm", resume=True))
    assert Path("again.fm").read_bytes() == Path("whole.fm").read_bytes() != Path("part.fm").read_bytes()


def test_the_reference_trains_and_scores_a_registered_family_and_memory_is_estimated(run):
    h = run("a.fm", epochs=1).hyperparameters
    for training in (True, False):
        chosen = backend_of(h, training=training)
        assert chosen.name == "reference"
        assert chosen.note.startswith("family gated has no case in the kernels: ")
    plain, state = 5, 5
    assert parameter_bytes(h, 1000) == 4 * 1000 * (plain + plain + state) + 8 * 1000 * (plain + plain + state)


def test_a_device_of_pytorch_refuses_another_family(run):
    pytest.importorskip("torch")
    model = run("a.fm", epochs=1)
    with pytest.raises(
        UsageError, match=r"^devices of PyTorch are for models of family fm alone; this one is of gated$"
    ):
        backend_for("torch:cpu").trainer(model)


def test_a_registered_family_is_exported_and_inspected(run):
    model = run("a.fm", epochs=1)
    api.export(model, "a.json", to="json")
    found = json.loads(Path("a.json").read_text())
    for name, array in model.weights.items():
        expected = array[0] if name == "bias" else array.reshape(len(array), -1) if array.ndim > 1 else array
        assert np.array_equal(np.array(found[name], np.float32), expected)
    with pytest.raises(UsageError, match=r"^weights as CSV are for models of family fm alone; this one is of gated$"):
        api.export(model, "a.csv", to="csv")
    summary = api.inspect(model)
    assert summary["norms"].keys() == {"bias", "mix", "gate", "pairs"}
    assert summary["norms"]["mix"] == pytest.approx(np.linalg.norm(model.weights["mix"]))
    assert summary["non_zero"] == {"gate": 20, "pairs": 20, "either": 20}
    assert "largest_pairs" not in summary
    with pytest.raises(UsageError, match=r"^vectors are for models of family fm alone"):
        api.export(model, "v.csv", selection=api.Selection("items", (0, 3)))


@pytest.fixture
def fm(tmp_path):
    """Return the command line of a program that has registered the family, beside rows."""
    shell = Shell(tmp_path)
    shell.write("train.svm", libsvm_rows(200, 1))
    shell.write("test.svm", libsvm_rows(60, 2))
    shell.command = [sys.executable, str(shell.write("program.py", PROGRAM))]
    return shell


def test_the_command_line_trains_and_uses_a_registered_family(fm, tmp_path):
    train = ("train", "train.svm", "--test", "test.svm", "--predictor-type", "binary_classifier", *OPTIONS)
    printed = fm(*train, "-o", "a.fm", "--epochs", 2).err
    assert "family gated has no case in the kernels" in printed
    assert "logloss" in fm("eval", "a.fm", "test.svm").out
    assert len(fm("predict", "a.fm", "test.svm").out.splitlines()) == 60
    shown = fm("inspect", "a.fm").out
    assert "tensor pairs: float32 [20, 2, 2], 320 bytes" in shown
    assert "largest factor pairs" not in shown
    assert "--family fm|gated" in fm("train", "--help").out
    team = ("--distributed", "local", "--workers", 2)
    assert "family gated has no case in the kernels, which several" in fm(*train, "-o", "b.fm", *team, code=2).err
    plain = Shell(tmp_path)
    assert "family is 'gated'; expected fm" in plain("eval", "a.fm", "test.svm", code=4).err
    assert "--family" not in plain("train", "--help").out


def test_the_command_line_tunes_a_registered_family(fm):
    data = ("train.svm", "--test", "test.svm", "--predictor-type", "binary_classifier")
    found = fm("tune", *data, *OPTIONS[:4], "-o", "best.fm", "--trials", 2, "--range", "factors_lr=0.01:0.1:log")
    command = next(line for line in found.out.splitlines() if line.startswith("fm train"))
    assert "--family gated" in command
    best = fm.read("best.fm")
    fm(*command.split()[1:])
    assert fm.read("best.fm") == best

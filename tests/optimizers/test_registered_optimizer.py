"""An optimizer that a program adds to the registry trains, warm-starts and resumes like those there are."""

import sys
from pathlib import Path

import momentum
import numpy as np
import pytest
from rows import small_model
from shell import Shell, libsvm_rows

from fmcore import api
from fmcore.errors import UsageError
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for, backend_of, has_kernels
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows import blocks
from fmcore.training.loop import Observer

HELPERS = str(Path(momentum.__file__).parent)
PROGRAM = f"""import sys
sys.path.insert(0, {HELPERS!r})
import momentum

momentum.register()
if __name__ == "__main__":
    from fmcli.main import run
    run()
"""
SETTINGS = {
    "optimizer": "momentum",
    "mini_batch_size": 9,
    "lr_schedule": "constant",
    "num_factors": 2,
    "linear_lr": 0.01,
}


class Stop(Observer):
    """A control that asks to stop once so many epochs have ended."""

    def __init__(self, epochs):
        self._left = epochs

    def epoch(self, record):
        self._left -= 1

    def __call__(self):
        return self._left <= 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Provide a function that trains with registered momentum in an empty folder: the verified model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 100)
    monkeypatch.setitem(OPTIMIZERS, "momentum", momentum.Momentum())
    Path("train.svm").write_text(libsvm_rows(230, 1, classes=False))

    def train(name, start=None, **given):
        options = {key: given.pop(key) for key in ("stop", "checkpoint", "observer", "rows") if key in given}
        if start is None:
            h, initial_model = resolve("native-1", **{"predictor_type": "regressor", **SETTINGS, **given}), None
        else:
            initial_model = api.load(start)
            h, _ = api.continued(initial_model, given, {})
        data = api.Data([options.pop("rows", "train.svm")])
        api.train(data, h, name, initial_model=initial_model, **options)
        return api.load(name, verify=True)

    return train


def test_a_bias_alone_is_trained_as_by_hand(run):
    Path("few.svm").write_text("4 0:1\n2 1:1\n")
    none = {"use_linear": False, "factors_init_method": "constant", "factors_init_value": 0.0}
    start = {"bias_init_method": "constant", "bias_init_value": 1.0, "bias_lr": 0.25}
    model = run("a.fm", rows="few.svm", epochs=3, **none, **start)
    bias, velocity = 1.0, 0.0
    for _ in range(3):
        velocity = 0.5 * velocity + (bias - 3)
        bias -= 0.25 * velocity
    np.testing.assert_allclose(model.bias, [bias], rtol=1e-6)
    np.testing.assert_allclose(model.state["velocity.bias"], [velocity], rtol=1e-6)
    assert model.state["momentum.updates"].tolist() == [3]
    assert not model.factors.any()


def test_training_lowers_the_loss_and_keeps_the_state(run):
    model = run("a.fm", epochs=6)
    losses = [record["train"]["rmse"] for record in model.info["epochs"]]
    assert losses[-1] < losses[0]
    slots = {name for name in model.state if name.startswith("velocity")}
    assert slots == {"velocity.bias", "velocity.linear", "velocity.factors"}
    assert model.state["velocity.factors"].shape == model.factors.shape


def test_a_warm_start_with_its_state_gives_the_same_bytes_as_without_a_break(run):
    whole = run("whole.fm", epochs=4)
    run("half.fm", epochs=2)
    rest = run("rest.fm", "half.fm", epochs=2)
    for name, array in whole.tensors().items():
        np.testing.assert_array_equal(rest.tensors()[name], array, err_msg=name)
    with pytest.raises(UsageError, match="optimizer is sgd"):
        run("other.fm", "half.fm", optimizer="sgd")


def test_a_resumed_training_gives_the_same_bytes(run):
    run("whole.fm", epochs=4)
    stop = Stop(2)
    saving = api.Saving("c.fm", resumable=False)
    run("part.fm", epochs=4, checkpoint=saving, stop=stop, observer=stop)
    run("again.fm", epochs=4, checkpoint=api.Saving("c.fm", resume=True))
    assert Path("again.fm").read_bytes() == Path("whole.fm").read_bytes() != Path("part.fm").read_bytes()


def test_the_reference_trains_with_a_registered_optimizer_and_the_kernels_score(run):
    h = run("a.fm", epochs=1).hyperparameters
    assert (has_kernels(h), has_kernels(h, training=False)) == (False, True)
    chosen = backend_of(h)
    assert chosen.name == "reference"
    assert chosen.note.startswith("optimizer momentum has no case in the kernels: ")
    assert backend_of(h, training=False).name.startswith("cpu")


def test_the_command_line_trains_with_a_registered_optimizer(tmp_path):
    shell = Shell(tmp_path)
    shell.write("train.svm", libsvm_rows(60, 1))
    shell.command = [sys.executable, str(shell.write("program.py", PROGRAM))]
    train = ("train", "train.svm", "--predictor-type", "binary_classifier", "--optimizer", "momentum", "--epochs", 2)
    assert "optimizer momentum has no case in the kernels" in shell(*train, "-o", "a.fm").err
    assert "momentum" in shell("train", "--help").out
    assert "logloss" in shell("eval", "a.fm", "train.svm").out
    team = ("--distributed", "local", "--workers", 2)
    refused = shell(*train, "-o", "b.fm", *team, code=2).err
    assert "optimizer momentum has no case in the kernels, which several workers train with" in refused
    assert (
        "optimizer is 'momentum'; expected adagrad or adam" in Shell(tmp_path)("eval", "a.fm", "train.svm", code=4).err
    )


def test_a_device_of_pytorch_refuses_an_optimizer_without_a_formula(run):
    pytest.importorskip("torch")
    with pytest.raises(
        UsageError, match=r"^optimizer momentum has no formula for devices of PyTorch; use --device cpu$"
    ):
        backend_for("torch:cpu").trainer(small_model(optimizer="momentum"))

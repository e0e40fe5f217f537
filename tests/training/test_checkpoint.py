"""Checkpoints: training that is killed or stopped and resumed gives the model of one without a break, to the byte."""

import os
import random
import subprocess
import sys
import time

import pytest
from shell import LIMIT, environment, libsvm_rows

from fmcore import api
from fmcore.errors import ModelError, StoppedError, UsageError
from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile
from fmcore.rows import blocks
from fmcore.solvers.observer import Observer
from fmcore.training import checkpoint, checkpoint_file

FIRST = {"preset": "native-1"}
SETTINGS = {
    "recipe": {"num_factors": 4},
    "adagrad": {**FIRST, "optimizer": "adagrad"},
    "adam": {**FIRST, "optimizer": "adam"},
    "rowwise_adagrad": {**FIRST, "optimizer": "rowwise_adagrad"},
    "sgd": {**FIRST, "optimizer": "sgd", "lr_schedule": "constant"},
    "best epoch": {**FIRST, "early_stopping_patience": 4, "linear_lr": 0.4, "factors_lr": 0.4},
    "best epoch of the recipe": {"early_stopping_patience": 4, "linear_lr": 0.4, "factors_lr": 0.4},
}
EPOCHS, BLOCK, ROWS = 8, 100, 350

# The script of a process of the tests, without its settings, paths and memory limit.
SCRIPT = """
from pathlib import Path
from fmcore import api
from fmcore.rows import blocks
from fmcore.hyper.presets import resolve
from fmcore.solvers.observer import Observer

class Log(Observer):
    def resumed(self, records, rows):
        with Path("resumed").open("a") as log:
            print(len(records), file=log)

blocks.BLOCK_ROWS = 100
given = dict(epochs=40, num_factors=256, mini_batch_size=4, **{settings})
h = resolve(given.pop("preset", "native"), predictor_type="binary_classifier", **given)
api.train(api.Data(["train.svm"]), h, "{model}", test={test}, observer=Log(), checkpoint={checkpoint},
          resources=api.Resources(memory_limit={limit}))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Provide a function that trains on small blocks in a folder of files of rows, and returns the model's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", BLOCK)
    (tmp_path / "train.svm").write_text(libsvm_rows(ROWS, 1))
    (tmp_path / "test.svm").write_text(libsvm_rows(80, 2))

    def train(name, settings=SETTINGS["adagrad"], *, tested=True, rows="train.svm", limit=1 << 30, **options):
        given = {"epochs": EPOCHS, "mini_batch_size": 9, **settings}
        h = resolve(given.pop("preset", "native"), predictor_type="binary_classifier", **given)
        test = api.Data(["test.svm"]) if tested else None
        resources = api.Resources(options.pop("threads", 1), limit)
        api.train(api.Data([rows]), h, name, test=test, resources=resources, **options)
        return tmp_path / name

    return train


class Stop:
    """A stop that is true from its n-th call on."""

    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left <= 0


class Counter(Observer):
    """An observer that counts rows, and notes a resume."""

    def __init__(self):
        self.trained, self.epochs, self.resumed_after = 0, [], None

    def rows(self, count):
        self.trained += count

    def epoch(self, record):
        self.epochs.append(record["epoch"])

    def resumed(self, records, rows):
        self.resumed_after = len(records)


# ---------------------------------------------------------------------------------------------------------- resuming
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("limit", [1, 1 << 30], ids=["streamed", "in memory"])
def test_resume_after_any_number_of_stops_at_any_moment_gives_the_same_bytes(run, tmp_path, settings, limit):
    whole = run("whole.fm", settings, limit=limit)
    first = Counter()
    assert run("saved.fm", settings, limit=limit, checkpoint="c", observer=first).read_bytes() == whole.read_bytes()
    assert first.resumed_after is None
    (tmp_path / "c").unlink()
    rng = random.Random(3)
    for _ in range(50):
        log = Counter()
        try:
            model = run("parts.fm", settings, limit=limit, checkpoint="c", stop=Stop(rng.randint(1, 16)), observer=log)
        except StoppedError:
            assert not (tmp_path / "c").exists()
            continue
        if "stopped" not in modelfile.load(model).info:
            break
    assert model.read_bytes() == whole.read_bytes()
    assert log.resumed_after is not None
    assert log.epochs == list(range(log.resumed_after + 1, len(first.epochs) + 1))


@pytest.mark.parametrize(("settings", "limit"), [("adagrad", 1 << 30), ("sgd", 1), ("best epoch", 1 << 30)])
def test_resume_after_kills_at_random_moments_gives_the_same_bytes(tmp_path, settings, limit):
    (tmp_path / "train.svm").write_text(libsvm_rows(800, 1, features=200))
    (tmp_path / "test.svm").write_text(libsvm_rows(80, 2, features=200))
    names = {
        "settings": SETTINGS[settings],
        "limit": limit,
        "test": 'api.Data(["test.svm"])' if settings == "best epoch" else None,
    }

    def start(model, path):
        script = SCRIPT.format(model=model, checkpoint=path, **names)
        return subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment())

    assert start("whole.fm", None).wait(LIMIT) == 0
    rng, saved, killed = random.Random(), tmp_path / "c", 0
    while True:
        before = saved.stat().st_mtime_ns if saved.exists() else None
        process = start("parts.fm", repr("c"))
        while process.poll() is None and (not saved.exists() or saved.stat().st_mtime_ns == before):
            time.sleep(0.001)
        if killed < 3:
            time.sleep(rng.random() * 0.05)
            process.kill()
        if process.wait(LIMIT) == 0:
            break
        killed += 1
    assert (tmp_path / "parts.fm").read_bytes() == (tmp_path / "whole.fm").read_bytes()
    if killed:
        assert len((tmp_path / "resumed").read_text().split()) == killed
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".c.")] == []


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_resume_from_a_finished_checkpoint_returns_the_model_without_training(run, settings):
    whole, log = run("whole.fm", settings, checkpoint="c"), Counter()
    assert run("again.fm", settings, checkpoint="c", observer=log).read_bytes() == whole.read_bytes()
    assert log.trained == 0
    assert log.resumed_after == len(modelfile.load(whole).info["epochs"])


def test_resume_with_other_threads_and_memory_gives_the_same_model(run):
    whole = run("whole.fm").read_bytes()
    run("part.fm", checkpoint="c", stop=Stop(9))
    run("part.fm", checkpoint="c", stop=Stop(9), threads=2)
    assert run("part.fm", checkpoint="c", limit=1, threads=3).read_bytes() == whole


# ---------------------------------------------------------------------------------------------------------- stopping
def test_a_stop_within_an_epoch_publishes_the_model_so_far_and_leaves_the_checkpoint(run, tmp_path):
    polls_an_epoch = -(-ROWS // BLOCK)  # once before it, and after each block but the last
    run("two.fm", checkpoint="c", stop=Stop(2 * polls_an_epoch + 1))
    assert modelfile.load(tmp_path / "two.fm").info["stopped"] == {"epoch": 3, "rows": 0}
    after_two = (tmp_path / "c").read_bytes()
    log = Counter()
    stopped = modelfile.load(run("more.fm", checkpoint="c", stop=Stop(3), observer=log), verify=True)
    assert stopped.info["stopped"] == {"epoch": 3, "rows": 2 * BLOCK}
    assert [record["epoch"] for record in stopped.info["epochs"]] == [1, 2]
    assert log.trained == 2 * BLOCK
    assert (tmp_path / "c").read_bytes() == after_two
    two = modelfile.load(tmp_path / "two.fm")
    assert two.linear.tolist() != stopped.linear.tolist()


def test_a_stop_without_a_checkpoint_returns_the_model_so_far(run):
    model = modelfile.load(run("x.fm", stop=Stop(2)), verify=True)
    assert (model.info["stopped"], model.info["epochs"]) == ({"epoch": 1, "rows": BLOCK}, [])
    assert "stopped" not in modelfile.load(run("y.fm", stop=lambda: False)).info


def test_a_stop_with_early_stopping_returns_the_best_epoch_so_far(run):
    model = modelfile.load(run("x.fm", SETTINGS["best epoch"], stop=Stop(6)))
    assert (model.info["stopped"]["epoch"], model.info["best_epoch"]) == (2, 1)
    shorter = modelfile.load(run("y.fm", {**SETTINGS["best epoch"], "lr_schedule": "linear"}, stop=Stop(5)))
    assert model.linear.tolist() == shorter.linear.tolist()


def test_a_stop_before_the_first_mini_batch_publishes_nothing(run, tmp_path):
    with pytest.raises(StoppedError, match="stopped before the first mini-batch was trained"):
        run("x.fm", checkpoint="c", stop=lambda: True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.svm", "train.svm"]


# ---------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"settings": {**FIRST, "epochs": 9, "linear_lr": 0.2}},
            "epochs was 8 and is 9, linear_lr was 0.05 and is 0.2; remove it",
        ),
        ({"tested": False}, "test rows was given and is none;"),
        ({"rows": "other.svm"}, "rows was 350 and is 349, non-zeros was "),
        ({"rows": "labels.svm"}, "mean label was "),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(run, tmp_path, change, said):
    lines = libsvm_rows(ROWS, 1).splitlines(keepends=True)
    (tmp_path / "other.svm").write_text("".join(lines[:-1]))
    (tmp_path / "labels.svm").write_text("".join("1" + line[1:] for line in lines))
    run("x.fm", checkpoint="c", stop=Stop(9))
    with pytest.raises(UsageError) as error:
        run("y.fm", checkpoint="c", **change)
    assert str(error.value).startswith("c is a checkpoint of another training: ")
    assert said in str(error.value)
    assert not (tmp_path / "y.fm").exists()


def test_models_and_checkpoints_are_refused_in_place_of_each_other(run):
    run("x.fm", checkpoint="c")
    with pytest.raises(ModelError, match=r"x\.fm: a model, not a checkpoint"):
        run("y.fm", checkpoint="x.fm")
    with pytest.raises(ModelError, match="c: a checkpoint of training, not a model"):
        api.load("c")


def test_a_damaged_checkpoint_is_refused_by_name(run, tmp_path):
    run("x.fm", SETTINGS["best epoch"], checkpoint="c", stop=Stop(9))
    whole = (tmp_path / "c").read_bytes()
    assert any(name.startswith("state.best.state.") for name in modelfile.load("c").tensors())
    for damaged in (b"", whole[:100], whole[:-1], whole + b"x", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        (tmp_path / "c").write_bytes(damaged)
        with pytest.raises(ModelError, match=r"^c: "):
            run("y.fm", SETTINGS["best epoch"], checkpoint="c")
        assert (tmp_path / "c").read_bytes() == damaged
    odd = checkpoint.encode(checkpoint.load(run("z.fm", checkpoint="d").with_name("d"))[0], {})
    for info in ({}, {"epochs": [], "best": [1], "facts": {}}, {"epochs": [], "best": [1, 0.5], "facts": {}}, 3):
        odd.info = {checkpoint_file.KEY: info}
        modelfile.save(odd, "c")
        with pytest.raises(ModelError, match=r"^c: damaged, or written by a newer fmkit"):
            run("y.fm", checkpoint="c")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no/c", "there is no folder"),
        (".", "it is a folder"),
        ("-", "standard output cannot be written again"),
        ("pipe", "not a regular file"),
        ("y.fm", "named for two outputs"),
        ("", "the name of an output is empty"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_refused_before_any_work(run, tmp_path, path, said):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "train.svm").write_text("no rows")
    with pytest.raises(UsageError, match=said):
        run("y.fm", checkpoint=path)
    assert not (tmp_path / "y.fm").exists()

"""The recipes of docs/architecture.md do what they say, in as many files as its table says.

The blocks of a recipe are applied to a copy of the packages, and `fm` of the copy runs, in processes of its own.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shell import ROOT, Shell, environment, libsvm_rows

PAGE = (ROOT / "docs" / "architecture.md").read_text()
RECIPES = dict(re.findall(r"^### To add (.+?)\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE))
BLOCK = re.compile(r"^```(python|diff|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| \[(.+?)\]\(#.*?\) \| (\d) \| (\d) \| (\d)", re.MULTILINE)
COUNTS = {name: (int(new), int(changed)) for name, new, changed, _ in ROW.findall(PAGE)}
FOR_SPEED = {name: int(fast) for name, *_, fast in ROW.findall(PAGE)}
SPEED = ("fmcore/kernels/",)  # where what is for speed alone stands
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.c")
SMALL = ("--num-factors", 4, "--epochs", 4, "--quiet")


class Copy(Shell):
    """A copy of the packages, changed by recipes, whose `fm` runs in a folder beside it."""

    def __init__(self, folder):
        self.tree = folder / "tree"
        for package in ("fmcli", "fmcore"):
            shutil.copytree(ROOT / package, self.tree / package, ignore=LEFT_OUT)
        (folder / "files").mkdir()
        super().__init__(folder / "files")
        self.write("train.svm", libsvm_rows(200, 1))
        self.write("test.svm", libsvm_rows(80, 2))
        start = f"import sys; sys.path.insert(0, {str(self.tree)!r}); from fmcli.main import run; run()"
        self.command = [sys.executable, "-c", start]

    def add(self, name):
        """Apply a recipe; return the paths of new files and of changed ones."""
        new, changed = set(), set()
        for kind, text in BLOCK.findall(RECIPES[name]):
            if kind == "python":
                path = re.match(r"# (\S+)\n", text)[1]
                self._create(path, text)
                new.add(path)
            elif kind == "sh":
                source, path = re.fullmatch(r"cp (\S+) (\S+)\n", text).groups()
                self._create(path, (ROOT / source).read_text())
                new.add(path)
            else:
                head, _, hunks = text.partition("\n")
                path = head.removeprefix("--- ")
                self._change(path, hunks.split("@@\n"))
                changed.add(path)
        return new, changed

    def _create(self, path, text):
        assert not (self.tree / path).exists(), path
        (self.tree / path).write_text(text)

    def _change(self, path, hunks):
        text = (self.tree / path).read_text()
        for hunk in hunks:
            lines = hunk.splitlines()
            old, new = ("\n".join(line[1:] for line in lines if line[:1] != other) for other in "+-")
            assert text.count(old) == 1, f"{path}: {old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        (self.tree / path).write_text(text)

    def run(self, *command):
        """Run another program on the copy to the end; return its output."""
        paths = {"PYTHONPATH": str(self.tree)}
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.tree,
            env=environment(**paths),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def copy(tmp_path):
    """A copy of the packages without any recipe yet."""
    return Copy(tmp_path)


def add(copy, name):
    """Apply a recipe, and check that its files are as many as the table says."""
    new, changed = copy.add(name)
    assert (len(new), len(changed)) == COUNTS[name]
    assert sum(path.startswith(SPEED) for path in changed) == FOR_SPEED[name]


def choices(copy, command, option):
    """Return what the help of a command says that an option may be."""
    text = " ".join(copy(command, "--help").out.split())
    return re.search(rf"{option} \[(.*?)\]", text)[1].replace(" ", "").split("|")


def test_every_recipe_is_in_the_table_and_tested():
    assert list(RECIPES) == list(COUNTS)
    tested = Path(__file__).read_text()
    assert [name for name in RECIPES if f'(copy, "{name}")' not in tested] == []


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy with an objective and an optimizer more, whose kernels are built again, for any processor."""
    copy = Copy(tmp_path_factory.mktemp("kernels"))
    add(copy, "an objective")
    add(copy, "an optimizer")
    kernels = copy.tree / "fmcore" / "kernels"
    for path in copy.tree.glob("fmcore/**/*.pyx"):
        if path.stem != "_kernels_baseline":
            path.unlink()
    for built in kernels.glob("_kernels_*.so"):
        built.unlink()
    shutil.copy(ROOT / "setup.py", copy.tree)
    copy.run(sys.executable, "-W", "ignore", "setup.py", "-q", "build_ext", "--inplace")
    assert len(list(kernels.glob("_kernels_*.so"))) == 1
    return copy


AGREE = """
import os, sys
import numpy as np
sys.path[:0] = [{tree!r}, {helpers!r}]
from rows import block_of, random_rows, small_model
from fmcore.kernels import backend_for, has_kernels

for predictor_type, optimizer in (("huber", "adagrad"), ("regressor", "momentum"), ("huber", "momentum")):
    batch = random_rows(101, classes=False, weights=True)
    batch.labels *= 3  # errors of either kind
    rates = dict(bias_lr=0.1, linear_lr=0.05, factors_lr=0.02, bias_wd=0.1, linear_wd=0.01, factors_wd=0.02)
    model = small_model(predictor_type, optimizer=optimizer, num_factors=17, **rates)
    assert has_kernels(model.hyperparameters)
    snapshots = []
    for name in {backends!r}:
        backend = backend_for(name)
        trainer, block = backend.trainer(model), backend.prepare(block_of(batch, 13))
        losses = [trainer.train(block, np.arange(8), lr) for lr in (1.0, 0.5)]
        snapshots.append((losses, trainer.snapshot()))
    (truth, expected), *others = snapshots
    for losses, got in others:
        np.testing.assert_allclose(np.array(losses), np.array(truth), rtol=2e-4, atol=2e-5)
        for name, tensor in expected.tensors().items():
            moved = np.abs(tensor - model.tensors().get(name, 0)).max()
            assert moved > 1e-3, (name, moved)
            np.testing.assert_allclose(got.tensors()[name], tensor, rtol=2e-4, atol=2e-5, err_msg=name)
"""


def agree(copy, *backends):
    """Check that backends move models of the new objective and optimizer as the NumPy reference does."""
    helpers = str(ROOT / "tests" / "helpers")
    program = AGREE.format(tree=str(copy.tree), helpers=helpers, backends=("reference", *backends))
    copy.write("agree.py", program)
    return subprocess.run(
        [sys.executable, copy.folder / "agree.py"],
        env=environment(FMKIT_KERNELS="baseline", PYTHONPATH=str(copy.tree)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_kernels_of_a_new_objective_and_optimizer_agree_with_the_reference(extended):
    done = agree(extended, "cpu")
    assert done.returncode == 0, done.stderr


def test_formulas_for_gpus_of_a_new_objective_and_optimizer_agree_with_the_reference(extended):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    done = agree(extended, "torch:cpu")
    assert done.returncode == 0, done.stderr


def test_a_new_objective_and_optimizer_train_in_the_kernels_and_are_choices(extended):
    fm, chosen = extended, {"FMKIT_KERNELS": "baseline"}
    h = ("--predictor-type", "huber", "--optimizer", "momentum", *SMALL)
    said = fm("train", "train.svm", "--test", "test.svm", *h[:-1], "-o", "m.fm", **chosen).err
    assert "no case in the kernels" not in said
    found = json.loads(fm("eval", "m.fm", "test.svm", "--json", **chosen).out)
    info = json.loads(fm("inspect", "m.fm", "--json", **chosen).out)
    assert {"state.velocity.linear", "state.velocity.factors"} <= set(info["tensors"])
    epochs = info["info"]["epochs"]
    assert epochs[-1]["train"]["huber_loss"] < epochs[0]["train"]["huber_loss"]
    assert found["huber_loss"] == pytest.approx(epochs[-1]["test"]["huber_loss"])
    fm("train", "train.svm", *h, "-o", "two.fm", "--distributed", "local", "--workers", 2, **chosen)


def test_a_new_family_trains_is_saved_and_scores(copy):
    add(copy, "a family")
    h = ("--predictor-type", "regressor", "--family", "pooled", *SMALL)
    copy("train", "train.svm", *h, "-o", "m.fm")
    info = json.loads(copy("inspect", "m.fm", "--json").out)
    assert info["hyperparameters"]["family"] == "pooled"
    assert "linear" not in info["tensors"]
    losses = [epoch["train"]["rmse"] for epoch in info["info"]["epochs"]]
    assert losses[-1] < losses[0]
    assert json.loads(copy("eval", "m.fm", "train.svm", "--json").out)["rmse"] < losses[0]


def test_a_new_solver_trains_and_keeps_its_state(copy):
    add(copy, "a solver")
    h = ("--predictor-type", "regressor", "--solver", "full", *SMALL)
    copy("train", "train.svm", *h, "-o", "m.fm")
    info = json.loads(copy("inspect", "m.fm", "--json").out)
    assert {"state.velocity.factors", "state.sweeps"} <= set(info["tensors"])
    assert copy("predict", "m.fm", "test.svm").out.count("\n") == 80


def test_a_new_format_to_read_is_detected_read_and_checked(copy):
    add(copy, "a format to read")
    copy.write("x.pairs", "1,3=0.5,0=2\n0,4=1\n")
    copy("convert", "x.pairs", "-o", "x.svm")
    assert copy.read("x.svm") == b"1 3:0.5 0:2\n0 4:1\n"
    copy.write("y.pairs", "1,3=0.5\n0,4\n")
    assert "y.pairs, line 2" in copy("convert", "y.pairs", "-o", "y.svm", code=3).err
    copy("convert", "y.pairs", "-o", "y.svm", "--on-error", "skip", "--format", "pairs")
    assert copy.read("y.svm") == b"1 3:0.5\n"
    assert choices(copy, "convert", "--format")[-1] == "pairs"
    copy.write("z.csv", "label,a\n1,2\n")
    copy("convert", "z.csv", "-o", "z.svm", "--label-column", "label")
    assert copy.read("z.svm") == b"1 0:2\n"
    pairs = libsvm_rows(200, 1).replace(" ", ",").replace(":", "=")
    copy.write("train.pairs", pairs)
    for rows in ("train.svm", "train.pairs"):
        copy("train", rows, "--predictor-type", "binary_classifier", *SMALL, "-o", f"{rows}.fm")
    team = ("--distributed", "local", "--workers", 2)
    said = copy("train", "train.pairs", "--predictor-type", "binary_classifier", *SMALL[:-1], *team, "-o", "team.fm")
    assert "cannot be cut" not in said.err
    scores = [copy("predict", f"{rows}.fm", rows).out for rows in ("train.svm", "train.pairs")]
    assert scores[0] == scores[1]


def test_a_new_format_of_predictions_is_written(copy):
    add(copy, "a format of predictions")
    for predictor_type in ("binary_classifier", "regressor"):
        copy("train", "train.svm", "--predictor-type", predictor_type, *SMALL, "-o", "m.fm")
        text = copy("predict", "m.fm", "test.svm", "--to", "text").out.splitlines()
        lines = [f"{score}\t{int(float(score) >= 0.5)}" for score in text]
        expected = lines if predictor_type == "binary_classifier" else text
        assert copy("predict", "m.fm", "test.svm", "--to", "tsv").out.splitlines() == expected


def test_a_new_hyperparameter_is_an_option_is_checked_kept_and_used(copy):
    h = ("--predictor-type", "regressor", "--lr-schedule", "linear", *SMALL)
    copy("train", "train.svm", *h, "-o", "before.fm")
    add(copy, "a hyperparameter")
    copy("train", "train.svm", *h, "-o", "without.fm")
    assert copy.read("without.fm") == copy.read("before.fm")
    copy("train", "train.svm", *h, "--lr-floor", 0.9, "-o", "with.fm")
    with_floor, without = (json.loads(copy("inspect", f"{name}.fm", "--json").out) for name in ("with", "without"))
    assert with_floor["hyperparameters"]["lr_floor"] == 0.9
    last = [model["info"]["epochs"][-1]["train"]["rmse"] for model in (with_floor, without)]
    assert last[0] != last[1]
    assert "lr_floor" in copy("train", "train.svm", *h, "--lr-floor", 2, "-o", "x.fm", code=2).err.replace("-", "_")


def test_a_new_command_is_listed_and_runs(copy):
    add(copy, "a command")
    assert re.search(r"^ +count +Count rows\.$", copy("--help").out, re.MULTILINE)
    assert copy("count", "train.svm", "test.svm").out == "280\n"


def test_a_new_engine_trains_the_same_model(copy):
    add(copy, "an engine")
    h = ("--predictor-type", "binary_classifier", *SMALL, "--workers", 2, "--threads", 1)
    for engine in ("local", "threads"):
        copy("train", "train.svm", *h, "--distributed", engine, "-o", f"{engine}.fm")
    assert copy("predict", "threads.fm", "test.svm").out == copy("predict", "local.fm", "test.svm").out
    assert choices(copy, "train", "--distributed")[-1] == "threads"
    assert (
        "needs the number of workers"
        in copy(
            "train", "train.svm", "--predictor-type", "regressor", "--distributed", "threads", "-o", "x.fm", code=2
        ).err
    )

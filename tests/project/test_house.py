"""An objective, a family and a solver that a program registers do together all that fm does, without a line of fmkit.

Each of them alone is tested beside its room; here they meet in one model, from the command line and by calls.
"""

import json
import sys
from pathlib import Path

import fullbatch
import gated
import numpy as np
import poisson
import pytest
from rows import random_rows
from shell import Shell

from fmcore import api
from fmcore.families import FAMILIES
from fmcore.hyper.presets import resolve
from fmcore.hyper.solvers import SOLVERS, SolverEntry
from fmcore.objectives import OBJECTIVES

HELPERS = str(Path(poisson.__file__).parent)
PROGRAM = f"""
import sys
sys.path.insert(0, {HELPERS!r})
import fullbatch, gated, poisson

for added in (fullbatch, gated, poisson):
    added.register()
if __name__ == "__main__":
    from fmcli.main import run
    run()
"""
ALL = (
    *("--predictor-type", "poisson", "--family", "gated", "--solver", "full", "--num-factors", 2),
    *("--linear-lr", 0.02, "--linear-init-method", "normal", "--linear-init-sigma", 0.5, "--factors-init-sigma", 0.5),
)


def counts(rows, seed):
    """Return rows of libsvm text whose labels are counts, by two features of each."""
    random, lines = np.random.default_rng(seed), []
    for _ in range(rows):
        one, other = random.integers(0, 3), random.integers(3, 6)
        mean = np.exp(0.4 * one - 0.2 * (other - 4))
        lines.append(f"{random.poisson(mean)} {one}:1 {other}:1\n")
    return "".join(lines)


@pytest.fixture
def fm(tmp_path):
    """Return the command line of a program that has registered all three, beside rows."""
    shell = Shell(tmp_path)
    shell.write("train.svm", counts(200, 1))
    shell.write("test.svm", counts(80, 2))
    shell.command = [sys.executable, str(shell.write("program.py", PROGRAM))]
    return shell


@pytest.fixture
def registered(monkeypatch):
    """Register all three in this process."""
    monkeypatch.setitem(OBJECTIVES, "poisson", poisson.Poisson())
    monkeypatch.setitem(FAMILIES, "gated", gated.Gated())
    monkeypatch.setitem(SOLVERS, "full", SolverEntry(fullbatch.FullBatch, fullbatch.state))


def test_a_registered_objective_family_and_solver_do_all_that_fm_does(fm):
    printed = fm(
        "train", "train.svm", "--test", "test.svm", *ALL, "-o", "m.fm", "--epochs", 30, "--lr-schedule", "constant"
    )
    assert "all rows at once" in printed.err
    head = json.loads(fm("inspect", "m.fm", "--json", "--verify").out)
    kept = head["hyperparameters"]
    assert (kept["predictor_type"], kept["family"], kept["solver"]) == ("poisson", "gated", "full")
    assert {"mix", "gate", "pairs", "state.velocity.mix", "state.sweeps"} <= set(head["tensors"])
    losses = [record["train"]["deviance"] for record in head["info"]["epochs"]]
    assert losses[-1] < 0.95 * losses[0]
    found = json.loads(fm("eval", "m.fm", "test.svm", "--json").out)
    assert found["deviance"] == pytest.approx(head["info"]["epochs"][-1]["test"]["deviance"], rel=1e-5)
    means = [float(line) for line in fm("predict", "m.fm", "test.svm").out.split()]
    labels = np.array([float(line.split()[0]) for line in counts(80, 2).splitlines()])
    assert np.mean((means - labels) ** 2) ** 0.5 == pytest.approx(found["rmse"], rel=1e-4)


def test_epochs_of_a_warm_start_add_up(fm):
    fixed = ("--lr-schedule", "constant", "--quiet")
    fm("train", "train.svm", *ALL, "-o", "whole.fm", "--epochs", 6, *fixed)
    fm("train", "train.svm", *ALL, "-o", "half.fm", "--epochs", 3, *fixed)
    fm("train", "train.svm", "--init-model", "half.fm", "-o", "again.fm", "--epochs", 3, *fixed)
    whole, again = (api_tensors(fm.folder / name) for name in ("whole.fm", "again.fm"))
    assert whole.keys() == again.keys()
    for name, array in whole.items():
        np.testing.assert_allclose(array, again[name], rtol=2e-4, atol=1e-6, err_msg=name)
    assert int(again["state.sweeps"][0]) == 6


def api_tensors(path):
    """Return the tensors in a model's file, read without its family."""
    from safetensors.numpy import load_file

    return load_file(path)


def test_tune_searches_what_is_not_given_and_prints_the_command_of_the_best_model(fm):
    found = fm("tune", "train.svm", "--test", "test.svm", *ALL, "-o", "best.fm", "--trials", 3, "--jobs", 2)
    command = next(line for line in found.out.splitlines() if line.startswith("fm train"))
    assert "--family gated" in command
    assert "--solver full" in command
    fm(*command.replace("best.fm", "same.fm").split()[1:])
    assert (fm.folder / "same.fm").read_bytes() == (fm.folder / "best.fm").read_bytes()


@pytest.mark.usefixtures("registered")
def test_fit_in_memory_stops_early_and_touches_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = random_rows(60, 8)
    rows.labels[:] = np.abs(rows.labels)
    h = resolve(
        predictor_type="poisson", family="gated", solver="full", epochs=50, linear_lr=0.05, early_stopping_patience=2
    )
    model = api.fit(rows, h, test=rows.take(slice(0, 20)))
    assert len(model.info["epochs"]) <= 50
    assert model.info["best_epoch"] <= len(model.info["epochs"])
    assert list(tmp_path.iterdir()) == []


def test_several_workers_refuse_another_solver(fm):
    args = ("train", "train.svm", *ALL, "-o", "m.fm", "--distributed", "local", "--workers", 2)
    assert "solver full trains in one process" in fm(*args, code=2).err

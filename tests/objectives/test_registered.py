"""An objective that a program adds to the registry is trained, tuned, saved, loaded and used like those there are."""

import json
import sys
from pathlib import Path

import numpy as np
import poisson
import pytest
from rows import random_rows
from shell import Shell

from fmcore import api
from fmcore.errors import DataError, UsageError
from fmcore.hyper.presets import resolve
from fmcore.objectives import OBJECTIVES
from fmcore.rows.batch import Batch
from fmcore.rows.source import MemoryRows
from fmcore.solvers import Task
from fmcore.solvers.observer import Observer
from fmcore.training.fit import Fitting, fit

HELPERS = str(Path(poisson.__file__).parent)
ADDED = f"import sys\nsys.path.insert(0, {HELPERS!r})\nimport poisson\n\npoisson.register()\n"
PROGRAM = f"""{ADDED}
if __name__ == "__main__":
    from fmcli.main import run
    run()
"""
SEARCH = f"""{ADDED}
if __name__ == "__main__":
    from fmcore import api
    from fmcore.tuning.space import search_space
    from fmcore.tuning.tune import Plan, tune

    space = search_space({{}}, {{"predictor_type": "poisson", "num_factors": 2}})
    found = tune(api.Data(["train.svm"]), None, space, "best.fm", Plan(trials=2, folds=2, objective="test:rmse"))
    print(found.best.value, found.hyperparameters.predictor_type, sorted(space.dimensions))
"""
KIND = ("--predictor-type", "poisson")


def counts(rows, seed):
    """Return rows of libsvm text whose labels are counts with a mean that two of the features decide."""
    random, lines = np.random.default_rng(seed), []
    for _ in range(rows):
        one, other = random.integers(0, 2), random.integers(2, 6)
        mean = np.exp((-0.5, 1.2)[one] + 0.3 * (other - 4))
        lines.append(f"{random.poisson(mean)} {one}:1 {other}:1\n")
    return "".join(lines)


@pytest.fixture
def fm(tmp_path):
    """Return the command line of a program that has registered the objective, beside rows."""
    shell = Shell(tmp_path)
    shell.write("train.svm", counts(300, 1))
    shell.write("test.svm", counts(100, 2))
    shell.write("bad.svm", "1 0:1\n0 1:1\n-1 0:1\n2 1:1\n")
    shell.command = [sys.executable, str(shell.write("program.py", PROGRAM))]
    return shell


@pytest.fixture
def registered(monkeypatch):
    """Register the objective in this process."""
    monkeypatch.setitem(OBJECTIVES, "poisson", poisson.Poisson())


@pytest.mark.usefixtures("registered")
def test_a_registered_objective_trains_evaluates_and_predicts_by_calls(fm):
    train, test, target = ([str(fm.folder / name)] for name in ("train.svm", "test.svm", "counts.fm"))
    h = resolve(predictor_type="poisson", early_stopping_patience=2, seed=3)
    assert (h.linear_wd, resolve("native-1", predictor_type="poisson").linear_wd) == (2, 1e-3)
    trained = api.train(api.Data(train), h, target[0], test=api.Data(test))
    assert list(trained.info["epochs"][0]["train"]) == ["deviance"]
    assert list(trained.info["epochs"][0]["test"]) == ["deviance", "rmse"]
    model = api.load(target[0], verify=True)
    assert model.hyperparameters.predictor_type == "poisson"
    metrics = api.evaluate(model, api.Data(test))
    best = trained.info["epochs"][trained.info["best_epoch"] - 1]["test"]
    assert metrics == {"deviance": pytest.approx(best["deviance"]), "rmse": pytest.approx(best["rmse"]), "rows": 100}
    labels = np.array([float(line.split()[0]) for line in counts(100, 2).splitlines()])
    api.predict(model, api.Data(test), fm.folder / "means.txt")
    means = np.loadtxt(fm.folder / "means.txt")
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean((means - labels) ** 2)), rel=1e-5)
    assert metrics["rmse"] < 0.9 * labels.std()
    assert means.min() > 0
    assert means.mean() == pytest.approx(labels.mean(), rel=0.2)
    continued, read = api.continued(model, {"epochs": 1, "early_stopping_patience": None}, {"table": {}, "threads": 1})
    api.train(api.Data(train, read), continued, target[0], initial_model=model)


@pytest.mark.usefixtures("registered")
def test_rows_in_memory_are_prepared_anew_for_another_objective():
    rows, names = MemoryRows(random_rows(40, 6)), []
    seen = Observer()
    seen.loaded = lambda _placed, _model, solver: names.append(solver.name)
    fitting = Fitting()
    for kind in ("binary_classifier", "poisson", "poisson", "binary_classifier"):
        model = fitting.fit(Task(rows, resolve(predictor_type=kind, epochs=1, feature_dim=6)), seen)
        assert model.hyperparameters.predictor_type == kind
    assert names[1:3] == ["reference", "reference"]
    assert names[0] == names[3] != "reference"
    with pytest.raises(DataError, match="label -1; expected a number of at least 0"):
        fit(odd_rows(), resolve(predictor_type="poisson", epochs=1))


def odd_rows():
    """Return rows in memory, one of which has no count."""
    batch = random_rows(10, 6)
    batch.labels[4] = -1
    return batch


def test_the_command_line_trains_evaluates_and_predicts_with_a_registered_objective(fm):
    printed = fm("train", "train.svm", "--test", "test.svm", *KIND, "-o", "counts.fm", "--epochs", 3).err
    assert "predictor_type poisson has no case in the kernels" in printed
    assert "train deviance" in printed
    found = fm("eval", "counts.fm", "test.svm").out
    assert "deviance" in found
    assert "rmse" in found
    assert fm("predict", "counts.fm", "test.svm", "--to", "csv").out.startswith("id,score\n1,")
    assert json.loads(fm("inspect", "counts.fm", "--json").out)["hyperparameters"]["predictor_type"] == "poisson"
    log = fm("train", "train.svm", *KIND, "-o", "counts.fm", "--epochs", 1, "--log-format", "sagemaker").err
    assert "#quality_metric: host=algo-1, epoch=0, train deviance <loss>=" in log


def test_help_pages_name_a_registered_objective(fm):
    page = " ".join(fm("train", "--help").out.split())
    assert "binary_classifier|regressor|poisson" in page
    assert "3.0 classifier, 3.0 regressor, 2.0 counts" in page
    assert "test:poisson_deviance counts" in " ".join(fm("tune", "--help").out.split())
    assert "binary_classifier|regressor|poisson" in " ".join(fm("convert", "--help").out.split())


def test_the_command_line_tunes_a_registered_objective(fm):
    data = ("train.svm", "--test", "test.svm")
    found = fm("tune", *data, *KIND, "-o", "best.fm", "--trials", 3, "--jobs", 2, "--num-factors", 2)
    assert "test:poisson_deviance" in found.out + found.err
    command = next(line for line in found.out.splitlines() if line.startswith("fm train"))
    best = fm.read("best.fm")
    fm(*command.split()[1:])
    assert fm.read("best.fm") == best
    wrong = ("--objective", "test:auc", "--trials", 1)
    assert "does not fit predictor_type poisson" in fm("tune", *data, *KIND, "-o", "x.fm", *wrong, code=2).err


def test_a_search_by_calls_tunes_a_registered_objective(fm):
    fm.command = [sys.executable, str(fm.write("search.py", SEARCH))]
    value, kind, searched = fm().out.split(maxsplit=2)
    assert (float(value) > 0, kind) == (True, "poisson")
    assert "num_factors" not in searched
    assert b"poisson" in fm.read("best.fm")


def test_labels_that_are_not_accepted_are_refused_with_their_place(fm):
    wanted = "bad.svm, line 3: label -1; expected a number of at least 0"
    for arguments in (("train", "bad.svm"), ("train", "train.svm", "--test", "bad.svm")):
        assert wanted in fm(*arguments, *KIND, "-o", "counts.fm", code=3).err
    tuned = ("tune", "bad.svm", "--cv", 2, *KIND, "-o", "counts.fm")
    assert wanted in fm(*tuned, code=3).err
    fm("train", "train.svm", *KIND, "-o", "counts.fm", "--epochs", 1)
    assert wanted in fm("eval", "counts.fm", "bad.svm", code=3).err
    skipped = fm("train", "bad.svm", *KIND, "-o", "counts.fm", "--epochs", 1, "--on-error", "skip").err
    assert "rows skipped: 1" in skipped
    fm("predict", "counts.fm", "bad.svm")


def test_several_workers_refuse_an_objective_without_a_kernel(fm):
    team = ("--distributed", "local", "--workers", 2)
    assert "has no case in the kernels" in fm("train", "train.svm", *KIND, "-o", "counts.fm", *team, code=2).err


def test_a_model_of_an_objective_that_is_not_there_is_refused(fm, tmp_path):
    fm("train", "train.svm", *KIND, "-o", "counts.fm", "--epochs", 1)
    assert "predictor_type is 'poisson'" in Shell(tmp_path)("eval", "counts.fm", "test.svm", code=4).err


def test_a_classifier_is_measured_on_its_two_labels_alone(tmp_path):
    shell = Shell(tmp_path)
    train, odd = shell.write("train.svm", "0 0:1\n1 1:1\n" * 5), shell.write("odd.svm", "1 0:1\n3 1:1\n")
    model = api.train(api.Data([train]), resolve(predictor_type="binary_classifier", epochs=1), tmp_path / "m.fm")
    with pytest.raises(DataError, match=r"odd.svm, line 2: label 3; expected 0 and 1, or -1 and 1; for other"):
        api.evaluate(model, api.Data([odd]))
    with pytest.raises(DataError, match=r"odd.svm, line 2: label 3; expected 0 and 1, or -1 and 1; for other"):
        api.train(api.Data([odd]), resolve(predictor_type="binary_classifier"), tmp_path / "n.fm")
    rows = Batch(np.array([0, 1]), np.zeros(1, np.int32), None, np.array([3], np.float32))
    with pytest.raises(DataError, match=r"row 1: label 3; expected 0 and 1"):
        api.fit(rows, resolve(predictor_type="binary_classifier"))


def test_labels_of_a_classifier_are_read_alike_by_programs_and_by_the_command(tmp_path):
    shell = Shell(tmp_path)
    minus, plus = shell.write("minus.svm", "-1 0:1\n1 1:1\n" * 5), shell.write("plus.svm", "0 0:1\n1 1:1\n" * 5)
    h = resolve(predictor_type="binary_classifier", epochs=1)
    one, other = (api.train(api.Data([rows]), h, tmp_path / "m.fm") for rows in (minus, plus))
    assert api.evaluate(one, api.Data([minus])) == api.evaluate(other, api.Data([plus]))


@pytest.mark.usefixtures("registered")
def test_an_objective_is_known_while_it_is_registered(monkeypatch):
    assert resolve(predictor_type="poisson").predictor_type == "poisson"
    monkeypatch.delitem(OBJECTIVES, "poisson")
    with pytest.raises(UsageError, match="expected binary_classifier or regressor"):
        resolve(predictor_type="poisson")


def test_an_objective_of_more_raw_scores_than_the_family_gives_is_refused(monkeypatch):
    added = poisson.Poisson()
    added.outputs = 3
    monkeypatch.setitem(OBJECTIVES, "poisson", added)
    with pytest.raises(UsageError, match="poisson takes 3 raw scores a row, but family fm gives 1"):
        fit(random_rows(10, 6), resolve(predictor_type="poisson", epochs=1))

"""`fm tune` as a user runs it: what it finds, prints and leaves, however it ends."""

import json
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from shell import (
    COMMAND,
    LIMIT,
    TABLE_OPTIONS,
    TEST_TABLE,
    TRAIN_TABLE,
    interruptible,
    last_line,
    libsvm_rows,
    wait_for,
)
from test_cli_terminal import at_a_terminal

from fmcore.tuning import storage

CLASSES = ("--predictor-type", "binary_classifier")
QUICK = ("--num-factors", 2, "--range", "epochs=1:4", "--range", "factors_lr=0.01:0.5:log")
ENDLESS = ("--epochs", 10**6, "--choice", "num_factors=2,3")  # trials that nothing but the median stops


@pytest.fixture
def tune(fm, tmp_path):
    """Provide a function that starts `fm tune` on rows of two classes, its temporary files in the folder `temporary`."""
    fm.write("train.svm", libsvm_rows(200, 1))
    fm.write("test.svm", libsvm_rows(80, 2))
    (tmp_path / "temporary").mkdir()
    started = []

    def start(*arguments, data=("train.svm", "--test", "test.svm"), **streams):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        started.append(
            subprocess.Popen(
                [*COMMAND, "tune", *data, *CLASSES, *map(str, arguments)],
                cwd=fm.folder,
                **streams,
                env=interruptible(TMPDIR=str(tmp_path / "temporary")),
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process, code=0):
    """Wait for the end, in the exit code expected; what was printed on standard output and error."""
    out, err = (text.decode() for text in process.communicate(timeout=LIMIT))
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


def trials(path):
    """Return optuna's trials of a study."""
    study = optuna.load_study(study_name="fmkit", storage=f"sqlite:///{path}")
    try:
        return study.trials
    finally:
        storage.close(study)


def counted(path):
    """Return how many trials have ended by themselves; 0 without a study."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=LIMIT)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')").fetchone()[0]
        except sqlite3.OperationalError:  # the tables are still to come
            return 0


def again(fm, out, name="best.fm"):
    """Run the command that was printed; whether it gives the same bytes."""
    words = shlex.split(last_line(out))
    assert words[0] == "fm"
    before = fm.read(name)
    (fm.folder / name).unlink()
    fm(*words[1:], "--quiet")
    return fm.read(name) == before


def children(process):
    """Return the numbers of the processes that train for it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rsplit(")", 1)[1].split()[1]
            words = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == process.pid and b"spawn_main" in words:
            found.append(int(path.parent.name))
    return found


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def test_tune_publishes_the_best_model_and_prints_its_command(fm, tune):
    out, err = ended(tune(*QUICK, "--trials", 8, "--jobs", 2, "--report", "page.html", "-o", "best.fm"))
    assert "200 rows, judged on 80 test rows by test:binary_classification_cross_entropy" in err
    assert "8 trials: " in out
    assert "importance: " in out
    value = float(next(line for line in out.splitlines() if line.startswith("test:binary")).split()[-1])
    assert again(fm, out)
    found = json.loads(fm("eval", "best.fm", "test.svm", "--json").out)
    assert found["logloss"] == pytest.approx(value, rel=1e-4)
    page = fm.read("page.html").decode()
    assert last_line(out) in page
    assert 'src="' not in page.partition("<script")[0]
    assert "<script src" not in page
    assert "<link" not in page
    assert "Plotly.newPlot" in page
    assert fm.files() == ["best.fm", "page.html", "temporary", "test.svm", "train.svm"]
    assert not list((fm.folder / "temporary").iterdir())


def test_the_search_says_whether_it_improves_on_the_untuned_model(fm, tune):
    options = ("--pilot", "none", "--num-factors", 2, "--strategy", "grid", "-o", "best.fm")
    fm("train", "train.svm", "--test", "test.svm", *CLASSES, "--pilot", "none", "--num-factors", 2, "-o", "untuned.fm")
    out, _ = ended(tune(*options, "--choice", "linear_lr=1e-9,0.75"))  # the latter is the preset's
    assert re.search(
        r"^no trial is better than the untuned model \(best .*\): that one is published$", out, re.MULTILINE
    )
    assert "--linear-lr" not in last_line(out)
    assert fm.read("best.fm") == fm.read("untuned.fm")
    out, _ = ended(tune(*options, "--choice", "linear_lr=1e-9,1e-8"))  # which keep out the preset's
    assert "which is outside of what is searched: linear_lr 0.75\n" in out
    assert "--linear-lr 1e-0" in last_line(out)
    assert again(fm, out)
    out, _ = ended(tune(*options, "--linear-lr", 1e-9, "--choice", "factors_lr=0.1,0.5"))
    words = re.search(r"^best trial (\S+), untuned (\S+) \((\S+) %\)$", out, re.MULTILINE)
    best, untuned, change = map(float, words.groups())
    assert change == pytest.approx(100 * (best / untuned - 1), abs=0.06)
    assert change < 0


def test_the_first_trial_is_what_train_gives_by_its_pilot(fm, tune):
    rng = random.Random(5)
    for name, rows in (("train.svm", 400), ("test.svm", 100)):  # which have nothing to learn
        fm.write(
            name, "".join(f"{rng.randrange(2)} {rng.randrange(30)}:1 {rng.randrange(30, 60)}:1\n" for _ in range(rows))
        )
    given = ("train.svm", "--test", "test.svm", *CLASSES)
    fm("train", *given, "-o", "untuned.fm")
    pilot = json.loads(fm("inspect", "untuned.fm", "--json").out)["info"]["pilot"]
    assert pilot["kept"] != "recipe"
    out, _ = ended(tune("--trials", 1, "-o", "best.fm"))
    assert "no trial is better than the untuned model: that one is published\n" in out
    assert fm.read("best.fm") == fm.read("untuned.fm")
    found = json.loads(fm("eval", "untuned.fm", "test.svm", "--json").out)["logloss"]
    assert f"test:binary_classification_cross_entropy: {found:.6g}\n" in out
    fm("train", "train.svm", *CLASSES, "-o", "untuned.fm")
    ended(tune("--cv", 3, "--trials", 1, "-o", "best.fm", data=["train.svm"]))
    assert fm.read("best.fm") == fm.read("untuned.fm")


def test_the_best_trials_are_compared_by_their_means_over_seeds(fm, tune):
    options = (*QUICK, "--trials", 4, "--repeats", 3, "--seed", 8, "--study", "x.db", "-o", "best.fm")
    out, err = ended(tune(*options))
    assert "training the best once more with 2 other seeds" in err
    assert out.split()[:4] == ["trial", "mean", "of", "3"]
    assert again(fm, out)
    value = float(re.search(r"entropy: (\S+), the mean of 3 seeds$", out, re.MULTILINE)[1])
    words, found = shlex.split(last_line(out))[1:], []
    for seed in (8, 9, 10):
        fm(*(str(seed) if word == "8" else word for word in words), "--quiet")
        found.append(json.loads(fm("eval", "best.fm", "test.svm", "--json").out)["logloss"])
    assert value == pytest.approx(sum(found) / 3, rel=1e-5)
    once_more, err = ended(tune(*options))  # which knows all of this
    assert "other seeds" not in err
    assert once_more == out


def test_the_best_model_is_trained_on_the_test_rows_too(fm, tune):
    out, _ = ended(tune("--num-factors", 2, "--trials", 3, "--refit", "-o", "best.fm"))
    assert last_line(out).startswith("fm train train.svm test.svm -o best.fm ")
    assert "trained on the training and the test rows" in out
    assert again(fm, out)
    assert json.loads(fm("inspect", "best.fm", "--json").out)["info"]["rows"] == 280


def test_a_refit_has_as_many_epochs_as_early_stopping_found_best(fm, tune):
    options = ("--epochs", 40, "--early-stopping-patience", 1, "--lr-schedule", "constant", "--factors-variance", 0)
    options = (*options, "--choice", "num_factors=8", "--strategy", "grid", "--study", "x.db", "-o", "best.fm")
    out, _ = ended(tune(*options, "--refit"))
    number = int(re.search(r"the best is (?:trial (\d)|the untuned model)", out)[1] or 0)
    (epochs,) = (trial.user_attrs["epochs"] for trial in trials(fm.folder / "x.db") if trial.number == number)
    assert epochs < 40
    assert f"--epochs {epochs} " in last_line(out)
    assert "--early-stopping-patience" not in last_line(out)
    assert again(fm, out)


def test_tune_writes_the_vocabulary_that_train_writes(fm, tune):
    fm.write("train.csv", TRAIN_TABLE)
    fm.write("test.csv", TEST_TABLE)
    options = (*TABLE_OPTIONS, "--vocabulary", "v.tsv")
    choices = [
        word
        for choice in ("mini_batch_size=auto,4", "clip_gradient=none,1", "use_linear=true,false")
        for word in ("--choice", choice)
    ]
    out, _ = ended(tune(*options, *choices, "--trials", 3, "-o", "best.fm", data=("train.csv", "--test", "test.csv")))
    mine = fm.read("v.tsv")
    assert again(fm, out)
    (fm.folder / "v.tsv").unlink()
    assert again(fm, out)
    assert fm.read("v.tsv") == mine


def test_cross_validation_trains_the_best_model_on_all_rows(fm, tune):
    fm.write("more.json", '{"epochs": "2", "_kvstore": "auto"}')
    options = ("--space", "sagemaker", "--hyperparameters", "more.json", "-p", "mini_batch_size=50", "--hash-bits", 5)
    options = (*options, "--cv", 3, "--strategy", "grid", "--trials", 4, "-o", "best.fm")
    out, err = ended(tune(*options, data=["train.svm"]))
    assert "judged by cross-validation" in err
    assert "--test" not in last_line(out)
    assert "--preset sagemaker" in last_line(out)
    assert "--epochs 2 " in last_line(out)
    assert "--mini-batch-size 50 " in last_line(out)
    assert again(fm, out)


def test_a_killed_study_is_continued(fm, tune):
    whole, _ = ended(tune(*QUICK, "--trials", 11, "--seed", 3, "--study", "whole.db", "-o", "best.fm"))
    study, seen = fm.folder / "x.db", 0
    options = (*QUICK, "--trials", 11, "--seed", 3, "--study", study, "-o", "best.fm")
    for moment in range(2):
        process = tune(*options)
        wait_for(lambda enough=4 * moment: counted(study) > enough)
        time.sleep(random.random() / 5)
        process.kill()
        process.wait()
        assert counted(study) >= seen
        seen = counted(study)
    out, err = ended(tune(*options))
    assert f"resuming after {seen} trials of 11" in err
    assert out.splitlines()[-1] == whole.splitlines()[-1]
    assert again(fm, out)
    values = [
        [(t.params, t.value, t.state) for t in trials(fm.folder / name) if t.state.name != "FAIL"]
        for name in ("whole.db", "x.db")
    ]
    assert values[0] == values[1]
    assert len(values[0]) == 11
    out, err = ended(tune(*options))  # which has nothing left to try
    assert "resuming after 11 trials of 11" in err
    assert out.splitlines()[-1] == whole.splitlines()[-1]


def test_two_runs_of_tune_share_a_study(fm, tune):
    options = (*QUICK, "--strategy", "random", "--trials", 8, "--study", "x.db")
    runs = [tune(*options, "-o", name) for name in ("a.fm", "b.fm")]
    out = [ended(run)[0] for run in runs]
    assert counted(fm.folder / "x.db") == 8
    params = [str(trial.params) for trial in trials(fm.folder / "x.db") if trial.state.name != "FAIL"]
    assert len(set(params)) == 8
    assert fm.read("a.fm") == fm.read("b.fm")
    assert again(fm, out[0], "a.fm")


def test_ctrl_c_publishes_the_best_model_so_far(fm, tune):
    study = fm.folder / "x.db"
    process = tune(*QUICK, "--trials", 10**6, "--study", study, "-o", "best.fm", "--jobs", 2)
    wait_for(lambda: counted(study) >= 2)
    process.send_signal(signal.SIGINT)
    out, err = ended(process, 130)
    assert "interrupted; the model is that of the best trial so far" in last_line(err)
    assert again(fm, out)
    assert not list((fm.folder / "temporary").iterdir())
    assert {trial.state.name for trial in trials(study)} <= {"COMPLETE", "PRUNED", "FAIL"}


@linux
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -9, None)],
)
def test_a_search_ended_before_any_trial_publishes_nothing(fm, tune, number, code, word):
    process = tune(*ENDLESS, "-o", "best.fm", "--jobs", 2, "--report", "page.html")
    wait_for(lambda: len(children(process)) == 2)
    time.sleep(0.3)
    workers = children(process)
    process.send_signal(number)
    _, err = ended(process, code)
    assert word is None or last_line(err) == f"fm: {word}; no file was written or replaced"
    wait_for(lambda: not any(alive(worker) for worker in workers))
    assert not {"best.fm", "page.html"} & set(fm.files())
    assert word is None or not list((fm.folder / "temporary").iterdir())


def alive(process):
    """Return whether a process runs, and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@linux
def test_a_tuning_worker_that_dies_is_replaced(fm, tune):
    process = tune("--range", "num_factors=2:9", "--epochs", 300, "--trials", 3, "--study", "x.db", "-o", "best.fm")
    wait_for(lambda: children(process))
    os.kill(children(process)[0], signal.SIGKILL)
    out, _ = ended(process)
    found = trials(fm.folder / "x.db")
    problems = [trial.user_attrs.get("problem") for trial in found]
    assert sorted(problems, key=str) == [None, None, "its process died"]  # whichever it had begun by then
    assert "1 diverged or failed" in out
    assert again(fm, out)


def test_a_search_survives_diverged_trials(fm, tune):
    options = ("--epochs", 3, "--optimizer", "sgd", "--strategy", "grid", "-o", "best.fm")
    out, _ = ended(tune(*options, "--choice", "linear_lr=0.1,1e30"))
    assert "2 to the end, 1 diverged or failed" in out
    _, err = ended(tune(*options, "--choice", "linear_lr=1e30,1e31"), 5)
    assert "none of 2 trials ended with a model; the last one: the loss is not finite" in err


def test_a_search_ends_at_its_timeout(fm, tune):
    _, err = ended(tune(*ENDLESS, "--timeout", 1, "-o", "best.fm"), 2)
    assert "no trial has ended within 1 seconds" in err
    assert "best.fm" not in fm.files()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("x.svm",), "rows to judge by"),
        (("x.svm", "--test", "x.svm", "--cv", 2), "two ways to judge"),
        (("x.svm", "--cv", 3), "at least as many training rows; there are 2"),
        (("x.svm", "--cv", 2, "--early-stopping-patience", 1), "early_stopping_patience"),
        (("x.svm", "--cv", 2, "--refit"), "--refit trains on the test rows too"),
        (("x.svm", "--test", "x.svm", "--validation-fraction", 0.5), "a search has its own"),
        (("-", "--cv", 2), "can be read once"),
        (("x.svm", "--test", "x.svm", "--objective", "test:rmse"), "does not fit"),
        (("x.svm", "--test", "one.svm", "--objective", "test:auc"), "both classes"),
        (("x.svm", "--test", "x.svm", "--range", "epochs=5:2"), "below the high one"),
        (("x.svm", "--test", "x.svm", "--range", "epochs=1:2", "--epochs", 1), "both a value and a range"),
        (("x.svm", "--test", "x.svm", "--range", "epochs=1:2", "--choice", "epochs=1"), "two ranges or lists"),
        (("x.svm", "--test", "x.svm", "--study", "one.svm"), "not an SQLite file"),
        (("x.svm", "--test", "x.svm", "--study", "x.svm"), "would replace"),
        (("x.svm", "--test", "x.svm", "--study", "./best.fm"), "named for two outputs"),
    ],
)
def test_searches_that_cannot_be_made_are_refused(fm, arguments, problem):
    fm.write("x.svm", "1 0:1\n0 1:1\n")
    fm.write("one.svm", "1 0:1\n")
    assert problem in fm("tune", *arguments, *CLASSES, "-o", "best.fm", code=2).err
    assert fm.files() == ["one.svm", "x.svm"]


@pytest.mark.parametrize(("missing", "options"), [("optuna", ()), ("plotly", ("--report", "page.html"))])
def test_tune_without_its_packages_prints_how_to_install_them(fm, missing, options):
    fm.write("x.svm", "1 0:1\n0 1:1\n")
    words = ["tune", "x.svm", "--cv", "2", *CLASSES, "-o", "best.fm", *options]
    source = f"import sys; sys.modules[{missing!r}] = None; from fmcli.main import run; run({words})"
    err = fm.python(source, code=2).err
    assert f"{missing}, which" in err
    assert "pip install 'fmkit[tune]'" in err
    assert fm.files() == ["x.svm"]


def test_help_of_tune_imports_nothing_heavy(fm):
    source = (
        "import sys; from fmcli.main import exit_code; exit_code(['tune', '--help']); "
        "assert not {'optuna', 'sqlalchemy', 'plotly', 'pyarrow'} & set(sys.modules)"
    )
    assert "--strategy" in fm.python(source).out


def test_tune_shows_a_progress_bar_with_the_best_value(fm):
    fm.write("x.svm", libsvm_rows(60, 1))
    code, out, shown = at_a_terminal(
        fm.folder, "tune", "x.svm", "--cv", 2, *CLASSES, *QUICK, "--trials", 2, "--seed", 1, "-o", "best.fm"
    )
    assert code == 0
    assert "tuning" in shown
    assert "2/2" in shown
    assert "best 0." in shown
    assert b"the same model again" in out

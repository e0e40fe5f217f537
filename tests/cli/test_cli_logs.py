"""`fm train --log-format jsonl`, a JSON object a line, for programs that watch; and what all logs report alike."""

import json
import re

import pytest
from fits import train
from rows import random_rows, small_model

from fmcli.commands.train import LOGS
from fmcore.kernels import backend_for
from fmcore.model import file as modelfile
from fmcore.rows.dataset import Dataset
from fmcore.training.state import Control, State

CLASSIFIER = ("--predictor-type", "binary_classifier", "--log-format", "jsonl")


def lines(printed):
    return [json.loads(line) for line in printed.splitlines()]


def test_json_log_reports_settings_then_each_epoch_as_in_metrics_out(fm, world):
    printed = fm(
        "train",
        world.train,
        "--test",
        world.test,
        *CLASSIFIER,
        "--epochs",
        3,
        "--early-stopping-patience",
        2,
        "-o",
        "x.fm",
        "--metrics-out",
        "x.jsonl",
        "--threads",
        1,
    ).err
    job, *epochs, best = lines(printed)
    model = modelfile.load(fm.folder / "x.fm")
    assert job == {
        "rows": 400,
        "non_zeros": 1601,
        "feature_dim": 20,
        "in_memory": True,
        "mini_batch_size": 6,
        "model_bytes": 4 * 20 * 17 + 4,
        "memory_bytes": job["memory_bytes"],
        "backend": job["backend"],
        "threads": 1,
    }
    assert job["memory_bytes"] > job["model_bytes"]
    assert epochs == lines(fm.read("x.jsonl").decode())
    assert best == {"best_epoch": model.info["best_epoch"]}


def test_json_log_remarks_are_objects_and_errors_are_not(fm):
    fm.write("x.svm", "1 0:1\n0 1:1\n7 3:1\n")
    printed = fm("train", "x.svm", *CLASSIFIER, "--on-error", "skip", "--epochs", 1, "-o", "x.fm").err
    job, skipped, count, epoch = lines(printed)
    assert (job["rows"], epoch["epoch"]) == (2, 1)
    assert skipped["remark"].startswith("skipped: x.svm, line 3: label 7")
    assert count == {"remark": "rows skipped: 1"}
    printed = fm("train", "x.svm", *CLASSIFIER, "-o", "y.fm", code=3).err
    assert printed.startswith("fm: x.svm, line 3: label 7")


def test_quiet_json_log_is_silent(fm, world):
    assert fm("train", world.train, *CLASSIFIER, "--epochs", 1, "-q", "-o", "x.fm").err == ""


@pytest.mark.parametrize("log_format", LOGS)
def test_every_log_reports_resuming_and_stopping(log_format, capsys):
    class Resumed(Control):
        def begin(self, model, dataset, *, tested):
            return State(model, [{"epoch": 1, "train": {"logloss": 0.5}}])

    model, backend, asked = small_model(epochs=4), backend_for("cpu"), iter([False, True])
    data = Dataset(lambda: [random_rows()], model.hyperparameters, backend.prepare, 1e9).load()
    log = LOGS[log_format]([])
    log.loaded(data, model, backend)
    log.finish(train(model, data, backend, observer=log, control=Resumed(asked.__next__)))
    printed = capsys.readouterr().err.splitlines()
    marks = {"table": "{}", "jsonl": '{{"remark": "{}"}}', "sagemaker": "] {}"}
    places = [
        next(n for n, line in enumerate(printed) if line.endswith(marks[log_format].format(text)))
        for text in ("resuming after epoch 1", "stopped in epoch 3 after 0 rows")
    ]
    epoch_2 = next(n for n, line in enumerate(printed) if re.search(r'"epoch": 2|^ +2 |epoch=1, train', line))
    assert places[0] < epoch_2 < places[1]

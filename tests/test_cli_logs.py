"""`fm train --log-format jsonl`: a JSON object a line, for programs that watch."""
import json

from fmcore import modelfile

CLASSIFIER = ("--predictor-type", "binary_classifier", "--log-format", "jsonl")


def lines(said):
    return [json.loads(line) for line in said.splitlines()]


def test_what_is_trained_then_each_epoch_as_metrics_out_has_it(fm, world):
    said = fm("train", world.train, "--test", world.test, *CLASSIFIER, "--epochs", 3, "--early-stopping-patience", 2,
              "-o", "x.fm", "--metrics-out", "x.jsonl", "--threads", 1).err
    job, *epochs, best = lines(said)
    model = modelfile.load(fm.folder / "x.fm")
    assert job == {"rows": 400, "non_zeros": 1601, "feature_dim": 20, "in_memory": True, "mini_batch_size": 16,
                   "model_bytes": 4 * 20 * 9 + 4, "backend": job["backend"], "threads": 1}
    assert epochs == lines(fm.read("x.jsonl").decode())
    assert best == {"best_epoch": model.info["best_epoch"]}


def test_remarks_are_objects_and_errors_are_not(fm):
    fm.write("x.svm", "1 0:1\n0 1:1\n7 3:1\n")
    said = fm("train", "x.svm", *CLASSIFIER, "--on-error", "skip", "--epochs", 1, "-o", "x.fm").err
    job, skipped, count, epoch = lines(said)
    assert (job["rows"], epoch["epoch"]) == (2, 1)
    assert skipped["remark"].startswith("skipped: x.svm, line 3: label 7 in a classification")
    assert count == {"remark": "rows skipped: 1"}
    said = fm("train", "x.svm", *CLASSIFIER, "-o", "y.fm", code=3).err
    assert said.startswith("fm: x.svm, line 3: label 7 in a classification")


def test_quiet_is_silent(fm, world):
    assert fm("train", world.train, *CLASSIFIER, "--epochs", 1, "-q", "-o", "x.fm").err == ""

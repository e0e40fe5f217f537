"""SageMaker's contract, section 7: log lines, as users' metric definitions read them."""

import itertools
import json
import re

import numpy as np
import pytest
from fits import train
from rows import random_rows, small_model
from scipy.special import expit
from sklearn import metrics as judge

from fmcli.sagemaker_log import SageMakerLog
from fmcore.kernels import backend_for
from fmcore.rows import blocks
from fmcore.rows.dataset import Dataset

KINDS = {
    "regressor": {"rmse": "loss", "mse": "loss", "absolute_loss": "loss"},
    "binary_classifier": {
        "binary_classification_accuracy": "score",
        "binary_classification_cross_entropy": "loss",
        "binary_f_1.000": "score",
    },
}
PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d INFO \d+\] "
TRAIN, BATCHES, SIZE, INTERVAL = 150, 16, 10, 3  # rows; mini-batches in blocks of 64, 64 and 22 rows; ...


def expressions(name, kind):
    """Return the expressions of the contract for one metric, as a metric definition holds them."""
    name = re.escape(name)
    return {
        "test": rf"#quality_metric: host=\S+, test {name} <{kind}>=(\S+)",
        "batch": rf"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train {name} <{kind}>=(\S+)",
        "epoch": rf"#quality_metric: host=\S+, epoch=\S+, train {name} <{kind}>=(\S+)",
    }


PROGRESS = r"#progress_metric: host=\S+, completed (\S+) %"
THROUGHPUT = r"#throughput_metric: host=\S+, train throughput=(\S+) records/second"


def judged(name, labels, scores, weights=None):
    """Return scikit-learn's metrics of raw scores."""
    labels, scores = np.float64(labels), np.float64(scores)
    said = {
        "rmse": lambda: judge.mean_squared_error(labels, scores, sample_weight=weights) ** 0.5,
        "mse": lambda: judge.mean_squared_error(labels, scores, sample_weight=weights),
        "absolute_loss": lambda: judge.mean_absolute_error(labels, scores, sample_weight=weights),
        "binary_classification_accuracy": lambda: judge.accuracy_score(labels, scores >= 0, sample_weight=weights),
        "binary_classification_cross_entropy": lambda: judge.log_loss(
            labels, expit(scores), labels=[0, 1], sample_weight=weights
        ),
        "binary_f_1.000": lambda: judge.f1_score(labels, scores >= 0, sample_weight=weights, zero_division=0),
    }
    return said[name]()


class Spied(SageMakerLog):
    """The log, and for each epoch the rows that it was called with, in the order of training."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seen = {}

    def block(self, epoch, block, turns, scores):
        super().block(epoch, block, turns, scores)
        for m in turns:
            rows = slice(block.starts[m], block.starts[m + 1])
            weights = np.ones(len(block.batch)) if block.batch.weights is None else block.batch.weights
            self.seen.setdefault(epoch, []).append((block.batch.labels[rows], scores[rows], weights[rows]))

    def until(self, epoch, batch):
        """Return labels, scores and weights of an epoch's rows, up to the end of a mini-batch."""
        return [np.concatenate(arrays) for arrays in zip(*self.seen[epoch][: batch + 1], strict=True)]


@pytest.fixture(params=KINDS)
def logged(request, monkeypatch, capsys):
    """Train two epochs over three blocks; return its predictor type, the log, the model and the lines."""
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    classes = request.param == "binary_classifier"
    rows, test = (random_rows(n, seed=n, classes=classes, weights=True) for n in (TRAIN, 40))
    rows.weights[:] = np.round(rows.weights)  # some are 0
    model = small_model(request.param, epochs=2, mini_batch_size=SIZE)
    object.__setattr__(model.hyperparameters, "batch_metrics_publish_interval", INTERVAL)
    backend, log = backend_for("cpu"), Spied([], host="algo-2")
    dataset = Dataset(lambda: [rows], model.hyperparameters, backend.prepare, 1e9).load()
    log.loaded(dataset, model, backend)
    trained = train(model, dataset, backend, test=lambda: [test], observer=log)
    log.finish(trained)
    return request.param, log, trained, test, capsys.readouterr().err.splitlines()


def found(lines, expression):
    """Return the numbers that an expression finds in the lines."""
    return [float(match[1]) for line in lines if (match := re.search(expression, line))]


def test_every_quality_line_has_the_metrics_of_scikit_learn_on_rows_so_far(logged):
    predictor_type, log, _, _, lines = logged
    due = [*range(0, BATCHES, INTERVAL)]
    for name, kind in KINDS[predictor_type].items():
        read = expressions(name, kind)
        expected = [judged(name, *log.until(epoch, batch)) for epoch in (0, 1) for batch in due]
        assert found(lines, read["batch"]) == pytest.approx(expected)
        expected = [judged(name, *log.until(epoch, BATCHES)) for epoch in (0, 1)]
        assert found(lines, read["epoch"]) == pytest.approx(expected)
        assert sum(len(labels) for labels, _, _ in log.seen[0]) == TRAIN


def test_the_test_lines_are_those_of_the_published_model(logged):
    predictor_type, _, model, test, lines = logged
    scores = backend_for("cpu").score(test, model)
    for name, kind in KINDS[predictor_type].items():
        expected = pytest.approx([judged(name, test.labels, scores, test.weights)])
        assert found(lines, expressions(name, kind)["test"]) == expected
        assert found(lines, rf"#test_score \(algo-2\) : \('{name}', (\S+)\)") == expected


def test_progress_and_throughput_lines_count_rows_and_epochs(logged):
    _, log, _, _, lines = logged
    assert found(lines, PROGRESS) == [50.0, 100.0]
    assert found(lines, THROUGHPUT) == [record["rows_per_second"] for record in log.records]


def test_all_log_lines_have_the_documented_order_and_punctuation(logged):
    predictor_type, _, _, _, lines = logged
    names = KINDS[predictor_type]
    quality = [f"#quality_metric: host=algo-2, WHERE {name} <{kind}>=N" for name, kind in names.items()]

    def at(where):
        return [line.replace("WHERE", where) for line in quality]

    expected = []
    for epoch, percent in ((0, "50.0"), (1, "100.0")):
        for batch in range(0, BATCHES, INTERVAL):
            expected += at(f"epoch={epoch}, batch={batch} train")
        expected += [
            *at(f"epoch={epoch}, train"),
            f"#progress_metric: host=algo-2, completed {percent} % of epochs",
            "#throughput_metric: host=algo-2, train throughput=N records/second",
        ]
    expected += [*at("train"), *(f"#test_score (algo-2) : ('{name}', N)" for name in names), *at("test")]
    *plain, epochs, times = lines
    assert all(re.match(PREFIX, line) for line in plain)
    plain = [re.sub(r"(?<==)\d+\.[\d.e-]+|(?<=', )\d+\.[\d.e-]+", "N", re.sub(PREFIX, "", line)) for line in plain]
    assert plain == expected
    check_metrics(epochs, times, epochs_done=2)


def check_metrics(epochs, times, *, epochs_done):
    """Check the lines that are JSON."""
    first, second = (json.loads(line.removeprefix("#metrics ")) for line in (epochs, times))
    assert list(first) == ["StartTime", "EndTime", "Dimensions", "Metrics"]
    assert re.fullmatch(r"algo-\d", first["Dimensions"].pop("Host"))
    assert first["Dimensions"] == {"Algorithm": "factorization-machines", "Operation": "training"}
    assert first["Metrics"] == {
        "epochs": {"sum": float(epochs_done), "count": 1, "min": epochs_done, "max": epochs_done}
    }
    assert second["Metrics"]["update.time"]["count"] == epochs_done
    assert first["StartTime"] == second["StartTime"] <= first["EndTime"] <= second["EndTime"]


def test_log_intervals_span_blocks_and_rows_of_weight_0_do_not_count(monkeypatch, capsys):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 7)  # mini-batches of 2, 2, 2 and 1 row
    rows = random_rows(21, weights=True)
    rows.weights[:7] = 0
    model = small_model(epochs=1, mini_batch_size=2)
    object.__setattr__(model.hyperparameters, "batch_metrics_publish_interval", 5)
    backend, log = backend_for("cpu"), Spied([])
    dataset = Dataset(lambda: [rows], model.hyperparameters, backend.prepare, 1e9).load()
    log.loaded(dataset, model, backend)
    train(model, dataset, backend, observer=log)
    said = capsys.readouterr().err
    assert list(dict.fromkeys(re.findall(r"batch=(\d+)", said))) == ["5", "10"]
    name = "binary_classification_cross_entropy"
    assert found(said.splitlines(), expressions(name, "loss")["batch"]) == pytest.approx(
        [judged(name, *log.until(0, batch)) for batch in (5, 10)]
    )


# ----------------------------------------------------------------------------------------------- on the command line
def kinds_of(said):
    """Return the subjects of the lines, each run of the same once."""
    words = {
        PREFIX + r"#quality_metric: host=algo-1, epoch=\d+, batch=": "batch",
        PREFIX + r"#quality_metric: host=algo-1, epoch=\d+, train": "epoch",
        PREFIX + r"#quality_metric: host=algo-1, train": "train",
        PREFIX + r"#quality_metric: host=algo-1, test": "test",
        PREFIX + "#test_score": "score",
        PREFIX + PROGRESS: "progress",
        PREFIX + THROUGHPUT: "throughput",
        "#metrics {": "metrics",
    }
    kinds = [next((word for start, word in words.items() if re.match(start, line)), line) for line in said.splitlines()]
    return [kind for kind, _ in itertools.groupby(kinds)]


EPOCH = ["batch", "epoch", "progress", "throughput"]


def test_the_command_line_writes_the_log_of_a_job(fm, world):
    options = ("--predictor-type", "regressor", "--pilot", "none", "--epochs", 2, "--log-format", "sagemaker")
    said = fm("train", world.ratings, *options, "--test", world.more_ratings, "-o", "x.fm").err
    assert kinds_of(said) == [*EPOCH, *EPOCH, "train", "score", "test", "metrics"]
    evaluated = json.loads(fm("eval", "x.fm", world.more_ratings, "--json").out)
    for name, ours in (("rmse", "rmse"), ("mse", "mse"), ("absolute_loss", "mae")):
        assert found(said.splitlines(), expressions(name, "loss")["test"]) == pytest.approx([evaluated[ours]])
    said = fm("train", world.ratings, *options, "-o", "y.fm").err
    assert kinds_of(said) == [*EPOCH, *EPOCH, "train", "metrics"]
    check_metrics(*said.splitlines()[-2:], epochs_done=2)
    assert fm("train", world.ratings, *options, "-q", "-o", "z.fm").err == ""
    assert fm.read("y.fm") == fm.read("z.fm")


def test_early_stopping_ends_the_log_with_the_lines_of_the_best_epoch(fm):
    fm.write("noise.svm", "".join(f"{n % 2} {n}:1\n" for n in range(40)))
    fm.write("test.svm", "".join(f"{1 - n % 2} {n}:1\n" for n in range(40)))
    said = fm(
        "train",
        "noise.svm",
        "--predictor-type",
        "binary_classifier",
        "--test",
        "test.svm",
        "--linear-lr",
        0.5,
        "--epochs",
        50,
        "--early-stopping-patience",
        2,
        "-o",
        "a.fm",
        "--log-format",
        "sagemaker",
    ).err
    said = said.splitlines()
    assert found(said, PROGRESS) == [2.0, 4.0, 6.0]
    evaluated = json.loads(fm("eval", "a.fm", "test.svm", "--json").out)
    name = "binary_classification_cross_entropy"
    read = expressions(name, "loss")
    assert found(said, read["test"]) == pytest.approx([evaluated["logloss"]])
    assert found(said, rf"host=algo-1, train {name} <loss>=(\S+)") == found(said, read["epoch"])[:1]


def test_log_remarks_have_a_prefix_and_errors_are_unchanged(fm):
    fm.write("x.csv", "label,a\n1,2\nx,3\n")
    options = ("--predictor-type", "binary_classifier", "--label-column", "label", "--log-format", "sagemaker")
    said = fm("train", "x.csv", *options, "-o", "x.fm", code=3).err.splitlines()
    assert re.fullmatch(PREFIX + "note: first line taken as the header", said[0])
    assert said[-1].startswith("fm: x.csv, row ")
    said = fm("train", "x.csv", *options, "--on-error", "skip", "-o", "x.fm").err
    assert re.search(PREFIX + "rows skipped: 1\n", said)

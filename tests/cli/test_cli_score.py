"""`fm eval` and `fm predict` as a user runs them: right numbers, kept order, every format in and out."""

import csv
import io
import json
import math
import subprocess

import numpy as np
import pytest
from shell import LIMIT, TABLE_OPTIONS, TEST_TABLE, TRAIN_TABLE, last_line, records
from sklearn import metrics

CLASSES = {
    "logloss": lambda y, p: metrics.log_loss(y, p.astype(float)),
    "accuracy": lambda y, p: metrics.accuracy_score(y, p >= 0.5),
    "f1": lambda y, p: metrics.f1_score(y, p >= 0.5),
    "auc": metrics.roc_auc_score,
}
NUMBERS = {
    "rmse": lambda y, p: metrics.mean_squared_error(y, p) ** 0.5,
    "mse": metrics.mean_squared_error,
    "mae": metrics.mean_absolute_error,
}
REQUESTS = [  # the four forms of an instance, the third row's features beyond the model's
    {"features": [1.5, 16.0]},
    {"data": {"features": {"values": [1.5, 16.0]}}},
    {"data": {"features": [1.5, 16.0]}},
    {"data": {"features": {"keys": [2, 182], "shape": [2000], "values": [1, 1]}}, "configuration": {}},
]
UNKNOWN = "non-zeros of features unknown to the model ignored: 1\n"


def labels(path):
    return np.array([float(line.split()[0]) for line in path.read_text().splitlines()])


def scores(text):
    return np.array(text.split(), float)


@pytest.mark.parametrize(
    ("model", "rows", "judges"), [("classifier", "test", CLASSES), ("regressor", "more_ratings", NUMBERS)]
)
def test_eval_agrees_with_scikit_learn_and_with_the_last_epoch(fm, world, model, rows, judges):
    model, rows = getattr(world, model), getattr(world, rows)
    found = json.loads(fm("eval", model, rows, "--json", "--threads", 1).out)
    assert list(found) == [*judges, "rows"]
    assert found.pop("rows") == len(labels(rows))
    predicted = scores(fm("predict", model, rows).out)
    assert found == {name: pytest.approx(judge(labels(rows), predicted), rel=1e-5) for name, judge in judges.items()}
    last = json.loads(fm("inspect", model, "--json").out)["info"]["epochs"][-1]
    assert found == pytest.approx(last["test"], rel=1e-6)  # trained on scaled features, so rounded otherwise
    lines = fm("eval", model, rows, "--threads", 3).out.splitlines()
    assert lines == [*(f"{name}: {value}" for name, value in found.items()), f"rows: {len(labels(rows))}"]


def test_eval_has_the_bits_of_the_last_epoch_where_neither_features_nor_labels_are_scaled(fm, world):
    fm(
        "train",
        world.ratings,
        "--test",
        world.more_ratings,
        "--predictor-type",
        "regressor",
        "--epochs",
        2,
        "--feature-scaling",
        "none",
        "--label-scaling",
        "none",
        "-o",
        "plain.fm",
    )
    last = json.loads(fm("inspect", "plain.fm", "--json").out)["info"]["epochs"][-1]
    assert json.loads(fm("eval", "plain.fm", world.more_ratings, "--json").out) == {**last["test"], "rows": 100}


def test_eval_of_one_class_has_no_auc(fm, world):
    done = fm("eval", world.classifier, "-", "--json", stdin="1 0:1\n1 1:1\n")
    assert json.loads(done.out)["auc"] is None
    assert "auc: none (one class only)\n" in fm("eval", world.classifier, "-", stdin="1 0:1\n").out


def test_eval_refuses_rows_without_usable_labels(fm, world):
    fm.write("a.svm", "")
    fm.write("b.svm", "# nothing\n")
    assert fm("eval", world.regressor, "a.svm", "b.svm", code=3).err == "fm: a.svm and the 1 after it: no rows\n"
    printed = fm("eval", world.regressor, "-", stdin='{"features": [1]}\n', code=3).err
    assert printed.startswith("fm: stdin, line 1: the row has no label, which training and metrics need; ")
    printed = fm("eval", world.classifier, "-", stdin="1 0:1\n4 0:1\n", code=3)
    assert printed.out == ""
    assert printed.err.startswith("fm: stdin, line 2: label 4; expected 0 and 1, or -1 and 1; ")
    printed = fm("eval", world.classifier, "-", "--on-error", "skip", stdin="1 0:1\n0 1:1\n4 0:1\n")
    assert printed.out.endswith("rows: 2\n")
    assert printed.err.endswith("rows skipped: 1\n")
    assert fm("eval", world.classifier, "-", "--positive-label", 4, stdin="1 0:1\n4 0:1\n").out.endswith("rows: 2\n")
    weightless = fm("eval", world.regressor, "-", stdin="1:0 0:1\n", code=3).err
    assert weightless == "fm: stdin: all rows have weight 0; metrics need a positive one\n"


def test_unknown_features_are_ignored_and_noted_in_scoring(fm, world):
    rows = "1 0:1 20:1 2:1\n0 1:1\n"
    for command in ("eval", "predict"):
        done = fm(command, world.classifier, "-", stdin=rows)
        assert done.err == UNKNOWN
        assert fm(command, world.classifier, "-", "-q", stdin=rows) == (0, done.out, "")
        done = fm(command, world.classifier, "-", "--unseen", "error", stdin="0 0:1\n" + rows, code=3)
        assert done == (3, "", "fm: stdin, line 2: index 20 is unknown to the model, whose feature_dim is 20\n")
    assert (
        fm("predict", world.classifier, stdin=rows).out
        == fm("predict", world.classifier, stdin="1 0:1 2:1\n0 1:1\n").out
    )


def test_predictions_keep_the_order_of_all_sources(fm, world):
    lines = world.test.read_text().splitlines(keepends=True)
    fm.write("a.svm", "".join(lines[:40]))
    whole = fm("predict", world.classifier, world.test).out
    assert fm("predict", world.classifier, "a.svm", "-", "--threads", 3, stdin="".join(lines[40:])).out == whole
    reverse = fm("predict", world.classifier, stdin="".join(reversed(lines))).out
    assert reverse.splitlines() == whole.splitlines()[::-1]
    assert fm("predict", world.classifier, world.test, "-o", "out.txt") == (0, "", "")
    assert fm.read("out.txt").decode() == whole


@pytest.fixture(scope="module")
def table_model(tmp_path_factory):
    from shell import Shell

    fm = Shell(tmp_path_factory.mktemp("table"))
    fm.write("train.csv", TRAIN_TABLE)
    fm(
        "train",
        "train.csv",
        *TABLE_OPTIONS,
        "--predictor-type",
        "binary_classifier",
        "--epochs",
        2,
        "-o",
        "table.fm",
        "--vocabulary",
        fm.folder / "v.tsv",
    )
    return fm.folder / "table.fm"


def rows_of(form, data):
    """Return (id, score, predicted_label) of predictions, read by what is not ours."""
    if form == "csv":
        return [
            (row["id"], float(row["score"]), int(row["predicted_label"]))
            for row in csv.DictReader(io.StringIO(data.decode()))
        ]
    if form in {"json", "jsonlines"}:
        rows = json.loads(data)["predictions"] if form == "json" else map(json.loads, data.splitlines())
        return [(row["id"], row["score"], row["predicted_label"]) for row in rows]
    found = [
        (row.uid, row.label["score"].float32_tensor.values, row.label["predicted_label"].float32_tensor.values)
        for row in records(data)
    ]
    return [(uid, score, int(label)) for uid, (score,), (label,) in found]


@pytest.mark.parametrize("form", ["csv", "json", "jsonlines", "recordio"])
def test_every_output_format_holds_ids_scores_and_labels(fm, table_model, form):
    done = fm("predict", table_model, "-", "--to", form, stdin=TEST_TABLE, binary=True)
    rows = rows_of(form, done.out)
    assert [row[0] for row in rows] == ["x", "y", "z"]
    expected = scores(fm("predict", table_model, "-", stdin=TEST_TABLE).out)
    assert np.array([row[1] for row in rows], np.float32).tolist() == expected.astype(np.float32).tolist()
    assert [row[2] for row in rows] == (expected >= 0.5).astype(int).tolist()
    assert done.err == "note: first line taken as the header\nunknown values in column city: 1\n"


def test_a_table_is_read_as_in_training_with_labels_of_any_kind_or_none(fm, table_model):
    want = fm("predict", table_model, "-", "-q", stdin=TEST_TABLE).out
    nonsense = TEST_TABLE.replace("no\n", "?\n").replace("yes\n", "\n")
    assert fm("predict", table_model, "-", "-q", stdin=nonsense).out == want
    without = "".join(line.rsplit(",", 2)[0] + "\n" for line in TEST_TABLE.splitlines())
    done = fm("predict", table_model, "-", stdin=without)
    assert done.out == want
    assert "note: the label column 'bought' is absent: rows are read without labels\n" in done.err
    printed = fm("predict", table_model, "-", "--unseen", "error", stdin=TEST_TABLE, code=3).err
    assert last_line(printed) == "fm: stdin, row 2, field city: the model holds no 'Lima'"
    printed = fm("predict", table_model, "-", "--vocabulary", "gone.tsv", stdin=TEST_TABLE, code=3).err
    assert printed == "fm: gone.tsv: cannot be read: No such file or directory\n"
    printed = fm("predict", table_model, "-", stdin="id,age\n1,2\n", code=3).err
    assert last_line(printed) == (
        "fm: stdin: column 'city' of the model is missing; the columns found are: 0 id, 1 age; --missing-columns zero reads "
        "rows without"
    )


@pytest.mark.parametrize("form", ["json", "jsonlines"])
def test_predict_answers_requests(fm, world, form):
    text = json.dumps({"instances": REQUESTS}) if form == "json" else "\n".join(map(json.dumps, REQUESTS))
    done = fm("predict", world.regressor, "--to", form, stdin=text)
    rows = json.loads(done.out)["predictions"] if form == "json" else list(map(json.loads, done.out.splitlines()))
    assert [list(row) for row in rows] == [["score"]] * 4
    assert done.err == UNKNOWN
    lines = "0 0:1.5 1:16\n" * 3 + "0 2:1\n"
    assert [row["score"] for row in rows] == scores(fm("predict", world.regressor, stdin=lines).out).tolist()
    bad = text.replace("[2, 182]", "[2, -1]")
    place = "row 4" if form == "json" else "line 4"
    printed = fm("predict", world.regressor, stdin=bad, code=3)
    assert printed.err == f"fm: stdin, {place}, field data.features.keys: key -1, expected 0 to 1999\n"


def test_predict_ignores_absent_and_invalid_labels(fm, world):
    want = fm("predict", world.classifier, stdin="0 0:1 2:1\n0 1:2\n").out
    assert fm("predict", world.classifier, stdin="7 0:1 2:1\n-3.5 1:2\n").out == want
    fm("convert", "-", "-o", "x.rec", "--format", "csv", "--no-header", "--ignore", 4, stdin="1,0,1,0,a\n0,2,,,b\n")
    assert fm("predict", world.classifier, "x.rec").out == want


@pytest.mark.parametrize(
    ("form", "nothing"),
    [
        ("text", ""),
        ("csv", "id,score,predicted_label\n"),
        ("json", '{"predictions":[]}\n'),
        ("jsonlines", ""),
        ("recordio", ""),
    ],
)
def test_no_rows_give_no_predictions(fm, world, form, nothing):
    assert fm("predict", world.classifier, "--to", form) == (0, nothing, "")


def test_a_broken_row_ends_predict_with_its_place_and_publishes_nothing(fm, world):
    fm.write("old.txt", "old")
    rows = "1 0:1\nyes 1:1\n1 2:1\n"
    fm("predict", world.classifier, "-o", "old.txt", stdin=rows, code=3)
    fm("predict", world.classifier, "-o", "new.txt.gz", stdin=rows, code=3)
    assert (fm.files(), fm.read("old.txt")) == (["old.txt"], b"old")
    done = fm("predict", world.classifier, "--on-error", "skip", stdin=rows)
    assert len(done.out.splitlines()) == 2
    assert done.err.startswith("skipped: stdin, line 2, field 1: found 'yes' where the label stands; ")


def test_an_index_base_given_in_training_is_kept(fm):
    fm("train", "-", "--predictor-type", "regressor", "--index-base", 1, "-o", "one.fm", stdin="1 1:1\n2 2:1\n")
    fm("train", "-", "--predictor-type", "regressor", "--index-base", 0, "-o", "zero.fm", stdin="1 0:1\n2 1:1\n")
    fm("train", "-", "--predictor-type", "regressor", "-o", "auto.fm", stdin="1 0:1\n2 1:1\n")
    one, zero, auto = (
        fm("predict", model, stdin=rows)
        for model, rows in (("one.fm", "0 2:1\n"), ("zero.fm", "0 1:1\n"), ("auto.fm", "0 1:1\n"))
    )
    assert one == zero == auto
    assert fm("predict", "one.fm", "--index-base", 0, stdin="0 1:1\n").out == one.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "MODEL", "big.svm"),
        ("predict", "MODEL", "big.svm", "--to", "csv"),
        ("convert", "big.svm", "-o", "-", "--to", "libsvm"),
        ("convert", "big.svm", "-o", "-"),
    ],
)
def test_a_reader_that_leaves_ends_predict_quietly(fm, world, arguments):
    fm.write("big.svm", "0 0:1 2:1\n1 25:1\n" * 60_000)
    process = fm.start(*(world.classifier if word == "MODEL" else word for word in arguments), stdin=subprocess.DEVNULL)
    assert process.stdout.read(4)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(LIMIT) == 0
    process.stderr.close()


def test_scores_are_probabilities_or_numbers(fm, world):
    probabilities = scores(fm("predict", world.classifier, world.test).out)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    numbers = scores(fm("predict", world.regressor, world.test).out)
    assert (numbers < 0).any()
    assert all(map(math.isfinite, numbers))

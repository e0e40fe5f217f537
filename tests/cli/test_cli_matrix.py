"""What a model knows of its rows, against what it is given: one test a cell of the table in docs/formats.md."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet
from shell import Shell

ROWS = [(0.5, "a", 2.0, 1), (1.5, "b", 1.0, 0), (2.5, "a", 0.5, 1), (0.25, "c", 4.0, 0), (3.5, "b", 3.0, 1)] * 8
NAMES = ("x", "site", "y", "click")
NUMBERS = ("x", "y", "z")


def table(names, rows, *, header=True, comma=","):
    lines = [comma.join(names)] if header else []
    return "\n".join([*lines, *(comma.join(map(str, row)) for row in rows)]) + "\n"


def picked(rows, *places):
    return [tuple(row[place] for place in places) for row in rows]


def named(rows, names=NAMES):
    lines = (json.dumps({"features": dict(zip(names, row, strict=True))}) for row in rows)
    return "\n".join(lines) + "\n"


FILES = {
    "header": table(NAMES, ROWS),
    "reordered": table(("click", "y", "site", "x"), picked(ROWS, 3, 2, 1, 0)),
    "extra": table((*NAMES, "more"), [(*row, "z") for row in ROWS]),
    "no label": table(NAMES[:3], picked(ROWS, 0, 1, 2)),
    "no feature": table(("x", "y", "click"), picked(ROWS, 0, 2, 3)),
    "no header": table(NAMES, ROWS, header=False),
    "no header, no label": table(NAMES, picked(ROWS, 0, 1, 2), header=False),
    "no header, more": table((*NAMES, "more"), [(*row, "z") for row in ROWS], header=False),
    "no ignored": table(("site", "y", "click"), picked(ROWS, 1, 2, 3)),
    "no header, fewer": table(NAMES, picked(ROWS, 0, 3), header=False),
    "names": named(ROWS),
    "names, no feature": named(picked(ROWS, 0, 2), ("x", "y")),
    "numbers": table(NUMBERS, [(1, 2, 3), (0.5, 0, 1)]),
    "numbers, no header": table(NUMBERS, [(1, 2, 3), (0.5, 0, 1)], header=False),
    "numbers, more": table((*NUMBERS, "more"), [(1, 2, 3, 4), (0.5, 0, 1, 4)], header=False),
    "numbers, fewer": table(NUMBERS, [(1, 2), (0.5, 1)], header=False),
    "libsvm": "1 0:1 1:2 2:3\n0 0:0.5 2:1\n",
    "libffm": "1 0:0:1 1:1:2 2:2:3\n0 0:0:0.5 2:2:1\n",
    "libsvm beyond": "1 0:1 99:2\n",
    "keys": '{"features": {"keys": [0, 1, 2], "values": [1, 2, 3]}}\n{"features": {"keys": [0, 2], "values": [0.5, 1]}}\n',
    "keys, list": '{"features": [1, 2, 3, 4, 5]}\n',
    "keys, shape": '{"features": {"keys": [0, 1], "values": [1, 2], "shape": [5]}}\n',
    "keys, short list": '{"features": [1, 2, 3]}\n',
    "keys, other shape": '{"features": {"keys": [0, 1], "values": [1, 2], "shape": [9]}, "id": "a"}\n',
    "keys beyond": '{"features": {"keys": [99], "values": [1]}}\n',
}
SUFFIXES = {
    "libsvm": "svm",
    "libffm": "ffm",
    "recordIO": "rec",
    "Parquet": "parquet",
    "keys": "jsonl",
    "names": "jsonl",
}
MODELS = {
    "named": ("header", ("--label-column", "click", "--buckets", "none")),
    "numbered": ("no header", ("--label-column", "3", "--no-header", "--buckets", "none")),
    "bucketed": ("header", ("--label-column", "click", "--buckets", "2")),
    "indices": ("libsvm", ()),
    "ignoring": ("header", ("--label-column", "click", "--ignore", "x")),
}


def path_of(folder, given):
    suffix = next((SUFFIXES[kind] for kind in SUFFIXES if given.startswith(kind)), "csv")
    path = folder / f"{given.replace(', ', '-').replace(' ', '-')}.{suffix}"
    if given == "Parquet":
        parquet.write_table(pa.table(dict(zip(NAMES, zip(*ROWS, strict=True), strict=True))), path)
    elif given == "recordIO":
        Shell(folder)("convert", path_of(folder, "libsvm"), "-o", path)
    else:
        path.write_text(FILES[given])
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    fm = Shell(folder)
    for name, (given, options) in MODELS.items():
        rows = path_of(folder, given)
        fm(
            "train",
            rows,
            *options,
            "--predictor-type",
            "binary_classifier",
            "--epochs",
            "2",
            "-o",
            folder / f"{name}.fm",
        )
    return folder


def predicted(models, model, given, *options, code=0):
    done = Shell(models)("predict", models / f"{model}.fm", path_of(models, given), *options, code=code)
    return done.out, done.err


# model, given, options; the scores of which file they must be equal to
SAME = [
    ("named", "header", (), "header"),
    ("named", "reordered", (), "header"),
    ("named", "Parquet", (), "header"),
    ("named", "extra", (), "header"),
    ("ignoring", "no ignored", (), "header"),
    ("named", "no label", (), "header"),
    ("named", "names", (), "header"),
    ("named", "no header", ("--by-position",), "header"),
    ("named", "no header, no label", ("--by-position",), "header"),
    ("named", "keys", (), "keys"),
    ("named", "libsvm", ("--by-position",), "keys"),
    ("named", "libffm", ("--by-position",), "keys"),
    ("named", "recordIO", ("--by-position",), "keys"),
    ("numbered", "no header", (), "no header"),
    ("numbered", "no header, no label", (), "no header"),
    ("numbered", "header", ("--by-position",), "no header"),
    ("numbered", "keys", (), "keys"),
    ("numbered", "libsvm", ("--by-position",), "keys"),
    ("bucketed", "reordered", (), "header"),
    ("bucketed", "Parquet", (), "header"),
    ("bucketed", "names", (), "header"),
    ("bucketed", "no header, no label", ("--by-position",), "header"),
    ("indices", "libsvm", (), "libsvm"),
    ("indices", "keys", (), "libsvm"),
    ("indices", "libffm", (), "libsvm"),
    ("indices", "recordIO", (), "libsvm"),
    ("indices", "numbers", ("--by-position",), "libsvm"),
    ("indices", "numbers, no header", ("--by-position",), "libsvm"),
]
# model, given, options, exit code, what the message has
REFUSED = [
    ("named", "no feature", (), 3, "column 'site' of the model is missing"),
    ("named", "names, no feature", (), 3, "column 'site' of the model is missing"),
    ("named", "no header", (), 2, "has no header, but columns are known by name"),
    ("named", "no header, fewer", ("--by-position",), 3, "2 columns; by position it must have 4"),
    ("named", "libsvm", (), 2, "has indices instead of columns"),
    ("named", "libffm", (), 2, "has indices instead of columns"),
    ("named", "recordIO", (), 2, "has indices instead of columns"),
    ("named", "libsvm beyond", ("--by-position",), 3, "index 99 is none of the 5 features"),
    ("named", "keys beyond", (), 3, "index 99 is none of the 5 features"),
    ("named", "keys, short list", (), 3, "3 features, expected 5 as the columns of training made"),
    ("named", "keys, other shape", (), 3, "9 features, expected 5 as the columns of training made"),
    ("numbered", "header", (), 2, "has a header, but the rows of training had none"),
    ("numbered", "names", (), 2, "by number alone"),
    ("numbered", "no header, fewer", (), 3, "2 columns; by position it must have 4"),
    ("numbered", "no header, more", (), 3, "5 columns; by position it must have 4"),
    ("numbered", "extra", ("--by-position",), 3, "5 columns; by position it must have 4"),
    ("numbered", "Parquet", (), 2, "has a header, but the rows of training had none"),
    ("numbered", "libsvm", (), 2, "has indices instead of columns"),
    ("numbered", "keys beyond", (), 3, "index 99 is none of the 5 features"),
    ("bucketed", "keys", (), 2, "has indices instead of columns, but columns are known by name"),
    ("bucketed", "keys, list", (), 2, "has indices instead of columns"),
    ("bucketed", "libsvm", (), 2, "has indices instead of columns"),
    ("bucketed", "keys, list", ("--by-position",), 3, "5 features, expected 9 as the columns of training made"),
    ("bucketed", "keys beyond", ("--by-position",), 3, "index 99 is none of the 9 features"),
    ("indices", "header", (), 2, "is a table, but features are known by index"),
    ("indices", "numbers, no header", (), 2, "is a table, but features are known by index"),
    ("indices", "names", (), 2, "is a table, but features are known by index"),
    ("indices", "Parquet", (), 2, "is a table, but features are known by index"),
    ("indices", "numbers, more", ("--by-position",), 3, "by position there must be 3"),
    ("indices", "numbers, fewer", ("--by-position",), 3, "by position there must be 3"),
    ("indices", "header", ("--by-position",), 3, "4 feature columns; by position there must be 3"),
]


@pytest.mark.parametrize(("model", "given", "options", "as_well_as"), SAME)
def test_rows_that_match_are_scored(models, model, given, options, as_well_as):
    scores, _ = predicted(models, model, given, *options)
    assert scores == predicted(models, model, as_well_as)[0]
    assert len(set(scores.split())) > 1


@pytest.mark.parametrize(("model", "given", "options", "code", "message"), REFUSED)
def test_rows_that_do_not_match_are_refused(models, model, given, options, code, message):
    scores, said = predicted(models, model, given, *options, code=code)
    assert not scores
    assert message in said


def test_by_position_indices_are_features_and_buckets_count(models):
    (models / "whole.jsonl").write_text('{"features": [0.5, 1, 0, 2, 1, 0, 1, 0, 0]}\n')
    (models / "row.csv").write_text("x,site,y\n0.5,a,2\n")
    whole, row = (
        Shell(models)("predict", models / "bucketed.fm", models / name, "--by-position", "--quiet").out
        for name in ("whole.jsonl", "row.csv")
    )
    assert whole == row


@pytest.mark.parametrize("given", ["keys, list", "keys, shape"])
def test_requests_by_index_may_state_all_features(models, given):
    assert len(predicted(models, "named", given)[0].split()) == 1


def test_a_column_that_is_missing_can_count_as_empty(models):
    scores, said = predicted(models, "named", "no feature", "--missing-columns", "zero")
    assert len(scores.split()) == len(ROWS)
    assert "missing count as empty: site" in said


def test_columns_that_the_model_does_not_know_are_named_once(models):
    _, said = predicted(models, "named", "extra")
    assert said.count("columns that the model does not know are ignored: more") == 1


@pytest.mark.parametrize(("given", "code"), [("reordered", 0), ("no feature", 3), ("no header", 2), ("libsvm", 2)])
@pytest.mark.parametrize("command", ["eval", "warm start", "test rows", "tune"])
def test_every_command_matches_columns(models, tmp_path, command, given, code):
    known, rows, out = models / "named.fm", path_of(models, given), tmp_path / "out.fm"
    train = ("--label-column", "click", "--predictor-type", "binary_classifier", "-o", out)
    commands = {
        "eval": ("eval", known, rows),
        "warm start": ("train", rows, "--init-model", known, "-o", out),
        "test rows": ("train", path_of(models, "header"), "--test", rows, *train),
        "tune": ("tune", path_of(models, "header"), "--test", rows, "--trials", "1", *train),
    }
    Shell(tmp_path)(*commands[command], code=code)

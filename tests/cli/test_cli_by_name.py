"""A model knows its columns by name: whatever their order, format and company, the same rows give the same bytes."""

import random

import pyarrow as pa
import pytest
from named import NAMES, OPTIONS, TRAINING, as_csv, as_json, as_jsonlines, frame
from pyarrow import parquet
from shell import Shell, last_line

ROWS, TEST = frame(), frame(25, 2)
SHUFFLED = random.Random(3).sample(NAMES, len(NAMES))
FEATURES = ("price", "site", "genres", "when")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a Shell in a folder with a model trained on CSV, and its predictions for test rows."""
    fm = Shell(tmp_path_factory.mktemp("named"))
    fm.write("train.csv", as_csv(ROWS))
    fm.write("test.csv", as_csv(TEST))
    fm("train", "train.csv", *OPTIONS, *TRAINING, "-o", "m.fm")
    fm("predict", "m.fm", "test.csv", "-o", "expected.csv")
    return fm


def parquet_of(fm, name, rows, names=NAMES):
    kinds = {"genres": pa.list_(pa.string()), "price": pa.float64(), "bought": pa.int64(), "weight": pa.float64()}
    parquet.write_table(
        pa.table({n: pa.array([row[n] for row in rows], kinds.get(n, pa.string())) for n in names}), fm.folder / name
    )
    return name


def written(fm, kind, rows, names=NAMES):
    """Write the rows in that format; return the file's name."""
    name = f"rows.{kind}"
    if kind == "parquet":
        return parquet_of(fm, name, rows, names)
    made = {
        "csv": lambda: as_csv(rows, names),
        "tsv": lambda: as_csv(rows, names, "\t"),
        "json": lambda: as_json(rows, names),
        "jsonl": lambda: as_jsonlines(rows, names),
    }
    fm.write(name, made[kind]())
    return name


FORMATS = ("csv", "tsv", "parquet", "json", "jsonl")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("names", [NAMES, SHUFFLED], ids=["in order", "shuffled"])
def test_every_format_trains_the_same_model_file(home, tmp_path, kind, names):
    fm = Shell(tmp_path)
    fm("train", written(fm, kind, ROWS, NAMES), *OPTIONS, *TRAINING, "-o", "x.fm")
    assert fm.read("x.fm") == home.read("m.fm")
    fm("predict", "x.fm", written(fm, kind, TEST, names), "-o", "x.csv")
    assert fm.read("x.csv") == home.read("expected.csv")


@pytest.mark.parametrize("kind", FORMATS)
def test_reordered_columns_are_evaluated_to_the_same_metrics(home, tmp_path, kind):
    fm = Shell(tmp_path)
    expected = home("eval", "m.fm", "test.csv", "--json").out
    assert fm("eval", home.folder / "m.fm", written(fm, kind, TEST, SHUFFLED), "--json").out == expected


def test_reordered_columns_warm_start_and_test_to_the_same_bytes(home, tmp_path):
    fm = Shell(tmp_path)
    fm.write("train.csv", as_csv(TEST))
    fm.write("shuffled.csv", as_csv(TEST, SHUFFLED))
    for name in ("train", "shuffled"):
        options = ("--init-model", home.folder / "m.fm", "--test", f"{name}.csv", "--epochs", 2)
        fm("train", f"{name}.csv", *options, "-o", f"{name}.fm", "--quiet")
    assert fm.read("train.fm") == fm.read("shuffled.fm")
    assert fm("inspect", "shuffled.fm", "--json").out == fm("inspect", "train.fm", "--json").out


def test_several_files_of_one_training_are_matched_by_name(home, tmp_path):
    fm = Shell(tmp_path)
    fm.write("a.csv", as_csv(ROWS[:30]))
    fm.write("b.csv", as_csv(ROWS[30:], SHUFFLED))
    fm("train", "a.csv", "b.csv", *OPTIONS, *TRAINING, "-o", "x.fm")
    assert fm.read("x.fm") == home.read("m.fm")


def test_columns_that_are_no_features_may_be_missing_and_others_are_ignored(home, tmp_path):
    fm = Shell(tmp_path)
    fm.write("few.csv", as_csv(TEST, ("id", *FEATURES)))
    found = fm("predict", home.folder / "m.fm", "few.csv", "-o", "few.out.csv")
    assert fm.read("few.out.csv") == home.read("expected.csv")
    fm.write("more.csv", as_csv([{**row, "extra": 7} for row in TEST], (*SHUFFLED, "extra")))
    found = fm("predict", home.folder / "m.fm", "more.csv", "-o", "more.out.csv")
    assert found.err.count("columns that the model does not know are ignored: extra") == 1
    assert fm.read("more.out.csv") == home.read("expected.csv")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_feature_column_is_refused_by_name(home, tmp_path, kind):
    fm = Shell(tmp_path)
    name = written(fm, kind, TEST, tuple(name for name in NAMES if name != "site"))
    for command in ("predict", "eval"):
        printed = last_line(fm(command, home.folder / "m.fm", name, code=3).err)
        assert "column 'site' of the model is missing" in printed
    printed = fm("train", name, "--init-model", home.folder / "m.fm", "-o", "x.fm", code=3).err
    assert "column 'site' of the model is missing" in last_line(printed)
    printed = fm("train", home.folder / "train.csv", *OPTIONS, *TRAINING, "--test", name, "-o", "x.fm", code=3).err
    assert "column 'site' of the model is missing" in last_line(printed)
    assert fm.files() == [name]


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_columns_may_count_as_empty(home, tmp_path, kind):
    fm = Shell(tmp_path)
    fm.write("empty.csv", as_csv([{**row, "site": None} for row in TEST]))
    expected = fm("predict", home.folder / "m.fm", "empty.csv").out
    name = written(fm, kind, TEST, tuple(name for name in NAMES if name != "site"))
    assert fm("predict", home.folder / "m.fm", name, "--missing-columns", "zero").out == expected


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_tables_without_a_header_are_taken_by_position_alone(home, tmp_path, kind):
    fm = Shell(tmp_path)
    delimiter = "," if kind == "csv" else "\t"
    fm.write(f"bare.{kind}", as_csv(TEST, NAMES, delimiter, header=False))
    model = home.folder / "m.fm"
    printed = fm("predict", model, f"bare.{kind}", "--no-header", code=2).err
    assert "has no header, but columns are known by name (price, site, genres, when)" in last_line(printed)
    fm("predict", model, f"bare.{kind}", "--no-header", "--by-position", "-o", "x.csv")
    assert fm.read("x.csv") == home.read("expected.csv")
    fm.write(f"bare.{kind}", as_csv(TEST, NAMES[:3], delimiter, header=False))
    printed = fm("predict", model, f"bare.{kind}", "--no-header", "--by-position", code=3).err
    assert "3 columns; by position it must have 8, as the rows of training, or 4" in last_line(printed)


def test_rows_with_indices_are_refused_by_a_model_of_columns_and_the_reverse(home, tmp_path, world):
    fm = Shell(tmp_path)
    fm.write("rows.svm", "1 0:1 3:2\n")
    fm.write("rows.jsonl", '{"features": {"keys": [0], "values": [1]}}\n')
    fm.write("rows.csv", "a,b\n1,2\n")
    fm("convert", "rows.svm", "-o", "rows.rec")
    for name in ("rows.svm", "rows.rec", "rows.jsonl"):
        printed = fm("predict", home.folder / "m.fm", name, code=2).err
        assert f"{name} has indices instead of columns" in last_line(printed)
        assert fm("predict", home.folder / "m.fm", name, "--by-position").out
    by_index = fm("predict", home.folder / "m.fm", "rows.jsonl", "--by-position").out
    assert by_index == fm("predict", home.folder / "m.fm", "rows.jsonl", "--by-position").out
    printed = fm("predict", world.classifier, "rows.csv", code=2).err
    assert "rows.csv is a table, but features are known by index instead of columns" in last_line(printed)
    printed = fm("predict", world.classifier, "rows.csv", "--by-position", code=3).err
    assert "2 feature columns; by position there must be 20 numeric ones" in last_line(printed)


def test_a_model_of_recordio_made_from_a_table_is_not_given_the_table(home, tmp_path):
    """Its label would be read as feature 0."""
    fm = Shell(tmp_path)
    fm.write("x.csv", "y,a,b\n" + "1,2,3\n0,1,5\n" * 9)
    fm("convert", "x.csv", "-o", "x.rec", "--label-column", "y")
    fm("train", "x.rec", *TRAINING, "-o", "m.fm")
    assert "features are known by index" in last_line(fm("predict", "m.fm", "x.csv", code=2).err)
    printed = fm("predict", "m.fm", "x.csv", "--by-position", code=3).err
    assert "3 feature columns; by position there must be 2" in last_line(printed)
    expected = fm("predict", "m.fm", "x.rec").out
    assert fm("predict", "m.fm", "x.csv", "--by-position", "--label-column", "y").out == expected


def test_options_that_contradict_the_model_are_refused(home, tmp_path):
    fm, model = Shell(tmp_path), home.folder / "m.fm"
    fm.write("v.tsv", "index\tcolumn\tvalue\n")
    table = home.folder / "test.csv"
    for options, expected in (
        (("--numeric", "site"), "column 'site' is numeric by the options, but categorical in the model"),
        (("--hash-bits", 4), "--hash-bits is 4, but the model lists values"),
        (("--label-column", "price"), "column 'price' is a feature of the model, so it cannot be the label"),
    ):
        assert expected in last_line(fm("eval", model, table, *options, code=2).err)
        printed = fm("train", table, "--init-model", model, *options, "-o", "x.fm", code=2).err
        assert expected in last_line(printed)
    assert fm("eval", model, table, *OPTIONS).out == fm("eval", model, table).out


def test_the_vocabulary_is_inside_the_model(home, tmp_path):
    """Another one at the path that training named changes nothing."""
    fm = Shell(tmp_path)
    fm.write("train.csv", as_csv(ROWS))
    fm.write("test.csv", as_csv(TEST))
    fm("train", "train.csv", *OPTIONS, *TRAINING, "--vocabulary", "v.tsv", "-o", "x.fm")
    assert fm.read("x.fm") == home.read("m.fm")
    lines = fm.read("v.tsv").decode().splitlines()
    own = 1 + sum(line.split("\t")[1].startswith(("price", "when")) for line in lines)
    permuted = [
        *lines[:own],
        *(f"{own - 1 + n}\t{line.split(chr(9), 1)[1]}" for n, line in enumerate(lines[: own - 1 : -1])),
    ]
    fm.write("v.tsv", "\n".join(permuted) + "\n")
    fm("predict", "x.fm", "test.csv", "-o", "x.csv")
    assert fm.read("x.csv") == home.read("expected.csv")
    printed = fm("predict", "x.fm", "test.csv", "--vocabulary", "v.tsv", code=2).err
    assert "the vocabulary v.tsv is not the one that the model holds" in last_line(printed)
    (fm.folder / "v.tsv").unlink()
    fm("predict", "x.fm", "test.csv", "-o", "x.csv")
    assert fm.read("x.csv") == home.read("expected.csv")


def test_lists_of_parquet_are_those_of_text_where_a_separator_is_given(home, tmp_path):
    fm = Shell(tmp_path)
    options = [option for option in OPTIONS if option not in ("--lists", "genres:|")]
    fm("train", written(fm, "parquet", ROWS), *options, *TRAINING, "-o", "x.fm")
    found = {kind: fm("predict", "x.fm", written(fm, kind, TEST), "--to", "csv").out for kind in ("parquet", "jsonl")}
    assert set(found.values()) == {home.read("expected.csv").decode()}
    assert fm("predict", "x.fm", written(fm, "csv", TEST), "--to", "csv", "--lists", "genres:|").out == found["jsonl"]


def test_hashed_features_are_matched_by_name_too(tmp_path):
    fm = Shell(tmp_path)
    fm.write("train.csv", as_csv(ROWS))
    fm.write("test.csv", as_csv(TEST))
    fm.write("shuffled.jsonl", as_jsonlines(TEST, SHUFFLED))
    fm("train", "train.csv", *OPTIONS, *TRAINING, "--hash-bits", 12, "-o", "x.fm")
    assert (
        fm("predict", "x.fm", "test.csv", "--to", "csv").out
        == fm("predict", "x.fm", "shuffled.jsonl", "--to", "csv").out
    )


def test_rare_values_are_dropped_where_asked(tmp_path):
    fm = Shell(tmp_path)
    fm.write("train.csv", as_csv(ROWS))
    options = [option for option in TRAINING if option != "--quiet"]
    printed = fm("train", "train.csv", *OPTIONS, *options, "--min-count", 12, "--vocabulary", "v.tsv", "-o", "x.fm").err
    rows = {(name, value) for row in ROWS for name in ("site",) for value in [row[name]] if value}
    counts = {value: sum(row["site"] == value for row in ROWS) for _, value in rows}
    counts |= {value: sum(value in row["genres"] for row in ROWS) for value in ("Action", "Comedy", "War")}
    kept = {value for value, count in counts.items() if count >= 12}
    assert 0 < len(kept) < len(counts)
    assert f"values in at least 12 rows are features: {len(kept)} of {len(counts)}" in printed
    lines = [line.split("\t") for line in fm.read("v.tsv").decode().splitlines()[1:]]
    assert {value for _, column, value in lines if column in ("site", "genres")} == kept
    again = fm("train", "train.csv", "--init-model", "x.fm", "--vocabulary", "v.tsv", "-o", "y.fm").err
    assert "values in at least 12 rows" in again
    assert [line.split("\t") for line in fm.read("v.tsv").decode().splitlines()[1:]] == lines

"""CSV predictions: ids are those of the input whatever is left out, and columns are those that the user names."""

import csv
import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet
from shell import TABLE_OPTIONS, TRAIN_TABLE, last_line

BAD_SVM = "# comment\n1 0:1\n\n1 x:1\n0 1:1\nyes\n0 2:1\n# end\n1 y\n"  # rows 1, 3, 5 are good of 6
BAD_JSONL = '{"features": [1]}\n\n{"features": "no"}\n{"features": [0, 1]}\n'  # rows 1, 3 of 3
BAD_JSON = json.dumps({"instances": [{"features": [1]}, {"features": "no"}, {"features": [0, 1]}, {}]})  # 1, 3 of 4
BAD_CSV = "a,b\n1,2\n\nx,2\n3,4\n1,2,3\n5,6\nx,1\n"  # rows 1, 3, 5 of 6
PLAIN = "".join(f"0 {n % 20}:1\n" for n in range(4))


def ids(text):
    return [row["id"] for row in csv.DictReader(io.StringIO(text))]


@pytest.fixture(scope="module")
def numeric(tmp_path_factory):
    """Return a model of two numeric columns, a and b."""
    from shell import Shell

    fm = Shell(tmp_path_factory.mktemp("numeric"))
    fm.write("x.csv", "y,a,b\n1,2,3\n0,1,1\n")
    fm("train", "x.csv", "--label-column", "y", "--predictor-type", "regressor", "-o", "m.fm", "-q")
    return fm.folder / "m.fm"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("x.svm", BAD_SVM, [1, 3, 5]),
        ("x.ffm", "1 0:0:1\n1 0:x:1\n1 0:1:1\n", [1, 3]),
        ("x.jsonl", BAD_JSONL, [1, 3]),
        ("x.json", BAD_JSON, [1, 3]),
    ],
)
def test_ids_are_those_of_the_input_where_rows_are_left_out(fm, world, name, content, wanted, threads):
    fm.write(name, content)
    fm.write("good.svm", PLAIN)
    total = {"x.svm": 6, "x.ffm": 3, "x.jsonl": 3, "x.json": 4}[name]
    options = ("--on-error", "skip", "--to", "csv", "--threads", threads, "-q")
    assert ids(fm("predict", world.regressor, name, *options).out) == [str(n) for n in wanted]
    expected = [1, 2, 3, 4, *(4 + n for n in wanted), *(4 + total + n for n in range(1, 5))]
    found = ids(fm("predict", world.regressor, "good.svm", name, "good.svm", *options).out)
    assert found == [str(n) for n in expected]


def test_ids_of_tables_are_those_of_the_input(fm, numeric):
    fm.write("x.csv", BAD_CSV)
    fm.write("x.tsv", BAD_CSV.replace(",", "\t"))
    table = pa.table({"a": ["1", "x", "3", "x", "5", "x"], "b": ["2"] * 6})
    parquet.write_table(table, fm.folder / "x.parquet")
    options = ("--on-error", "skip", "--to", "csv", "-q", "--threads", 2)
    for name in ("x.csv", "x.tsv", "x.parquet"):
        assert ids(fm("predict", numeric, name, *options).out) == ["1", "3", "5"]
    found = ids(fm("predict", numeric, "x.csv", "x.parquet", "x.tsv", *options).out)
    assert found == [str(start + n) for start in (0, 6, 12) for n in (1, 3, 5)]


def test_ids_of_named_requests_are_those_of_the_input(fm, numeric):
    good, bad = '{"features": {"a": 1, "b": 2}}', '{"features": {"a": "x", "b": 2}}'
    fm.write("x.jsonl", f'{good}\n\n{bad}\n{good}\n\n{{"features": {{"a": 1}}}}\n{good}\n{bad}')  # 1, 3, 5 of 6
    fm.write("x.json", f'{{"instances": [{good}, {bad}, {good}]}}')
    found = fm("predict", numeric, "x.jsonl", "x.json", "x.jsonl", "--on-error", "skip", "--to", "csv", "-q").out
    assert ids(found) == ["1", "3", "5", "7", "9", "10", "12", "14"]


def test_ids_of_records_are_those_of_the_input(fm, world):
    from fmcore.io.recordio.record_message import record_class

    def framed(payload):
        return bytes.fromhex("0a23d7ce") + len(payload).to_bytes(4, "little") + payload + bytes(-len(payload) % 4)

    good = record_class()()
    good.features["values"].float32_tensor.values[:] = [1.0, 2.0]
    fm.write("x.rec", b"".join(map(framed, [good.SerializeToString(), b"\xff", good.SerializeToString()])))
    found = fm("predict", world.regressor, "x.rec", "x.rec", "--on-error", "skip", "--to", "csv", "-q").out
    assert ids(found) == ["1", "3", "4", "6"]


def test_ids_are_the_same_for_any_size_of_pieces(fm, world):
    rows = "".join(f"1 {n % 20}:1\n" if n % 7 != 3 else "x\n" for n in range(300_000))
    fm.write("x.svm", rows)
    found = ids(fm("predict", world.regressor, "x.svm", "--on-error", "skip", "--to", "csv", "-q").out)
    assert found == [str(n + 1) for n in range(300_000) if n % 7 != 3]


def test_ids_given_by_the_rows_stay(fm, world):
    rows = '{"id": "a", "features": [1]}\n{"features": 0}\n{"features": [1]}\n'
    assert ids(fm("predict", world.regressor, "--on-error", "skip", "--to", "csv", stdin=rows).out) == ["a", "3"]
    lines = fm("predict", world.regressor, "--on-error", "skip", "--to", "jsonlines", stdin=rows).out.splitlines()
    assert [json.loads(line).get("id") for line in lines] == ["a", None]


@pytest.mark.parametrize(
    ("columns", "head", "pick"),
    [
        ("id=PassengerId,score=Survived", "PassengerId,Survived", (0, 1)),
        ("predicted_label=Survived", "Survived", (2,)),
        ("score,id", "score,id", (1, 0)),
        ("predicted_label=y, id = Passenger Id ,score=p", "y,Passenger Id,p", (2, 0, 1)),
        ('id="a, b",score="say ""p"""', '"a, b","say ""p"""', (0, 1)),
    ],
)
def test_columns_are_those_that_the_user_names(fm, world, columns, head, pick):
    plain = list(csv.reader(io.StringIO(fm("predict", world.classifier, "--to", "csv", stdin=PLAIN).out)))[1:]
    fm("predict", world.classifier, "-o", "s.csv", "--columns", columns, stdin=PLAIN)
    lines = fm.read("s.csv").decode().splitlines()
    assert lines[0] == head
    assert list(csv.reader(lines[1:])) == [[row[place] for place in pick] for row in plain]


def test_columns_hold_ids_of_the_input(fm, tmp_path):
    fm.write("x.csv", TRAIN_TABLE)
    fm("train", "x.csv", *TABLE_OPTIONS, "--hash-bits", 4, "--predictor-type", "binary_classifier", "-o", "m.fm", "-q")
    found = fm("predict", "m.fm", "x.csv", "--to", "csv", "--columns", "predicted_label=y,id=Id", "-q").out
    assert [row.split(",")[1] for row in found.splitlines()] == ["Id", "a", "b", "c", "d"]
    rows = "1,Rome,1,yes\nx,Rome,1,no\n3,Oslo,1,no\n"
    fm.write("noid.csv", "age,city,weight,bought\n" + rows)
    options = ("--on-error", "skip", "--to", "csv", "--columns", "score=s,id=n", "-q")
    fm(
        "train",
        "noid.csv",
        *TABLE_OPTIONS[:8],
        "--numeric",
        "age",
        "--hash-bits",
        4,
        "--predictor-type",
        "regressor",
        "-o",
        "n.fm",
        *options[:2],
        "-q",
    )
    assert [row.split(",")[1] for row in fm("predict", "n.fm", "noid.csv", *options).out.splitlines()] == [
        "n",
        "1",
        "3",
    ]


def test_no_rows_give_the_head_alone(fm, world):
    assert fm("predict", world.classifier, "--to", "csv", "--columns", "score=p").out == "p\n"


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("classifier", ("--columns", "id=a"), "columns are chosen of CSV, but text is written; add --to csv, or "),
        ("classifier", ("--columns", "id=a", "-o", "s.json"), "columns are chosen of CSV, but json is written; "),
        (
            "regressor",
            ("--columns", "predicted_label=a", "--to", "csv"),
            "these predictions have no column 'predicted_",
        ),
        (
            "classifier",
            ("--columns", "label=a", "--to", "csv"),
            "predictions have no column 'label'; expected id, score",
        ),
        ("classifier", ("--columns", "id=a,score=a", "--to", "csv"), "two columns are named 'a'; expected one name a "),
        ("classifier", ("--columns", "", "--to", "csv"), "found ''; expected such as id=PassengerId,score=Survived"),
        ("classifier", ("--columns", "id=", "--to", "csv"), "found 'id='; expected such as "),
        ("classifier", ("--columns", "id= ,score", "--to", "csv"), "found 'id= ,score'; expected such as "),
        ("classifier", ("--columns", "id=a,,score=b", "--to", "csv"), "found 'id=a,,score=b'; expected such as "),
        ("classifier", ("--columns", "id=a,", "--to", "csv"), "found 'id=a,'; expected such as "),
        ("classifier", ("--columns", 'id="a', "--to", "csv"), "found 'id=\"a'; expected such as "),
    ],
)
def test_columns_that_cannot_be_written_are_refused(fm, world, model, arguments, message):
    printed = fm("predict", getattr(world, model), *arguments, stdin=PLAIN, code=2)
    assert message in last_line(printed.err)
    assert (printed.out, fm.files()) == ("", [])

import csv
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from encoders import hashing, names_of
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from scipy.sparse import csr_matrix
from shell import ROOT
from sklearn.preprocessing import OneHotEncoder

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.tables import codec as tables
from fmcore.io.tables import csvhead
from fmcore.io.tables import parquet as parquet_tables
from fmcore.io.text.utf8 import ValidUTF8
from fmcore.rows.batch import concatenate
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions
from fmcore.schema.texts import canonical

DATA = ROOT.parent / "shared" / "data"
ADULT = {"label": "14", "categorical": ("1", "3", "5", "6", "7", "8", "9", "13")}
READ_OPTIONS = {"on_error", "binary", "positive", "fields"}


def batches(data, format_name="csv", encoder=None, report=None, path=None, **options):
    general = {name: options.pop(name) for name in READ_OPTIONS & set(options)}
    read_options = ReadOptions(table=TableOptions(**options), **general)
    if encoder is None:
        encoder = Encoder()
    source = SimpleNamespace(name="t.csv", path=path)
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    return list(tables.read(source, stream, read_options, report or Report(), format_name, encoder=encoder))


def rows(data, *args, **kwargs):
    return concatenate(batches(data, *args, **kwargs))


def dense(batch, width):
    return csr_matrix(
        (np.ones(len(batch.indices)) if batch.values is None else batch.values, batch.indices, batch.indptr),
        (len(batch), width),
    ).toarray()


def failure(data, *args, **kwargs):
    with pytest.raises((DataError, UsageError)) as caught:
        batches(data, *args, **kwargs)
    return str(caught.value)


def shared(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not here")
    return path


# What becomes of the columns


def test_columns_take_roles_by_name():
    data = b"id,a,w,note,c,y\nr1,1.5,2,zz,x,1\n r2 ,0,0.5,,  y ,0\n,-3,1,q,x,1\n"
    encoder = Encoder()
    (batch,) = batches(data, encoder=encoder, label="y", weight="w", row_id="id", ignore=("note",), categorical=("c",))
    assert names_of(encoder) == ["a", "c=x", "c=y"]
    assert dense(batch, 3).tolist() == [[1.5, 1, 0], [0, 0, 1], [-3, 1, 0]]
    assert len(batch.indices) == 5
    assert batch.labels.tolist() == [1, 0, 1]
    assert batch.weights.tolist() == [2, 0.5, 1]
    assert batch.ids == ["r1", "r2", None]
    assert batch.origin[:3] == ("t.csv", "row", batch.origin.numbers)
    assert batch.origin.numbers.tolist() == [1, 2, 3]
    assert (batch.indptr.dtype, batch.indices.dtype) == (np.int64, np.int32)
    assert {a.dtype for a in (batch.values, batch.labels, batch.weights)} == {np.dtype(np.float32)}


def test_columns_take_roles_by_number_and_ones_need_no_values():
    (batch,) = batches(b"x\t1\ny\t0\n", "tsv", label="1", categorical=("0",))
    assert batch.indices.tolist() == [0, 1]
    assert batch.values is None
    assert batch.labels.tolist() == [1, 0]


def test_a_digit_string_is_a_number_unless_a_column_has_that_name():
    batch = rows(b"1,0\n5,6\n7,8\n", header=True, label="0")
    assert batch.labels.tolist() == [6, 8]
    assert rows(b"1,b\n5,6\n7,8\n", header=True, label="0").labels.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"label": "y", "ignore": ("y",)}, "column 'y' is named as label and as ignored; choose one (the columns"),
        ({"numeric": ("a",), "categorical": ("0",)}, "column 'a' is named as numeric and as categorical; choose one"),
        ({"categorical": ("d",)}, "no column 'd'; the columns found are: 0 a, 1 b, 2 y"),
        ({"ignore": ("3",), "label": "y"}, "no column '3'; the columns found are: 0 a, 1 b, 2 y"),
        ({"weight": "w"}, "no column 'w'; the columns found are: 0 a, 1 b, 2 y"),
        ({"row_id": "w", "label": "gone"}, "no column 'w'; the columns found are"),
        (
            {"ignore": ("a", "b"), "label": "y"},
            "no column is left to be a feature; the columns found are: 0 a, 1 b, 2 y",
        ),
    ],
)
def test_roles_that_do_not_fit_the_columns_are_refused(options, expected):
    assert failure(b"a,b,y\n1,2,3\n", **options).startswith(expected)


def test_column_names_that_are_not_unique_are_refused():
    data = b"a,a,y\n1,2,3\n"
    assert failure(data) == "two columns are named 'a': leave one out with --ignore 1, its number"
    assert failure(data, label="a").startswith("several columns are named 'a': give the number of the one meant")
    assert dense(rows(data, ignore=("1",), label="y"), 1).tolist() == [[1]]


def test_a_column_without_a_name_is_called_by_its_number():
    encoder = Encoder()
    rows(b",a\nx,1\n", encoder=encoder, categorical=("0",), header=True)
    assert names_of(encoder) == ["a", "0=x"]


def test_a_table_without_a_label_column_is_read_for_scoring():
    report = Report()
    batch = rows(b"a,b\n1,2\n", report=report, label="y", weight="w", binary=True)
    assert np.isnan(batch.labels).all()
    assert batch.weights is None
    assert "the label column 'y' is absent: rows are read without labels" in report.notes


# Header


@pytest.mark.parametrize(
    ("data", "options", "header"),
    [
        (b"a,b\n1,2\n", {}, True),
        (b"1,2\n3,4\n", {}, False),
        (b"1,\n3,4\n", {}, False),
        (b"x,1,0\n", {"categorical": ("0",), "label": "2"}, False),
        (b"a,b,y\nx,1,0\n", {"categorical": ("0",), "label": "2"}, True),
        (b"0,1,2\n3,4,5\n", {"header": True}, True),
        (b"u,p,r\nU1,135,2\n", {"categorical": ("0", "1"), "label": "2"}, True),
        (b"U1,135,2\nU2,136,1\n", {"categorical": ("0", "1"), "label": "2"}, False),
        (b"a,b\n", {"categorical": ("0", "1")}, True),
        (b'\n\n"a\nb",c\r\n1,2\r\n', {}, True),
        (b"\xef\xbb\xbfa,b\n1,2\n", {"label": "a"}, True),
        (b"a,b\r1,2\r", {}, True),
        # by all columns, of several rows
        (b"city,click\nA,1\nB,0\n", {"categorical": ("0",), "label": "1"}, True),
        (b"a,b,c\nx,,\nz,NA,\nw,5,\n", {"categorical": ("0", "1"), "ignore": ("2",)}, True),
        (b"A,NA\nB,1\nC,2\n", {"categorical": ("0",)}, False),
        (b"A,nan\nB,x\n", {"categorical": ("0", "1")}, False),
        (b"U1,135,x\nU2,y,z\n", {"categorical": ("0", "1", "2")}, False),
        (b",a\n0,x\n1,y\n", {"categorical": ("1",), "ignore": ("0",), "header": True}, True),
        (b",a,b\n0,x,5\n1,y,6\n", {"categorical": ("1",)}, True),
        (b",\n1,2\n", {}, False),
        (b"a,b\n" + b"1,x\n" * 18 + b"?,x\n2,x\n", {"categorical": ("0", "1")}, True),
        # by names, where the first line holds one
        (b"user,item\nA,B\n", {"categorical": ("user", "item")}, True),
        (b"country,1990,1991\nFR,1,2\n", {"categorical": ("country",)}, True),
        (b" user ,item\nA,B\n", {"categorical": ("user",), "ignore": ("1",)}, True),
    ],
)
def test_a_header_is_detected_from_the_first_line(data, options, header):
    report = Report()
    read = batches(data, report=report, **options)
    if "header" not in options:
        assert report.notes[:1] == [
            "first line taken as the header" if header else "first line taken as data; columns are numbered from 0"
        ]
    total = sum(1 for row in csv.reader(io.StringIO(data.decode(), newline="")) if row)
    assert sum(map(len, read)) == total - header


def test_a_first_line_that_may_or_may_not_be_a_header_is_refused():
    data, options = b"a,b\nc,d\n", {"categorical": ("0", "1")}
    assert "give --header or --no-header" in failure(data, **options)
    assert len(rows(data, header=False, **options)) == 2
    assert len(rows(data, header=True, **options)) == 1
    mixed = b"a,b\nc,d\n12,e\n"  # a column with a number here and there is text
    assert "give --header or --no-header" in failure(mixed, **options)


def test_a_table_without_header_keeps_its_first_row_from_names():
    data = b"7,x,1\n8,y,0\n"
    assert "the columns found are: 0, 1, 2" in failure(data, label="click", categorical=("site",))
    report = Report()
    found = rows(data, report=report, label="click", categorical=("1",))
    assert len(found) == 2
    assert "first line taken as data; columns are numbered from 0" in report.notes


def read_head(data, report=None, **options):
    return csvhead.read_head(io.BytesIO(data), options.pop("sep", ","), TableOptions(**options), report or Report())


def test_a_sample_of_the_rows_is_taken(monkeypatch):
    head = read_head('a,b\n\n1, x \n1\n"2","y, ""z""\n"\n\u00e9,\xff\n3,'.encode(), header=True)
    assert (head.names, head.header) == (["a", "b"], True)
    assert head.sample == [["1", "x"], ["2", 'y, "z"'], ["\u00e9", "\xff"], ["3", ""]]
    head = read_head(b"\n1,x\n2,\xff\n")
    assert (head.names, head.header) == (["0", "1"], False)
    assert head.sample == [["1", "x"], ["2", "\ufffd"]]
    assert read_head(b"a\n1\n\n2\n").sample == [["1"], [""], ["2"]]
    assert read_head(b'a;b\n1;"x\n', sep=";", quotes=False).sample == [["1", '"x']]
    assert read_head(b"a,b\n").sample == []
    monkeypatch.setattr(csvhead, "SAMPLE", 3)
    assert read_head(b"a\n1\n2\n3\n4\n").sample == [["1"], ["2"], ["3"]]
    assert read_head(b"1\n2\n3\n4\n").sample == [["1"], ["2"], ["3"]]
    monkeypatch.setattr(csvhead, "LIMIT", 9)
    assert read_head(b"a,b\n1,2\n3,4\n").sample == [["1", "2"]]


@pytest.mark.parametrize("length", [131_072, 131_073, 900_000])
def test_long_fields_are_read_in_the_first_lines_as_in_later_ones(length):
    limit, encoder = csv.field_size_limit(), Encoder()
    long = b"x" * length
    batch = rows(b"a,c,d\n1," + long + b",y\n2,z," + long + b"\n", encoder=encoder, categorical=("c", "d"))
    assert len(batch) == 2
    assert names_of(encoder)[1] == "c=" + long.decode()
    assert failure(b"a," + long + b"\n1\n").endswith("row 1: 1 fields, expected 2 as in the first line")
    assert csv.field_size_limit() == limit


def test_a_first_line_with_text_among_numbers_is_data():
    data, encoder = b"39, State-gov,1\n40,Private,0\n", Encoder()
    assert len(rows(data, encoder=encoder, label="2")) == 2
    assert names_of(encoder) == ["0", "1=State-gov", "1=Private"]
    assert failure(data, label="2", numeric=("1",)) == (
        "t.csv, row 1, field 1: 'State-gov' is not a number: --categorical 1 or --ignore 1"
    )


def test_first_lines_that_cannot_be_parsed_are_refused(monkeypatch):
    assert failure(b"\xff,b\n1,2\n") == "t.csv: the header is not UTF-8"
    monkeypatch.setattr(csvhead, "LIMIT", 10)
    assert (
        failure(b"a,b,c,d,e,f,g,h\n1")
        == "t.csv: the first line is longer than 10 bytes; perhaps a quote is never closed"
    )
    assert dense(rows(b"a,b,ccc,d\n1,2,3,4\n"), 4).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_rows(data):
    report = Report()
    assert batches(data, report=report, label="y") == []
    assert report.notes == ["t.csv is empty"]


JOINED = {
    "numbers": (b"a,b\n1,2\n a , b \n3,4\n", {}),
    "numbers and texts": (b"a,c,z,y\n1,x,5,0\na,c,z,y\n2,c,6,1\n", {"categorical": ("c",), "label": "y"}),
    "texts": (b"c,d,y\nc,y,1\nc,d,y\nx,y,0\n", {"categorical": ("c", "d"), "label": "y", "header": True}),
    "ignored columns": (b"a,z,w\n1,2,1\na,other,w\n3,4,1\n", {"ignore": ("z",), "weight": "w"}),
    "without a name": (b",a,c\n1,1,x\n,a,c\n2,2,y\n", {"categorical": ("c",)}),
    "numbers as names": (b"a,2024,c\n1,1,x\na,2024,c\n2,2,y\n", {"categorical": ("c",)}),
    "marked": (b"\xef\xbb\xbfc,y\nx,1\n\xef\xbb\xbfc,y\nz,0\n", {"categorical": ("c",), "label": "y"}),
    "ids": (b"id,True,y\nq,x,1\nid,True,y\nr,z,0\n", {"row_id": "id", "categorical": ("True",), "label": "y"}),
}


@pytest.mark.parametrize("block", [1 << 20, 20])
@pytest.mark.parametrize("kind", JOINED)
def test_a_row_that_repeats_the_header_is_refused_or_left_out(monkeypatch, kind, block):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    data, options = JOINED[kind]
    message = failure(data, **options)
    assert message.startswith("t.csv, row 2: repeats the header: ")
    assert message.endswith("; perhaps two files were joined")
    report, encoder = Report(), Encoder()
    kept = batches(data, report=report, encoder=encoder, on_error="skip", **options)
    assert [number for batch in kept for number in batch.origin.numbers.tolist()] == [1, 3]
    assert report.counts["rows skipped"] == 1
    assert [str(error) for error in report.errors] == [message]


def test_a_row_that_holds_some_names_is_data():
    data = b"c,d,y\nc,d,1\nc,x,0\ny,d,1\n"
    assert len(rows(data, categorical=("c", "d"), label="y")) == 3
    assert "field a: 'a' is not a number" in failure(b"a,b\n1,2\na,2\n", numeric=("a",))
    assert "field y: label 'y' is not" in failure(b"c,y\nx,1\nz,y\n", categorical=("c",), label="y")
    assert len(rows(b"1,2\n1,2\n1,2\n", header=True)) == 2
    assert len(rows(b"c,d\nc,d\n", header=False, categorical=("0", "1"))) == 2


@pytest.mark.parametrize("block", [1 << 20, 16])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_a_blank_line_of_one_column_is_a_row(monkeypatch, ending, block):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)

    def read(data, **options):
        report = Report()
        found = batches(data.replace(b"\n", ending), report=report, **options)
        joined = concatenate(found)
        counts = np.diff(joined.indptr)
        numbers = [number for batch in found for number in batch.origin.numbers.tolist()]
        return [1.0 if n else 0.0 for n in counts], numbers

    assert read(b"a\n1\n\n\n2\n") == ([1, 0, 0, 1], [1, 2, 3, 4])
    assert read(b"a\n1\n\n") == ([1, 0], [1, 2])
    assert read(b"a\n\n", header=True) == ([0], [1])
    assert read(b"1\n\n2") == ([1, 0, 1], [1, 2, 3])
    assert read(b"a\n\nx\n\n", categorical=("a",), header=True) == ([0, 1, 0], [1, 2, 3])
    assert read(b"a,b\n\n1,2\n\n") == ([1], [1])
    assert failure(b"a\n1\n\n\nx\n2", numeric=("a",)).startswith("t.csv, row 4, field a: 'x'")
    assert failure(b'a\n1\n\n\n"x\n', header=True).startswith("t.csv, row 4: a quote opens")


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("delimiter", [";", "|", "\t", " ", ",", "\x01", "x"])
def test_a_delimiter_can_be_given(kind, delimiter):
    data = b'"a;b|,\t";c\n1,5;2\n'.replace(b"1,5", b"1.5").replace(b";", delimiter.encode())
    encoder = Encoder()
    batch = rows(data, kind, encoder=encoder, delimiter=delimiter, categorical=("c",))
    assert names_of(encoder) == [data[1:].split(b'"')[0].decode().strip(), "c=2"]
    assert batch.values.tolist() == [1.5, 1]
    assert failure(b"a" + delimiter.encode() + b"b\n1\n", kind, delimiter=delimiter) == (
        "t.csv, row 1: 1 fields, expected 2 as in the first line"
    )


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n", "\r", "\0", "\u00a7"])
def test_a_delimiter_that_cannot_be_is_refused(delimiter):
    assert failure(b"a;b\n1;2\n", delimiter=delimiter) == (
        f"--delimiter is {delimiter!r}; expected one ASCII character, no quote and no line end"
    )


# Fields


@pytest.mark.parametrize("text", [b"1.5", b" 1.5 ", b"+1.5", b"15e-1", b"1.5\t", b'"1.5"', b"1.50"])
def test_numbers_of_a_table_are_read_as_float32(text):
    assert rows(b"a,b\n" + text + b",1\n").values.tolist() == [1.5, 1]


@pytest.mark.parametrize("text", ["x", "1_0", "0x10", "1,5", "1.5.2", "--1", "\u0661", "1 2", "n.a.", "x\0"])
def test_texts_that_are_no_number_are_refused(text):
    data = f'a,b b\n1,2\n1,"{text}"\n'.encode()
    expected = f"t.csv, row 2, field b b: {text!r} is not a number: --categorical 'b b' or --ignore 'b b'"
    assert failure(data, numeric=("b b",)) == expected


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e39", "1e400"])
def test_numbers_of_a_table_must_be_finite(text):
    message = failure(f"a\n1\n{text}\n".encode())
    assert message.startswith("t.csv, row 2, field a: ")
    assert message.endswith("as feature value; expected a finite 32-bit number")


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_float32_values_survive_a_table(values):
    data = b"a\n" + "\n".join(map(repr, values)).encode() + b"\n"
    assert dense(rows(data), 1)[:, 0].tolist() == values


def test_missing_fields_of_a_table_are_no_feature_or_refused():
    data = b"a,c,y\n,,\n nan,  ,1\n2,x,0\n"
    batch = rows(data, categorical=("c",), label="y")
    assert batch.indptr.tolist() == [0, 0, 0, 2]
    np.testing.assert_array_equal(batch.labels, np.array([np.nan, 1, 0], np.float32))
    expected = "t.csv, row 1, field a: is empty; --missing zero reads it as no feature"
    assert failure(data, categorical=("c",), label="y", missing="error") == expected
    assert "row 1, field c: is empty" in failure(b"a,c\n1, \n", categorical=("c",), missing="error")


MISSING_DATA = b"id,a,c,y\nNA, NA ,NULL,1\nr2,nan,x,null\nr3,-nan,,0\nr4,2, NULL ,1\nr5,,n/a,\n"


def test_texts_that_mean_a_missing_value_are_missing_and_counted():
    report, encoder = Report(), Encoder()
    options = {"row_id": "id", "categorical": ("c",), "label": "y"}
    batch = rows(MISSING_DATA, encoder=encoder, report=report, **options)
    assert names_of(encoder) == ["a", "c=x"]
    assert dense(batch, 2).tolist() == [[0, 0], [0, 1], [0, 0], [2, 0], [0, 0]]
    np.testing.assert_array_equal(batch.labels, np.array([1, np.nan, 0, 1, np.nan], np.float32))
    assert batch.ids == ["NA", "r2", "r3", "r4", "r5"]
    assert report.counts == {
        "missing values 'NA' in column a": 1,
        "missing values 'nan' in column a": 1,
        "missing values '-nan' in column a": 1,
        "missing values 'NULL' in column c": 2,
        "missing values 'n/a' in column c": 1,
        "missing values 'null' in column y": 1,
    }
    assert report.notes[2:] == ["texts such as NA count as missing; --missing-values '' takes only empty fields"]


def test_counts_of_missing_values_add_up_over_blocks(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 64)
    report = Report()
    rows(b"a,c\n" + b"1,x\nNA,NA\n" * 100, report=report, categorical=("c",))
    assert report.counts == {"missing values 'NA' in column a": 100, "missing values 'NA' in column c": 100}


def test_texts_that_mean_a_missing_value_can_be_given():
    report, encoder = Report(), Encoder()
    data = b"a,c\n-999.0,NA\n1,?\n-999, ? \n2,7.0\n3,7\n"
    batch = rows(data, encoder=encoder, report=report, categorical=("c",), missing_values=("-999", "?", "7"))
    assert names_of(encoder) == ["a", "c=NA"]
    assert dense(batch, 2).tolist() == [[0, 1], [1, 0], [0, 0], [2, 0], [3, 0]]
    assert report.counts == {
        "missing values '-999' in column a": 2,
        "missing values '?' in column c": 2,
        "missing values '7' in column c": 2,
    }
    assert not any(note.startswith("texts such as") for note in report.notes)
    assert "field a: 'NA' is not a number" in failure(b"a,b\nNA,1\n", header=True, numeric=("a",), missing_values=())
    assert dense(rows(b"a,b\nnan,1\n", header=True, missing_values=("",)), 2).tolist() == [[0, 1]]


def test_a_missing_value_is_refused_where_none_may_be():
    message = failure(b"a,c\nNA,x\n", header=True, categorical=("c",), missing="error")
    assert message == "t.csv, row 1, field a: is empty; --missing zero reads it as no feature"
    assert "field c: is empty" in failure(b"a,c\n1,None\n", header=True, categorical=("c",), missing="error")
    assert "field w: no weight; expected" in failure(b"a,w\n1,NULL\n", weight="w")


def test_a_question_mark_is_a_categorical_value():
    encoder = Encoder()
    rows(b"a,c\n1, ?\n2,?\n", encoder=encoder, categorical=("c",))
    assert names_of(encoder) == ["a", "c=?"]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("-1", "-1 as weight; expected a finite number from 0 up"),
        ("", "no weight; expected a finite number"),
        ("inf", "inf as weight; expected a finite number"),
        ("x", "'x' is not a number"),
    ],
)
def test_invalid_weights_of_a_table_are_refused(weight, expected):
    message = failure(f"a,w\n1,2\n1,{weight}\n".encode(), weight="w")
    assert message.startswith(f"t.csv, row 2, field w: {expected}")


@pytest.mark.parametrize(
    ("options", "texts", "expected"),
    [
        ({}, ("1.5", "-2", "1e3"), [1.5, -2, 1000]),
        ({"binary": True}, ("1", "-1", " 1 "), [1, 0, 1]),
        ({"binary": True}, ("TRUE", "FALSE", "true"), [1, 0, 1]),
        ({"positive": ">50K"}, (" >50K", "<=50K", ">50K."), [1, 0, 0]),
        ({"binary": True, "positive": "2"}, ("2", "1", "2.0"), [1, 0, 1]),
    ],
)
def test_labels_of_a_table_are_mapped(options, texts, expected):
    data = "a,y\n" + "".join(f"1,{text}\n" for text in texts)
    assert rows(data.encode(), label="y", **options).labels.tolist() == expected


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "yes", "label 'yes' is not a finite number; name the label that means 1 with --positive-label"),
        (
            {"binary": True},
            "yes",
            "label 'yes' is not a finite number; name the label that means 1 with --positive-label",
        ),
        ({}, "inf", "label 'inf' is not a finite number"),
        ({}, "1e39", "label '1e+39' is not a finite number"),
        ({}, "1_0", "label '1_0' is not a finite number"),
        ({}, "\u0661", "label '\u0661' is not a finite number"),
        ({"binary": True}, "2", "label 2; expected 0 and 1, or -1 and 1"),
        ({"binary": True}, "-1", "label -1 beside label 0"),
    ],
)
def test_invalid_labels_of_a_table_are_refused(options, text, expected):
    message = failure(f"a,y\n1,0\n1,{text}\n".encode(), label="y", **options)
    assert message.startswith(f"t.csv, row 2, field y: {expected}")


# Bad rows

BAD = b"a,c,y\n1,x,0\n2,y\n3,\xff,1\n4,z\0,1\nq,x,1\n5,x,3\n\n6,x,no\n7,x,1,2\n1e39,x,1\n8,v,1\n9,u,-1\n10,x\n"
BAD_REASONS = {
    2: "2 fields, expected 3 as in the first line",
    3: "is not UTF-8, or",
    4: "is not UTF-8, or",
    5: "'q' is not a number",
    6: "label 3",
    7: "label 'no' is not a finite number",
    8: "4 fields, expected 3",
    9: "1e+39 as feature value",
    11: "label -1 beside label 0",
    12: "2 fields, expected 3",
}


@pytest.mark.parametrize("block", [16, 24, 1 << 20])
def test_bad_rows_of_a_table_can_be_skipped(monkeypatch, block):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    report, encoder = Report(), Encoder()
    report.skip = (errors := []).append
    batch_list = batches(
        BAD, report=report, encoder=encoder, numeric=("a",), categorical=("c",), label="y", binary=True, on_error="skip"
    )
    numbers = [int(number) for batch in batch_list for number in batch.origin.numbers]
    assert numbers == [1, 10]
    again = rows(BAD, numeric=("a",), categorical=("c",), label="y", binary=True, on_error="skip")
    assert again.labels.tolist() == [0, 1]
    found = {error.number: error.problem for error in errors}
    assert sorted(found) == sorted(BAD_REASONS)
    assert all(found[number].startswith(reason) for number, reason in BAD_REASONS.items())
    assert names_of(encoder) == ["a", "c=x", "c=v"]


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 9, 11])
def test_the_first_bad_row_of_a_table_is_named(number):
    lines = [line for line in BAD.splitlines() if line]
    whole = [line for line in lines[number:] if line.count(b",") == 2]
    message = failure(b"\n".join(lines[:2] + whole), numeric=("a",), categorical=("c",), label="y", binary=True)
    assert message.startswith("t.csv, row 2, field ")
    assert BAD_REASONS[number] in message


@pytest.mark.parametrize("number", [2, 8, 12])
def test_a_ragged_row_is_named(number):
    lines = BAD.splitlines()
    line = next(line for line in lines if len(line.split(b",")) != 3 and line)
    message = failure(b"\n".join([b"a,c,y", *[b"1,x,0"] * (number - 1), line, b"1,x,0"]), categorical=("c",), label="y")
    assert message == f"t.csv, row {number}: 2 fields, expected 3 as in the first line"


def test_a_ragged_row_that_is_not_utf8_is_named(capfd):
    report = Report()
    got = batches(b"a,b\n1,2\n\xff,3,4\n5\xe2\x82\n6,7\n", report=report, on_error="skip")
    assert [int(number) for batch in got for number in batch.origin.numbers] == [1, 4]
    assert [str(error) for error in report.errors] == [
        "t.csv, row 2: 3 fields, expected 2 as in the first line",
        "t.csv, row 3: 1 fields, expected 2 as in the first line",
    ]
    assert failure(b"a,b\n\xff,3,4\n") == "t.csv, row 1: 3 fields, expected 2 as in the first line"
    assert capfd.readouterr().err == ""  # where pyarrow reports an argument that it could not pass to its callback


@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\xff", b"\xe2\x82\xac", b"\xe2\x82", b"\xc3", b"\xed\xa0\x80", b"\0"])),
    st.integers(4, 9),
)
def test_each_byte_that_is_not_utf8_becomes_a_nul(parts, size):
    data = b"".join(parts)
    stream = ValidUTF8(io.BytesIO(data))
    got = b"".join(iter(lambda: stream.read(size), b""))
    assert got == re.sub("[\udc80-\udcff]", "\0", data.decode(errors="surrogateescape")).encode()
    assert len(got) == len(data)


@given(st.lists(st.sampled_from([b"1,2", b"3", b"4,5,6", b"", b"7,8"]), max_size=60), st.sampled_from([8, 12, 50]))
def test_row_numbers_count_skipped_ragged_rows(lines, block):
    kept = [line for line in lines if line]
    report, old = Report(), tables.BLOCK_BYTES
    tables.BLOCK_BYTES = block
    try:
        got = batches(b"a,b\n" + b"\n".join(lines), report=report, on_error="skip")
    finally:
        tables.BLOCK_BYTES = old
    numbers = [n for batch in got for n in batch.origin.numbers.tolist()]
    assert numbers == [n for n, line in enumerate(kept, 1) if line.count(b",") == 1]
    assert report.counts.get("rows skipped", 0) == len(kept) - len(numbers)


def test_a_table_row_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", 64)
    message = failure(b'a,c\n1,"' + b"x" * 500, categorical=("c",))
    assert message == "t.csv, row 1: a row is longer than 64 bytes; perhaps a quote is never closed"


def test_a_failing_stream_keeps_its_error(monkeypatch):
    monkeypatch.setattr(csvhead, "LIMIT", 8)
    monkeypatch.setattr(tables, "BLOCK_BYTES", 16)

    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 40:
                raise DataError("the gzip stream is damaged", source="t.csv.gz")
            return super().read(size)

    with pytest.raises(DataError, match="gzip stream is damaged"):
        batches(Broken(b"a,b\n" + b"1,2\n" * 100))


# The same rows, however they come


def mixed_table(count):
    rng = np.random.default_rng(5)
    return "a,c,d,y\n" + "".join(
        f'{rng.normal():.4g},"k,{rng.integers(5)}", d{rng.integers(50)} ,{rng.integers(2)}\n' for _ in range(count)
    )


@pytest.mark.parametrize("block", [64, 1000, 1 << 20])
@pytest.mark.parametrize("encoder", [Encoder, lambda: hashing(12)])
def test_block_size_of_a_table_changes_no_rows(monkeypatch, block, encoder):
    data, options = mixed_table(300).encode(), {"categorical": ("c", "d"), "label": "y", "binary": True}
    whole = rows(data, encoder=encoder(), **options)
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    monkeypatch.setattr(csvhead, "LIMIT", 50)
    parts = batches(data, encoder=encoder(), **options)
    joined = concatenate(parts)
    for name in ("indptr", "indices", "values", "labels"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    assert [n for part in parts for n in part.origin.numbers] == list(range(1, 301))
    assert len(parts) > 1 or block > 1000


def test_a_table_read_a_few_bytes_at_a_time_gives_the_same_rows():
    class Trickle(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    data, options = mixed_table(50).encode(), {"categorical": ("c", "d"), "label": "y"}
    assert rows(Trickle(data), **options).indices.tolist() == rows(data, **options).indices.tolist()


def test_a_table_reader_closed_early_ends_without_error():
    source = SimpleNamespace(name="t.csv", path=None)
    stream = io.BytesIO(b"a,b\n" + b"1,2\n" * 2_000_000)
    reader = tables.read(source, stream, ReadOptions(), Report(), "csv")
    assert len(next(reader)) > 0
    reader.close()
    stream.close()


def test_without_an_encoder_a_table_has_features_of_its_own():
    source = SimpleNamespace(name="t.csv", path=None)
    (batch,) = tables.read(source, io.BytesIO(b"a,c\n1,x\n2,y\n"), ReadOptions(), Report(), "csv")
    assert batch.indices.tolist() == [0, 1, 0, 2]


# Parquet


def to_parquet(path, **columns):
    parquet.write_table(pa.table(columns), path, row_group_size=7)
    return str(path)


def test_parquet_equals_csv(tmp_path):
    lines = list(csv.DictReader(io.StringIO(mixed_table(40))))
    path = to_parquet(
        tmp_path / "t.parquet",
        a=pa.array([float(line["a"]) for line in lines]),
        c=pa.array([line["c"] for line in lines]).dictionary_encode(),
        d=pa.array([line["d"] for line in lines]),
        y=pa.array([int(line["y"]) for line in lines], pa.int8()),
    )
    options = {"categorical": ("c", "d"), "label": "y", "binary": True}
    expected = rows(mixed_table(40).encode(), **options)
    parts = batches(b"", "parquet", path=path, **options)
    got = concatenate(parts)
    for name in ("indptr", "indices", "values", "labels"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    assert [n for part in parts for n in part.origin.numbers] == list(range(1, 41))


def test_parquet_columns_of_all_types_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_tables, "BLOCK_FIELDS", 9)  # one row a batch
    path = to_parquet(
        tmp_path / "t.parquet",
        i=pa.array([1, None, 2**60]),
        b=pa.array([True, False, None]),
        f=pa.array([1.5, float("nan"), 0], pa.float32()),
        s=pa.array([" 2 ", "", None]),
        dec=pa.array(["1.5", "2.5", None]).cast(pa.decimal128(5, 2)),
        none=pa.nulls(3),
        day=pa.array([1, 2, None], pa.date32()),
        num=pa.array([7, None, 7]),
        raw=pa.array([b"x", b" ", None]),
    )
    encoder = Encoder()
    kinds = {"numeric": ("b", "s"), "categorical": ("num",)}  # the others by their type
    parts = batches(b"", "parquet", path=path, encoder=encoder, **kinds)
    names = ["i", "b", "f", "s", "dec", "none", "day=1970-01-02", "num=7", "raw=x", "day=1970-01-03"]
    assert names_of(encoder) == names
    assert len(parts) == 3
    assert dense(concatenate(parts), 10).tolist() == [
        [1, 1, 1.5, 2, 1.5, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 2.5, 0, 0, 0, 0, 1],
        [2**60, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ]


def test_parquet_faults_are_named(tmp_path):
    path = to_parquet(
        tmp_path / "t.parquet",
        a=["1", "x"],
        t=pa.array([1, 2], pa.date32()),
        n=[[1], [2]],
        e=[1.0, np.inf],
        m=[1, None],
    )
    only = {"ignore": ("t", "n", "e"), "numeric": ("a",)}
    assert failure(b"", "parquet", path=path, **only).startswith("t.csv, row 2, field a: 'x' is not a number")
    assert "row 2, field e: inf as feature value" in failure(b"", "parquet", path=path, ignore=("a", "t", "n"))
    options = {"ignore": ("a", "t", "n", "e"), "missing": "error"}
    assert "row 2, field m: is empty" in failure(b"", "parquet", path=path, **options)
    assert failure(b"", "parquet", path=path, ignore=("n",), numeric=("t",)) == (
        "column 't' has the type date32[day], which is not a number: --categorical t or --ignore t"
    )
    assert failure(b"", "parquet", path=path, ignore=("t",), categorical=("n",)).startswith(
        "column 'n' has the type list<"
    )
    assert failure(b"", "parquet", path=path, categorical=("z",)).startswith(
        "no column 'z'; the columns found are: 0 a, 1 t, 2 n, 3 e, 4 m"
    )


def test_parquet_needs_a_regular_and_sound_file(tmp_path):
    expected = "t.csv: Parquet is read from its end, so it must be a regular file: write it to one first"
    assert failure(b"", "parquet") == expected
    assert failure(b"", "parquet", path=str(tmp_path)) == expected
    path = tmp_path / "t.parquet"
    whole = Path(to_parquet(path, a=list(range(100)))).read_bytes()
    for end in range(0, len(whole), 41):
        path.write_bytes(whole[:end])
        assert "t.csv: not a Parquet file that can be read: " in failure(b"", "parquet", path=str(path))


# Real data


def judge(lines, numeric, categorical):
    """Return dense rows by scikit-learn: numeric columns, then one-hot; and the one-hot names."""
    encoder = OneHotEncoder(sparse_output=False)
    one_hot = encoder.fit_transform([[line[p] for p in categorical] for line in lines])
    names = [f"{p}={value}" for p, values in zip(categorical, encoder.categories_, strict=True) for value in values]
    return np.hstack([np.array([[np.float32(line[p]) for p in numeric] for line in lines]), one_hot]), names


def test_adult_equals_scikit_learn():
    path = shared("adult", "adult.data")
    encoder = Encoder()
    data = path.read_bytes()
    batch = rows(data, encoder=encoder, positive=">50K", **ADULT)
    lines = [[field.strip() for field in line] for line in csv.reader(io.StringIO(data.decode())) if line]
    categorical = [int(p) for p in ADULT["categorical"]]
    numeric = [p for p in range(14) if p not in categorical]
    expected, names = judge(lines, numeric, categorical)
    position = {name: i for i, name in enumerate(names_of(encoder))}
    order = [position[name] for name in [str(p) for p in numeric] + names]
    np.testing.assert_array_equal(dense(batch, encoder.feature_dim)[:, order], expected)
    assert encoder.feature_dim == len(order) == 108
    assert batch.labels.tolist() == [float(line[14] == ">50K") for line in lines]
    test = shared("adult", "adult.test").read_bytes().split(b"\n", 1)[1]
    report, fixed = Report(), encoder
    fixed.freeze()
    scored = rows(test, encoder=fixed, report=report, positive=">50K.", **ADULT)
    assert (len(scored), int(scored.labels.sum()), fixed.feature_dim) == (16_281, 3_846, 108)
    assert report.counts == {}
    assert "no column '1'; the columns found are: 0" in failure(shared("adult", "adult.test").read_bytes(), **ADULT)


def test_online_shoppers_equals_scikit_learn():
    path = shared("online-shoppers", "online_shoppers_intention.csv")
    encoder, names = Encoder(), ("Month", "VisitorType", "Weekend", "Browser")
    batch = rows(path.read_bytes(), encoder=encoder, label="Revenue", categorical=names, binary=True)
    header, *lines = csv.reader(io.StringIO(path.read_text()))
    categorical = [header.index(name) for name in names]
    numeric = [p for p in range(len(header) - 1) if p not in categorical]
    expected, one_hot = judge(lines, numeric, categorical)
    position = {name: i for i, name in enumerate(names_of(encoder))}
    order = [position[header[p]] for p in numeric]
    order += [position[f"{header[int(name.split('=', 1)[0])]}={canonical(name.split('=', 1)[1])}"] for name in one_hot]
    np.testing.assert_array_equal(dense(batch, encoder.feature_dim)[:, order], expected)
    assert batch.labels.tolist() == [float(line[-1] == "TRUE") for line in lines]


def test_restaurant_ratings_read_as_expected():
    path = shared("restaurant", "rating_final.csv")
    encoder = Encoder()
    options = {"label": "rating", "categorical": ("userID", "placeID"), "ignore": ("food_rating", "service_rating")}
    batch = rows(path.read_bytes(), encoder=encoder, **options)
    lines = list(csv.DictReader(io.StringIO(path.read_text())))
    assert batch.labels.tolist() == [float(line["rating"]) for line in lines]
    names = names_of(encoder)
    assert [names[i] for i in batch.indices] == [
        f"{name}={line[name]}" for line in lines for name in ("userID", "placeID")
    ]
    assert encoder.feature_dim == 138 + 130


TYPED = "n,color,y,shape,m\n1,red,1,disc,0\n2,,0,cube,5\n0,blue,1,,\n,red,0,disc,7\n"
TYPED_OPTIONS = {"label": "y", "categorical": ("color", "shape"), "fields": True}


def parquet_of(text, path):
    """The table as Parquet, in a file."""
    header, *lines = csv.reader(io.StringIO(text))
    columns = {
        name: [line[n] or None if name in ("color", "shape") else float(line[n] or "nan") for line in lines]
        for n, name in enumerate(header)
    }
    parquet.write_table(pa.table(columns), path)


@pytest.mark.parametrize("encoder", [Encoder, lambda: hashing(10)])
def test_a_column_is_a_field_in_all_three_formats(tmp_path, encoder):
    path = tmp_path / "t.parquet"
    parquet_of(TYPED, path)
    made = [
        rows(TYPED.encode(), encoder=encoder(), **TYPED_OPTIONS),
        rows(TYPED.replace(",", "\t").encode(), "tsv", encoder=encoder(), **TYPED_OPTIONS),
        rows(None, "parquet", encoder=encoder(), path=path, **TYPED_OPTIONS),
    ]
    for batch in made:
        assert batch.fields.tolist() == [0, 1, 2, 0, 2, 3, 1, 1, 2, 3]  # n color shape m, zeros and missing left out
        assert batch.fields.dtype == np.int32
        np.testing.assert_array_equal(batch.indices, made[0].indices)
        np.testing.assert_array_equal(batch.indptr, [0, 3, 6, 7, 10])


def test_numeric_columns_are_fields():
    batch = rows(b"a,y,b,c\n1,1,0,3\n0,0,5,6\n", label="y", fields=True)
    assert (batch.fields.tolist(), batch.indices.tolist()) == ([0, 2, 1, 2], [0, 2, 1, 2])


def test_tables_have_no_fields_where_nobody_asks():
    assert rows(TYPED.encode(), **{**TYPED_OPTIONS, "fields": False}).fields is None


@pytest.mark.parametrize("encoder", [Encoder, lambda: hashing(10)])
def test_a_column_keeps_its_field_where_a_later_table_has_another_order(encoder):
    encoder, report = encoder(), Report()
    rows(b"a,c,d\n1,x,y\n", encoder=encoder, categorical=("c", "d"), fields=True, report=report)
    later = rows(b"d,e,a,c\ny,z,1,x\n", encoder=encoder, categorical=("c", "d"), fields=True, report=report)
    assert later.fields.tolist() == [0, 1, 2]
    assert later.indices.tolist() == rows(b"a,c,d\n1,x,y\n", encoder=encoder).indices.tolist()
    assert report.facts["fields"] == 3


def test_rows_that_are_left_out_take_their_fields_with_them():
    report = Report()
    data = b"a,y,b\n1,1,2\nx,1,2\n0,0,4\n"
    batch = rows(data, label="y", numeric=("a",), fields=True, on_error="skip", report=report)
    assert (batch.fields.tolist(), batch.values.tolist()) == ([0, 1, 1], [1, 2, 4])
    assert report.counts == {"rows skipped": 1}

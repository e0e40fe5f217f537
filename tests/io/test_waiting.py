"""Tables whose first rows decide on buckets before any row is encoded, in every format that has columns."""

import io
import json
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from encoders import names_of
from pyarrow import parquet

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.sources.source import find
from fmcore.rows.batch import concatenate
from fmcore.schema import cutting
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions
from fmcore.schema.schema import Schema

ROWS = [
    {
        "a": None if n % 7 == 3 else round(random.Random(n).gauss(0, 3), 2),
        "b": 0 if n % 10 else n,
        "c": ("x", "y", None)[n % 3],
        "y": n % 2,
    }
    for n in range(600)
]


def read(names, encoder=None, report=None, *, general=None, **table):
    """Return (all rows as one batch, the encoder)."""
    encoder = Encoder() if encoder is None else encoder
    options = ReadOptions(table=TableOptions(**{"label": "y", "buckets": 8, **table}), **general or {})
    found = list(read_batches(find(names), options, report or Report(), encoder=encoder))
    return concatenate(found), encoder


def as_csv(rows, delimiter=","):
    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join("" if value is None else str(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def as_json_lines(rows):
    return "".join(json.dumps({"features": row}) + "\n" for row in rows)


def as_parquet(rows, number):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    kinds = {"a": number, "b": pa.int32(), "c": pa.string(), "y": pa.int8()}
    made = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(columns[name], kinds[name]) for name in columns}), made)
    return made.getvalue()


FORMATS = {
    "t.csv": lambda: as_csv(ROWS).encode(),
    "t.tsv": lambda: as_csv(ROWS, "\t").encode(),
    "t.jsonl": lambda: as_json_lines(ROWS).encode(),
    "t.json": lambda: json.dumps({"instances": [{"features": row} for row in ROWS]}).encode(),
    "t.parquet": lambda: as_parquet(ROWS, pa.float64()),
    "narrow.parquet": lambda: as_parquet(ROWS, pa.float32()),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(one, other):
    for name in ("indptr", "indices", "values", "labels", "fields"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def tensors(encoder):
    return {name: array.tobytes() for name, array in Schema.of(encoder).tensors.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_give_the_same_buckets_and_features(folder, name):
    for each in {"t.csv", name}:
        (folder / each).write_bytes(FORMATS[each]())
    expected, by_text = read(["t.csv"])
    found, encoder = read([name])
    same(found, expected)
    assert names_of(encoder) == names_of(by_text)
    assert tensors(encoder) == tensors(by_text)
    assert "a missing" in names_of(encoder)


def test_a_row_has_its_value_and_its_bucket(folder):
    (folder / "t.csv").write_text("a,b,c,y\n" + "".join(f"{n},0,x,0\n" for n in range(8)) + ",7,x,1\n")
    found, encoder = read(["t.csv"], buckets=2)
    names = names_of(encoder)
    assert names == ["a", "a in (-inf,4)", "a in [4,inf)", "a missing", "b", "b in (-inf,7)", "b in [7,inf)", "c=x"]
    assert [names[index] for index in found.indices[found.indptr[3] : found.indptr[4]]] == [
        *("a", "a in (-inf,4)"),
        *("b in (-inf,7)", "c=x"),
    ]
    assert found.values[found.indptr[3] : found.indptr[4]].tolist() == [3, 1, 1, 1]
    assert [names[index] for index in found.indices[found.indptr[8] :]] == ["a missing", "b", "b in [7,inf)", "c=x"]


@pytest.mark.parametrize("cuts", [[600], [1, 599], [250, 350], [100] * 6, [7] * 80 + [40]])
@pytest.mark.parametrize("block", [10, 250, 600, 1000])
def test_the_first_rows_decide_however_they_lie_in_files(folder, monkeypatch, cuts, block):
    monkeypatch.setattr(cutting, "BLOCK_ROWS", block)
    ends = np.cumsum([0, *cuts])
    for number, (start, stop) in enumerate(pairwise(ends)):
        (folder / f"part{number:02}.csv").write_text(as_csv(ROWS[start:stop]))
    (folder / "whole.csv").write_text(as_csv(ROWS))
    (folder / "first.csv").write_text(as_csv(ROWS[:block]))
    _, first = read(["first.csv"], general={"threads": 1})
    whole, encoder = read(["whole.csv"])
    parts, of_parts = read(["part*.csv"], general={"threads": 3})
    same(parts, whole)
    assert tensors(encoder) == tensors(of_parts)
    assert {name: made.texts() for name, made in encoder.buckets.items()} == {
        name: made.texts() for name, made in first.buckets.items()
    }


def test_of_many_columns_fewer_rows_decide(folder, monkeypatch):
    monkeypatch.setattr(cutting, "BLOCK_NON_ZEROS", 60)  # 20 rows of 3 columns
    (folder / "t.csv").write_text(as_csv(ROWS))
    (folder / "first.csv").write_text(as_csv(ROWS[:20]))
    assert read(["t.csv"])[1].buckets["a"].texts() == read(["first.csv"])[1].buckets["a"].texts()


def test_auto_goes_by_the_rows_that_decide(folder, monkeypatch):
    (folder / "t.csv").write_text("y,a\n" + "".join(f"0,{n}\n" for n in range(4000)))
    assert len(read(["t.csv"], buckets="auto")[1].buckets["a"]) == 10
    monkeypatch.setattr(cutting, "BLOCK_ROWS", 1000)
    assert read(["t.csv"], buckets="auto")[1].buckets["a"].edges.tolist() == [200, 400, 600, 800]


def test_rows_that_are_left_out_decide_nothing_and_places_stay(folder):
    good = as_csv(ROWS[:50]).splitlines(keepends=True)
    bad = [*good[:10], "x,1,x,0\n", *good[10:30], "inf,1,x,1\n", "1,2\n", *good[30:]]
    (folder / "good.csv").write_text("".join(good))
    (folder / "bad.csv").write_text("".join(bad))
    report = Report()
    found, encoder = read(["bad.csv", "good.csv"], report=report, general={"on_error": "skip"})
    again, whole = read(["good.csv", "good.csv"])
    same(found, again)
    assert tensors(encoder) == tensors(whole)
    assert report.counts["rows skipped"] == 3
    skipped = read_batches(
        find(["bad.csv", "good.csv"]),
        ReadOptions(table=TableOptions(label="y", buckets=8), on_error="skip"),
        Report(),
        encoder=Encoder(),
    )
    places = [place for batch in skipped for place in batch.origin.places.tolist()]
    assert places == [*range(1, 10), *range(11, 31), *range(33, 54), *range(54, 104)]


def test_a_bad_row_is_refused_with_its_number(folder):
    (folder / "t.csv").write_text(as_csv(ROWS[:20]) + "x,1,x,0\n")
    with pytest.raises(DataError, match=r"t\.csv, row 21, field a: 'x' is not a number"):
        read(["t.csv"], general={"on_error": "fail"}, numeric=("a",))


def test_the_report_says_what_was_done(folder):
    (folder / "t.csv").write_text(as_csv(ROWS))
    report = Report()
    _, encoder = read(["t.csv"], report=report)
    a, b = (len(encoder.buckets[name]) for name in "ab")
    assert report.notes[-1] == f"buckets: a {a}, b {b} (--buckets none leaves them out)"
    report = Report()
    _, encoder = read(["t.csv"], report=report, buckets=None)
    assert encoder.buckets == {}
    assert not any("buckets" in note for note in report.notes)
    (folder / "t.csv").write_text("y,a\n1,2\n0,2\n")
    read(["t.csv"], report=report)
    assert not any("buckets" in note for note in report.notes)


def test_columns_are_chosen(folder):
    (folder / "t.csv").write_text(as_csv(ROWS))
    for chosen in (("b",), ("1",), ("b-y",), ("b*",)):
        for buckets in (None, "auto", 8):
            assert list(read(["t.csv"], buckets=buckets, buckets_for=chosen)[1].buckets) == ["b"]
    assert list(read(["t.csv"], buckets_for=("*",))[1].buckets) == ["a", "b"]
    assert list(read(["t.csv"], log=("a",))[1].buckets) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"buckets_for": ("d",)}, "no column 'd'; the columns found are: 0 a, 1 b, 2 c, 3 y"),
        ({"buckets_for": ("d*",)}, r"no column 'd\*'; the columns found are"),
        ({"buckets_for": ("c",)}, "--buckets-for names 'c', but column 'c' is categorical; buckets are of numeric"),
        ({"buckets_for": ("y",)}, "--buckets-for names 'y', but column 'y' is label"),
        ({"buckets_for": ("a",), "ignore": ("a",)}, "--buckets-for names 'a', but column 'a' is ignored"),
        ({"buckets_for": ("a",), "buckets": "none"}, "--buckets none and --buckets-for contradict each other"),
    ],
)
def test_columns_that_have_no_buckets_are_refused(folder, options, expected):
    (folder / "t.csv").write_text(as_csv(ROWS))
    with pytest.raises(UsageError, match=expected):
        read(["t.csv"], **options)


def test_a_column_that_a_table_lacks_is_missing_in_every_row(folder):
    (folder / "t.csv").write_text(as_csv(ROWS))
    _, encoder = read(["t.csv"])
    encoder.freeze()
    without = [{name: value for name, value in row.items() if name != "a"} for row in ROWS[:9]]
    null = [{**row, "a": None} for row in ROWS[:9]]
    (folder / "without.csv").write_text(as_csv(without))
    (folder / "null.csv").write_text(as_csv(null))
    (folder / "without.jsonl").write_text(as_json_lines(without))
    found = [
        read([name], encoder, missing_columns="zero", general={"fields": True})[0]
        for name in ("without.csv", "null.csv", "without.jsonl")
    ]
    for batch in found:
        rows = np.repeat(np.arange(9), np.diff(batch.indptr))
        assert sorted(zip(rows, batch.indices, batch.values, batch.fields, strict=True)) == sorted(
            zip(rows, found[0].indices, found[0].values, found[0].fields, strict=True)
        )
    assert names_of(encoder).index("a missing") in found[0].indices


def test_a_bucket_is_of_the_field_of_its_column(folder):
    (folder / "t.csv").write_text(as_csv(ROWS))
    found, encoder = read(["t.csv"], general={"fields": True})
    fields = {name.split()[0].split("=")[0] for name in names_of(encoder)}
    assert fields == {"a", "b", "c"}
    for index, field in zip(found.indices.tolist(), found.fields.tolist(), strict=True):
        assert names_of(encoder)[index][0] == "abc"[field]


def test_without_an_encoder_there_are_no_buckets(folder):
    (folder / "t.csv").write_text(as_csv(ROWS[:9]))
    options = ReadOptions(table=TableOptions(label="y", buckets=3))
    plain = ReadOptions(table=TableOptions(label="y"))
    found, expected = (concatenate(list(read_batches(find(["t.csv"]), o, Report()))) for o in (options, plain))
    same(found, expected)

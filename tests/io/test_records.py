"""Rows of JSON by the names of columns."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from encoders import hashing, names_of

from fmcore.errors import DataError, UsageError
from fmcore.io.formats.json import names_columns
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.sources.source import find
from fmcore.io.tables import codec as tables
from fmcore.io.tables import records
from fmcore.rows.batch import concatenate
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions

CSV = b"""\
price,site,new,genres,when,y
8.1,a.com,true,Action|Comedy,2024-01-31,1
7.0,b.com,false,,2024-02-29 12:30,0
,a.com,true,Comedy,,1
1e-07, c ,,War|Action,2024-01-31,0
"""
ROWS = [
    {"price": 8.1, "site": "a.com", "new": True, "genres": ["Action", "Comedy"], "when": "2024-01-31", "y": 1},
    {"site": "b.com", "price": 7, "new": False, "genres": [], "when": "2024-02-29 12:30", "y": 0},
    {"price": None, "site": "a.com", "new": True, "genres": ["Comedy", "Comedy"], "when": None, "y": 1},
    {"y": 0, "price": 1e-7, "site": " c ", "new": None, "genres": ["War", "Action"], "when": "2024-01-31"},
]
OPTIONS = {"label": "y", "dates": ("when",)}


def jsonlines(rows):
    return "".join(json.dumps({"features": row}) + "\n" for row in rows).encode()


def document(rows):
    return json.dumps({"instances": [{"data": {"features": row}} for row in rows]}).encode()


def read(data, encoder=None, *, format="jsonlines", general=None, report=None, **options):  # noqa: A002
    made = ReadOptions(table=TableOptions(**options), **general or {})
    source = SimpleNamespace(name="t", path=None)
    found = tables.read(source, io.BytesIO(data), made, report or Report(), format, encoder=encoder or Encoder())
    return concatenate(list(found))


def failure(data, *args, **options):
    with pytest.raises((DataError, UsageError)) as caught:
        read(data, *args, **options)
    return str(caught.value)


def require_equal(found, expected):
    for name in ("indptr", "indices", "values", "labels", "weights"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes()), name


@pytest.mark.parametrize("make", [Encoder, lambda: hashing(20)])
@pytest.mark.parametrize(("format_name", "encode"), [("json", document), ("jsonlines", jsonlines)])
def test_rows_by_name_are_those_of_csv(make, format_name, encode):
    expected = read(CSV, one := make(), format="csv", lists=("genres:|",), **OPTIONS)
    found = read(encode(ROWS), other := make(), format=format_name, **OPTIONS)
    assert names_of(other) == names_of(one)
    require_equal(found, expected)
    mapped = read(encode(ROWS), one, format=format_name)  # the lists of JSON for those of text, and the reverse
    require_equal(mapped, expected)


def test_numbers_and_booleans_have_the_one_text_of_their_value():
    encoder = Encoder()
    rows = [b"7.0", b"7", b'"7"', b"true", b'"True"', b"1e-07", b"0.0000001", b"12345678901234567890", b"null", b'""']
    data = b"".join(b'{"features": {"c": %s}}\n' % row for row in rows)
    batch = read(data, encoder, categorical=("c",))
    assert names_of(encoder) == ["c=7", "c=true", "c=1e-07", "c=12345678901234567890"]
    assert batch.indices.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert batch.indptr.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8]


def test_kinds_are_shown_by_the_values():
    encoder, report = Encoder(), Report()
    row = {"n": 1, "s": "x", "digits": "3", "b": True, "l": ["a"], "empty": None}
    read(jsonlines([row, {**row, "n": 2.5}]), encoder, report=report)
    kinds = {column.name: column.kind for column in encoder.columns}
    assert kinds == {
        "n": "numeric",
        "s": "categorical",
        "digits": "numeric",
        "b": "categorical",
        "l": "list",
        "empty": "numeric",
    }
    assert "  numeric      n (1, 2.5), digits (3), empty" in report.notes[0].splitlines()


def test_ids_stand_beside_the_features_or_are_a_column():
    beside = b'{"id": 5, "features": {"a": 1}}\n{"uid": "x", "features": {"a": 2}}\n{"features": {"a": 3}}\n'
    assert read(beside).ids == ["5", "x", None]
    column = jsonlines([{"a": 1, "key": 7}, {"a": 2, "key": "y"}, {"a": 3, "key": None}])
    assert read(column, row_id="key").ids == ["7", "y", None]


def test_rows_that_are_left_out_take_their_ids_with_them():
    data = (
        b'{"id": 1, "features": {"a": 1}}\n{"id": 2, "features": {"a": "x"}}\n\n{"id": 3, "features": {"a": 3}}\nno\n'
    )
    report = Report()
    batch = read(data, numeric=("a",), general={"on_error": "skip"}, report=report)
    assert batch.ids == ["1", "3"]
    assert batch.values.tolist() == [1, 3]
    assert report.counts == {"rows skipped": 2}
    assert {str(error).split(":")[0] for error in report.errors} == {"t, line 5", "t, line 2, field a"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            '{"features": {"a": 1}}',
            "t, line 2, field features.c: column 'c' of the model is missing; null is a missing",
        ),
        ('{"features": {"a": "x", "c": 1}}', "t, line 2, field a: 'x' is not a number"),
        ('{"features": {"a": [1], "c": 1}}', "t, line 2, field a: "),
        ('{"features": {"a": 1e39, "c": 1}}', "t, line 2, field a: 1e+39 as feature value"),
        ('{"features": {"a": 1, "c": {"d": 1}}}', "t, line 2, field c: an object is not the value of one column"),
        ('{"features": {"a": 1, "c": ["x"]}}', "t, line 2, field c: a list is not the value of one column"),
        ('{"features": {"a": 1, "c": "x\\u0000"}}', "t, line 2, field c: is not text"),
        ('{"features": {"a": 1, "c": "\\ud800"}}', "t, line 2, field c: is not text"),
        (
            '{"features": {"keys": [1], "values": [2]}}',
            "t, line 2, field features: features by index among rows by name",
        ),
        ('{"features": [1, 2]}', "t, line 2, field features: features by index among rows by name"),
        ('{"features": 3}', "t, line 2, field features: "),
        ("{}", 't, line 2: expected one of the keys "features" and "data"'),
        ("[1]", "t, line 2: expected an object, found a list"),
        ('{"features": {"a": NaN, "c": 1}}', "t, line 2: NaN is not JSON"),
        (
            '{"features": {"a": 1, "c": 1}, "id": 1.5}',
            "t, line 2, field id: expected a string or an integer, found 1.5",
        ),
        ('{"features": {"a": 1, "c": 1}, "name": 1}', "t, line 2, field name: unknown key"),
        ('{"features": {"a": 1', "t, line 2: not JSON"),
        ("\udcff", "t, line 2: not UTF-8"),
    ],
)
def test_bad_rows_are_named(row, expected):
    first = b'{"features": {"a": 1, "c": "x"}}\n'
    data = first + row.encode(errors="surrogateescape") + b"\n"
    assert failure(data, numeric=("a",), categorical=("c",)).startswith(expected)


def test_bad_rows_of_a_document_are_named_by_their_place():
    rows = [{"a": 1}, {"a": 2, "b": 3}]
    assert failure(document(rows), format="json") == (
        "t, row 1, field features.b: column 'b' of the model is missing; null is a missing value"
    )
    assert failure(b'{"instances": [1]}', format="json").startswith("t, row 1: expected an object, found 1")
    assert failure(b'{"instances": 1}', format="json").startswith("t, field instances: expected a list")


def test_columns_that_rows_lack_may_count_as_empty():
    encoder = Encoder()
    batch = read(jsonlines([{"a": 1, "c": "x"}, {"c": "y"}, {"a": 3}]), encoder, missing_columns="zero")
    assert names_of(encoder) == ["a", "c=x", "c=y"]
    assert batch.indices.tolist() == [0, 1, 2, 0]
    later = read(jsonlines([{"c": "y", "more": 1}]), encoder, missing_columns="zero")
    assert later.indices.tolist() == [2]


def test_columns_that_the_model_does_not_know_are_ignored_and_noted():
    encoder, report = Encoder(), Report()
    read(jsonlines([{"a": 1}]), encoder)
    assert read(jsonlines([{"b": 2, "a": 1}]), encoder, report=report).indices.tolist() == [0]
    assert report.notes == ["columns that the model does not know are ignored: b"]


def test_missing_values_are_refused_where_none_may_be():
    rows = [{"a": 1, "c": "x"}, {"a": 2, "c": None}]
    assert failure(jsonlines(rows), missing="error") == (
        "t, line 2, field c: is empty; --missing zero reads it as no feature"
    )
    assert "line 1, field a: is empty" in failure(jsonlines([{"a": "NA", "c": "x"}]), numeric=("a",), missing="error")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rows_do_not_depend_on_the_size_of_blocks(monkeypatch, size):
    expected = read(jsonlines(ROWS * 3), one := Encoder(), **OPTIONS)
    monkeypatch.setattr(records, "ROWS", size)
    require_equal(read(jsonlines(ROWS * 3), other := Encoder(), **OPTIONS), expected)
    assert names_of(other) == names_of(one)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ('{"features": {"price": 1}}', True),
        ('{"instances": [{"features": {"price": 1}}]}', True),
        ('{"data": {"features": {"a\\"b": [1]}}}', True),
        ('{"features": [1, 2]}', False),
        ('{"features": {"keys": [1], "values": [2]}}', False),
        ('{"features": {"values": [2]}}', False),
        ('{"features": {"values": 2}}', True),
        ('{"features": {}}', False),
        ("{}", False),
    ],
)
def test_features_by_name_are_told_from_those_by_index(head, named):
    assert names_columns(head.encode()) is named


def test_the_format_is_found_by_content_and_files_may_mix_formats(tmp_path):
    for name, data in (("a.csv", CSV), ("b.jsonl", jsonlines(ROWS)), ("c.json", document(ROWS))):
        (tmp_path / name).write_bytes(data)
    options = ReadOptions(table=TableOptions(lists=("genres:|",), **OPTIONS))
    encoder = Encoder()
    found = list(read_batches(find([str(tmp_path)]), options, Report(), encoder=encoder))
    assert [len(batch) for batch in found] == [4, 4, 4]
    for batch in found[1:]:
        require_equal(batch, found[0])
    np.testing.assert_array_equal(found[2].labels, [1, 0, 1, 0])


def test_features_by_index_and_by_name_exclude_each_other_in_training(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonlines(ROWS))
    (tmp_path / "b.jsonl").write_bytes(b'{"features": {"keys": [1], "values": [2]}}\n')
    for names in (("a.jsonl", "b.jsonl"), ("b.jsonl", "a.jsonl")):
        sources = find([str(tmp_path / name) for name in names])
        with pytest.raises(
            UsageError, match=r"has indices instead of columns|is a table, but features are known by index"
        ):
            list(read_batches(sources, ReadOptions(), Report(), encoder=Encoder()))

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import DataError, UsageError
from fmcore.io.requests import codec as requests
from fmcore.io.requests.codec import chunks, decode

FORMS = [
    {"features": [1.5, 0, 16.0]},
    {"data": {"features": {"values": [1.5, 0, 16.0]}}},
    {"data": {"features": [1.5, 0, 16.0]}, "configuration": {}},
    {"data": {"features": {"keys": [0, 2], "shape": [2000], "values": [1.5, 16]}}},
    {"features": {"keys": [0, 2], "values": [1.5, 16]}, "metadata": "x"},
    {"features": {"keys": [], "shape": [3], "values": [1.5, 0, 16]}},
]


def document(*instances):
    return json.dumps({"instances": list(instances)}).encode()


def message(instance, format_name="json"):
    text = instance if isinstance(instance, str) else json.dumps(instance)
    data = f'{{"instances":[{{"features":[]}},{text}]}}' if format_name == "json" else f'{{"features":[]}}\n{text}'
    with pytest.raises(DataError) as caught:
        decode(data.encode(), format_name)
    return str(caught.value)


def dense(batch):
    rows = np.zeros((len(batch), 8))
    for row in range(len(batch)):
        part = slice(batch.indptr[row], batch.indptr[row + 1])
        rows[row, batch.indices[part]] = batch.values[part]
    return rows.tolist()


def test_every_form_of_an_instance_gives_the_same_row():
    for decoded, unit in (
        (decode(document(*FORMS), "json"), "row"),
        (decode(b"\n".join(json.dumps(form).encode() for form in FORMS), "jsonlines"), "line"),
    ):
        batch = decoded.batch
        assert decoded.units == len(FORMS)
        assert batch.indptr.tolist() == list(range(0, 2 * len(FORMS) + 1, 2))
        assert batch.indices.tolist() == [0, 2] * len(FORMS)
        assert batch.values.tolist() == [1.5, 16] * len(FORMS)
        assert np.isnan(batch.labels).all()
        assert batch.ids is None
        assert batch.origin.unit == unit
        assert batch.origin.numbers.tolist() == [1, 2, 3, 4, 5, 6]
        assert (batch.indptr.dtype, batch.indices.dtype) == (np.int64, np.int32)
        assert (batch.values.dtype, batch.labels.dtype) == (np.float32, np.float32)


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8), max_size=5))
def test_dense_rows_of_a_request_round_trip(rows):
    batch = decode(document(*({"features": row} for row in rows)), "json").batch
    assert dense(batch) == [row + [0] * (8 - len(row)) for row in rows]


def test_empty_requests_have_no_rows():
    for decoded in (decode(b'{"instances": []}', "json"), decode(b"", "jsonlines"), decode(b"\n\n", "jsonlines")):
        assert len(decoded.batch) == 0
        assert decoded.batch.indptr.tolist() == [0]
    assert decode(b"\n\n", "jsonlines").units == 2
    for empty in ([], {"shape": [4]}, {"values": []}, {"keys": [], "values": [], "shape": [4]}):
        assert decode(document({"features": empty}), "json").batch.indptr.tolist() == [0, 0]


def test_ids_of_a_request_are_kept():
    batch = decode(document({"features": [], "id": "a"}, {"features": []}, {"features": [], "uid": 7}), "json").batch
    assert batch.ids == ["a", None, "7"]


def test_line_numbers_of_a_request_count_blank_lines():
    decoded = decode(b'\n{"features":[1]}\r\n\n{"features":[2]}\n', "jsonlines")
    assert decoded.batch.origin.numbers.tolist() == [2, 4]
    assert decoded.units == 4


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ([1], "input, row 2: expected an object, found a list"),
        ({}, 'input, row 2: expected one of the keys "features" and "data"'),
        ({"features": [], "data": {}}, 'input, row 2: expected one of the keys "features" and "data"'),
        ({"features": [], "label": 1}, "input, row 2, field label: unknown key; expected features, data, id, uid"),
        (
            '{"features": [], "\\ud800\\n\u00e9": 1}',
            r"input, row 2, field \ud800\n\u00e9: unknown key; expected features",
        ),
        ({"features": [], "id": 1.5}, "input, row 2, field id: expected a string or an integer, found 1.5"),
        ('{"features": [], "uid": "\\ud800"}', "input, row 2, field uid: half of a surrogate pair"),
        ({"data": []}, "input, row 2, field data: expected an object, found a list"),
        ({"data": {}}, 'input, row 2, field data: expected the key "features"'),
        ({"data": {"features": [], "x": 1}}, "input, row 2, field data.x: unknown key; expected features"),
        ({"features": 3}, "input, row 2, field features: expected an object, found 3"),
        ({"features": {}}, 'input, row 2, field features: expected the key "values"'),
        ({"features": {"values": [], "index": []}}, "field features.index: unknown key; expected keys, shape, values"),
        ({"features": {"values": 1}}, "input, row 2, field features.values: expected a list, found 1"),
        ({"features": [1, "2"]}, "input, row 2, field features[1]: expected a number, found a string"),
        ({"features": [True]}, "input, row 2, field features[0]: expected a number, found a boolean"),
        ({"features": [None]}, "input, row 2, field features[0]: expected a number, found null"),
        ({"features": [1e39]}, "input, row 2, field features: a number beyond the range of 32-bit floats"),
        ({"features": [-(10**400)]}, "input, row 2, field features: a number beyond the range of 32-bit floats"),
        ('{"features": [1e400]}', "input, row 2, field features: a number beyond the range of 32-bit floats"),
        (
            {"data": {"features": {"keys": [1, 2, 3, 4, 5], "values": [1, 2, 3, 4]}}},
            "input, row 2, field data.features.keys: 5 keys but 4 values",
        ),
        ({"features": {"shape": [5], "values": [1]}}, "input, row 2, field features.keys: 0 keys but 1 values"),
        ({"features": {"keys": {}, "values": []}}, "field features.keys: expected a list, found an object"),
        ({"features": {"keys": [-1], "values": [1]}}, "field features.keys: key -1, expected 0 to 2147483646"),
        ({"features": {"keys": [2**31], "values": [1]}}, "field features.keys: key 2147483648, expected 0 to"),
        ({"features": {"keys": [10**400], "values": [1]}}, "field features.keys: key 1000"),
        ({"features": {"keys": [4], "values": [1], "shape": [4]}}, "field features.keys: key 4, expected 0 to 3"),
        ({"features": {"keys": [1.0], "values": [1]}}, "field features.keys[0]: expected an integer, found 1.0"),
        (
            {"features": {"keys": [False], "values": [1]}},
            "field features.keys[0]: expected an integer, found a boolean",
        ),
        ({"features": {"values": [], "shape": [0]}}, "field features.shape: expected one integer from 1 to 2147483647"),
        ({"features": {"values": [], "shape": [1, 5]}}, "field features.shape: expected one integer"),
        ({"features": {"values": [], "shape": ["5"]}}, "field features.shape[0]: expected an integer, found a string"),
    ],
)
def test_malformed_instances_name_the_instance_and_the_key(instance, expected):
    assert expected in message(instance)
    assert expected.replace("row 2", "line 2") in message(instance, "jsonlines")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "input: not JSON: Expecting value"),
        (b"\xff", "input: not UTF-8"),
        (b"[]", "input: expected an object, found a list"),
        (b"{}", 'input: expected the key "instances"'),
        (b'{"instances": {}}', "input, field instances: expected a list, found an object"),
        (b'{"instances": [], "more": 1}', "input, field more: unknown key; expected instances"),
        (b'{"instances": [NaN]}', "input: NaN is not JSON; expected a finite number"),
        (b'{"instances": [-Infinity]}', "input: -Infinity is not JSON"),
        (b"[" * 200_000, "input: not a request: nested too deeply"),
        (b'{"instances": [1' + b"0" * 5000 + b"]}", "input: a number with thousands of digits"),
    ],
)
def test_malformed_documents_are_refused_even_when_skipping(data, expected):
    for on_error in ("fail", "skip"):
        with pytest.raises(DataError) as caught:
            decode(data, "json", on_error)
        assert str(caught.value).startswith(expected)


def test_every_truncation_of_a_document_is_refused():
    data = document(*FORMS)
    for end in range(len(data)):
        with pytest.raises(DataError):
            decode(data[:end], "json")


@pytest.mark.parametrize("format_name", ["json", "jsonlines"])
def test_malformed_instances_can_be_skipped(format_name):
    good, bad = {"features": [2.0]}, {"features": ["x"]}
    data = document(bad, good, bad, good)
    if format_name == "jsonlines":
        data = b"\n".join(json.dumps(instance).encode() for instance in (bad, good, bad, good))
    decoded = decode(data, format_name, "skip")
    assert decoded.batch.origin.numbers.tolist() == [2, 4]
    assert [error.number for error in decoded.skipped] == [1, 3]
    assert decoded.units == 4


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_of_json_lines_hold_whole_lines(monkeypatch, size):
    monkeypatch.setattr(requests, "PIECE_BYTES", size)
    data = b'{"features":[1]}\n\n{"features":[2, 3]}'
    pieces = list(chunks(io.BytesIO(data), "jsonlines"))
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert sum(len(decode(piece, "jsonlines").batch) for piece in pieces) == 2
    assert sum(decode(piece, "jsonlines").units for piece in pieces) == 3
    assert list(chunks(io.BytesIO(data), "json")) == [data]
    assert list(chunks(io.BytesIO(b""), "jsonlines")) == []


def test_formats_other_than_json_are_refused():
    with pytest.raises(UsageError, match="format is 'csv'; expected one of json, jsonlines"):
        decode(b"", "csv")

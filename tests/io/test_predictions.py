import csv
import decimal
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import UsageError
from fmcore.io import _format
from fmcore.io.predictions import WRITERS, writer_for
from fmcore.objectives import objective_of

SCORES = np.array([0.4, 0.5, 1e-7, 1.0], np.float32)
LABELS = [0, 1, 0, 1]
ANY_FLOAT32 = st.integers(0, 2**32 - 1).map(lambda bits: struct.unpack("<f", struct.pack("<I", bits))[0])


def text(x):
    return _format.lines(np.array([x], np.float32)).decode().removesuffix("\n")


def write(format_name, predictor_type, *batches):
    writer, first, parts = writer_for(format_name, objective_of(predictor_type).columns), 0, []
    for scores, *ids in batches:
        parts.append(writer.rows(scores, *ids, first=first))
        first += len(scores)
    return b"".join([writer.begin(), *parts, writer.end()]).decode()


@given(ANY_FLOAT32)
def test_text_of_a_float32_reads_back_and_has_the_digits_of_numpy(x):
    x = np.float32(x)
    if not np.isfinite(x):
        assert text(x) == str(x)
        return
    assert np.float32(text(x)).tobytes() == x.tobytes()
    assert decimal.Decimal(text(x)) == decimal.Decimal(np.format_float_scientific(x, unique=True))


def test_every_power_of_two_and_many_bit_patterns_read_back():
    powers = np.arange(255, dtype=np.uint32) << 23
    patterns = np.concatenate([powers, powers[1:] - 1, powers + 1, np.arange(0, 0x7F800000, 104_729, dtype=np.uint32)])
    x = patterns.view(np.float32)
    written = _format.lines(x).decode().split()
    assert [np.float32(t).tobytes() for t in written] == [v.tobytes() for v in x]
    digits = [decimal.Decimal(np.format_float_scientific(v, unique=True)) for v in x]
    assert [decimal.Decimal(t) for t in written] == digits


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0, "0"),
        (-0.0, "-0"),
        (1, "1"),
        (-1.5, "-1.5"),
        (100, "100"),
        (123456.7, "123456.7"),
        (9e9, "9000000000"),
        (1e10, "1e10"),
        (1.5e10, "1.5e10"),
        (1e-5, "0.00001"),
        (-1.2345678e-5, "-0.000012345678"),
        (1e-6, "1e-6"),
        (3.4028235e38, "3.4028235e38"),
        (1e-45, "1e-45"),
        (16777216, "16777216"),
        (np.inf, "inf"),
        (-np.inf, "-inf"),
    ],
)
def test_scores_are_written_plain_or_with_an_exponent(x, expected):
    assert text(x) == expected


def test_text_output_has_one_score_a_line():
    assert write("text", "regressor", (SCORES,), (SCORES[:1], ["a"])) == "0.4\n0.5\n1e-7\n1\n0.4\n"
    assert write("text", "binary_classifier") == ""


def test_csv_output_with_odd_ids_reads_back():
    ids = ["plain", 'with "quotes", comma', "two\nlines", " blanks "]
    rows = list(csv.reader(io.StringIO(write("csv", "binary_classifier", (SCORES, ids)), newline="")))
    assert rows[0] == ["id", "score", "predicted_label"]
    assert [row[0] for row in rows[1:]] == ids
    assert [np.float32(row[1]) for row in rows[1:]] == SCORES.tolist()
    assert [int(row[2]) for row in rows[1:]] == LABELS


def test_csv_output_numbers_rows_without_an_id():
    assert write("csv", "regressor", (SCORES[:2],), (SCORES[:2], ["x", None])) == (
        "id,score\n1,0.4\n2,0.5\nx,0.4\n4,0.5\n"
    )


@pytest.mark.parametrize("ids", [None, ["a", None, 'quote " \\ \t é', ""]])
@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
def test_json_and_json_lines_outputs_hold_the_same_predictions(predictor_type, ids):
    rows = [{"score": float(str(score))} for score in SCORES]
    if predictor_type == "binary_classifier":
        rows = [{**row, "predicted_label": label} for row, label in zip(rows, LABELS, strict=True)]
    if ids:
        rows = [row if i is None else {"id": i, **row} for row, i in zip(rows, ids, strict=True)]
    document = write("json", predictor_type, (SCORES, ids), (SCORES[:0], None if ids is None else []), (SCORES, ids))
    assert json.loads(document) == {"predictions": rows + rows}
    lines = write("jsonlines", predictor_type, (SCORES, ids)).splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert '"predicted_label":0.0' not in document


def test_json_output_without_rows_is_a_valid_document():
    assert write("json", "regressor") == '{"predictions":[]}\n'
    assert write("json", "regressor", (SCORES[:0],)) == '{"predictions":[]}\n'


def test_scores_that_are_not_finite_are_nan_inf_or_null():
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert write("text", "regressor", (odd,)) == "nan\ninf\n-inf\n"
    assert json.loads(write("json", "regressor", (odd,)))["predictions"] == [{"score": None}] * 3
    assert write("csv", "binary_classifier", (odd,)).splitlines()[1:] == ["1,nan,0", "2,inf,1", "3,-inf,0"]


def test_recordio_output_holds_scores_labels_and_ids(monkeypatch):
    recordio = pytest.importorskip("fmcore.io.recordio.codec")
    calls = []
    monkeypatch.setattr(recordio, "encode_predictions", lambda *args: calls.append(args) or b"R")
    assert write("recordio", "binary_classifier", (SCORES, None)) == "R"
    assert write("recordio", "regressor", (SCORES, list("abcd"))) == "R"
    assert calls[0][1].tolist() == LABELS
    assert calls[0][2] is None
    assert calls[1][1:] == (None, list("abcd"))


def test_unknown_output_formats_and_predictor_types_are_refused():
    with pytest.raises(UsageError, match=f"output format is 'xml'; expected one of {', '.join(WRITERS)}"):
        writer_for("xml", ("score",))
    with pytest.raises(UsageError, match="predictions have columns"):
        writer_for("text", ("rank",))


def test_formatting_needs_one_prefix_a_row():
    with pytest.raises(ValueError, match="one prefix a row"):
        _format.table(SCORES, b"", b"", b"", [b"x"])

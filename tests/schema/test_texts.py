"""One text for one value: which spellings meet, and which keep apart."""

import datetime as dt
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.schema.texts import BLANKS, MISSING, canonical, canonical_texts, missing_texts, parse_number

NUMBERS = {
    "7": ("7", " 7", "7\t", "7.0", "\r\n7.0 "),
    "-7": ("-7", "-7.0"),
    "0": ("0", "-0", "0.0", "-0.0"),
    "0.1": ("0.1",),
    "1e-07": ("1e-07", "1e-7", "1E-07", "1E-7", "1.0E-7", "1.0e-07", "0.0000001", "1e-007"),
    "1e-05": ("1e-05", "1e-5", "0.00001", "1.0E-5"),
    "0.0001": ("0.0001", "1e-04", "1.0E-4"),
    "0.000123": ("0.000123", "1.23E-4", "1.23e-04"),
    "10000000": ("10000000", "10000000.0", "1.0E7", "1e+07", "1E+07", "1E+7"),
    "100000": ("100000", "100000.0", "1e+05"),
    "2048": ("2048", "2.048e+03"),
    "1e+16": ("1e+16", "1e16", "1E16", "1.0E16", "1E+16"),
    "1.2345678901234568e+17": ("1.2345678901234568E17", "1.2345678901234568e+17", "1.2345678901234568e17"),
    "1000000000000000": ("1000000000000000", "1000000000000000.0", "1e+15", "1.0E15"),
    "9007199254740991": ("9007199254740991", "9007199254740991.0", "9.007199254740991e+15"),
    "9007199254740992.0": ("9007199254740992.0", "9.007199254740992e+15"),
    "1.5e+300": ("1.5e+300", "1.5E300", "1.5e300"),
    "5e-324": ("5e-324", "5E-324"),
    "true": ("true", "True", "TRUE"),
    "false": ("false", "False", "FALSE"),
    "2024-01-02": ("2024-01-02", "2024-01-02 00:00:00", "2024-01-02T00:00", "2024-01-02T00:00:00.000000000"),
    "2024-01-02 03:04:05": ("2024-01-02 03:04:05", "2024-01-02T03:04:05", "2024-01-02 03:04:05.000"),
    "2024-01-02 03:04:05.1": ("2024-01-02 03:04:05.1", "2024-01-02T03:04:05.100000"),
    "2024-01-02 00:00:00.000000001": ("2024-01-02T00:00:00.000000001",),
    "2024-01-02 03:04:00": ("2024-01-02 03:04", "2024-01-02T03:04:00"),
    "2024-01-02 03:04:05Z": (
        "2024-01-02 03:04:05Z",
        "2024-01-02T03:04:05z",
        "2024-01-02 03:04:05+00:00",
        "2024-01-02 04:04:05+0100",
        "2024-01-02 04:04:05.000+01",
        "2024-01-01T22:34:05-04:30",
        "2024-01-02 03:04:05 UTC",
    ),
    "2024-01-02 00:00:00Z": ("2024-01-02T00:00:00Z", "2024-01-02 01:00:00+01:00"),
    "2023-12-31 23:30:00.25Z": ("2024-01-01 00:30:00.250+01:00",),
    "0001-01-01": ("0001-01-01 00:00:00",),
    "03:04:05": ("03:04:05", "03:04:05.000000"),
    "03:04:05.12": ("03:04:05.120",),
}
KEPT = """
    007 00 1.10 1.100 7.00 +7 1_0 .5 5. 1E3 1e3 1e5 1e7 12e10 5e10 0e5 1E+3 7E+2 1.E7 1.10E-7 0.1e-9 10e-9 1e-400 1e400
    12345678901234567890 -12345678901234567890 123456789012345678901234567890 0x10 1,5 1.5.2 --1 1e -e5 e5 4.9E-324
    0.10000000000000001 3.14159265358979323846 00.5 01.5 -.5 inf -inf Infinity nan NaN tRUE t T True! yes falsey
    1234e567 12345e67 1e-3 5E-4 \u0661 \u0661.5 1\u0660.5 2024-1-2 20240102 2024-02-31T00:00 2024-01-02T24:00:00
    2024-01-02T03:04:60 2024-01-02T03.5 2024-01-02T03:04.5 2024-01-02T03:04:05.1234567890 2024-01-02T03:04:05,5
    2024-13-01T00:00:00 0000-01-01T00:00:00 0001-01-01T00:00:00+01:00 9999-12-31T23:59:59-01:00 12:30 3:04:05.0 1:2
    25:00:00.0 12:61:00.0 2024-01-02T03:04+24:00
    a.com a1 - -x 12.5kg 2024-01-02T 1.2.3.4 \\N #N/A 1E1000
"""


@pytest.mark.parametrize(("one", "text"), [(one, text) for one, texts in NUMBERS.items() for text in texts])
def test_spellings_of_one_value_become_one(one, text):
    assert canonical(text) == one
    assert canonical(one) == one


@pytest.mark.parametrize("text", [*KEPT.split(), "2024-01-02\n03:04:05", "some text", "", "7 7", "2024-01-02  00:00"])
def test_texts_that_no_writer_makes_of_a_value_are_kept(text):
    assert canonical(text) == text


@given(st.text())
def test_a_canonical_text_is_its_own_and_both_forms_agree(text):
    once = canonical(text)
    assert canonical(once) == once
    assert canonical_texts([text.strip(BLANKS)]) == [once]


@given(st.text("0123456789.eE+-:TZ ", max_size=14))
def test_a_text_of_digits_keeps_its_value(text):
    once = canonical(text)
    assert canonical(once) == once
    number = parse_number(text.strip(BLANKS))
    if number is not None and math.isfinite(number):
        assert float(once) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_writer_of_a_float_gives_one_text(value):
    once = canonical(repr(value))
    assert float(once) == value
    assert canonical(np.format_float_positional(value, trim="0")) == once
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-4:
        c_sharp = np.format_float_scientific(value, trim="-").upper()
        java = np.format_float_scientific(value, trim="0", exp_digits=1).upper().replace("E+", "E")
        assert (canonical(c_sharp), canonical(java)) == (once, once)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_gives_its_own_shortest_digits(value):
    once = canonical(str(np.float32(value)))
    assert np.float32(float(once)) == np.float32(value)
    frame = pd.DataFrame({"a": np.array([value], np.float32)})
    assert canonical(frame.to_csv(index=False, header=False)) == once


@given(st.datetimes(), st.sampled_from(["s", "ms", "us"]))
def test_pandas_and_isoformat_give_one_text_for_a_time(moment, unit):
    moment = moment.replace(microsecond={"s": 0, "ms": moment.microsecond // 1000 * 1000}.get(unit, moment.microsecond))
    frame = pd.DataFrame({"a": np.array([moment], f"datetime64[{unit}]")})
    once = canonical(moment.isoformat())
    assert canonical(frame.to_csv(index=False, header=False)) == once
    assert dt.datetime.fromisoformat(once) == moment


def test_the_missing_texts_are_those_of_pandas_and_more():
    frame = pd.read_csv(io.StringIO("a,b\n" + "".join(f'"{text}",1\n' for text in sorted(MISSING - {r"\N"}))))
    assert frame["a"].isna().all()
    assert {"", "NA", "N/A", "#N/A", "<NA>", "NULL", "null", "NaN", "nan", "None", "n/a", r"\N"} <= MISSING
    assert canonical_texts(sorted(MISSING)) == sorted(MISSING)
    assert missing_texts(None) == MISSING
    assert missing_texts(()) == {""}
    assert missing_texts(("-999.0", " ? ")) == {"", "-999", "?"}


@pytest.mark.parametrize("text", ["1_0", "\u0661", "\uff11", "x", "", "0x1", "1,5"])
def test_numbers_have_one_grammar(text):
    assert parse_number(text) is None
    assert parse_number("-1.5e3") == -1500

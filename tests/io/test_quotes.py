"""Quotes of CSV and TSV: where they open and close, one that is never closed, and tables without any."""

import io

import numpy as np
import pyarrow as pa
import pytest
from encoders import names_of
from fmcore.io.tables._quotes import QuoteScanner
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv
from test_tables import batches, failure, rows

from fmcore.io.options import Report
from fmcore.io.tables import codec as tables
from fmcore.io.tables import csvhead
from fmcore.schema.encoder import Encoder

ORDINARY = "; if quotes are ordinary characters here, give --no-quotes"
UNCLOSED = "a quote opens in this row and is never closed" + ORDINARY
TORN = "a quoted field spans several lines and other text follows it: perhaps a quote is not closed" + ORDINARY


def rows_of_pyarrow(data, blank):
    """Return how many rows pyarrow finds, of any number of fields."""
    bad, names = [], ["a", "b"][: 1 if blank else 2]

    def skip(row):
        bad.append(row)
        return "skip"

    table = csv.read_csv(
        io.BytesIO(data),
        csv.ReadOptions(use_threads=False, column_names=names),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=not blank, invalid_row_handler=skip),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), check_utf8=False),
    )
    return len(table) + len(bad)


@given(
    st.lists(st.sampled_from([b"a", b",", b'"', b'"', b"\n", b"\r", b"\r\n", b" ", b"\t", b'",', b',"']), max_size=40),
    st.integers(1, 9),
    st.booleans(),
)
@example([b'"', b'"', b'"', b'"', b"\n", b'"'], 1, False)
@example([b"a\n"] * 100 + [b'"'], 300, False)
@example([b"a\n\r\n\r\n\r\r"] * 300 + [b'"'], 1000, True)
@example([b"a\n\r\n\r\n\r\r"] * 300 + [b'"'], 1000, False)
def test_a_scan_finds_the_row_whose_quote_is_never_closed_as_pyarrow_does(parts, size, blank):
    data = b"x\n" + b"".join(parts)
    scanner = QuoteScanner(ord(","), blank)
    for start in range(0, len(data), size):
        scanner.scan(data[start : start + size])
    assert scanner.unclosed == 0
    scanner.finish()
    found = rows_of_pyarrow(data, blank)
    swallows = rows_of_pyarrow(data + b"\nz\nz", blank) == found
    assert scanner.unclosed == (found if swallows else 0)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("text", "torn"),
    [
        ('a,"b\nc"d,e\nf\n', {1}),
        ('a,b\nc,"d\n\ne" x\n', {2}),
        ('a,"b\nc"\n"d\ne",f\n"g\nh"  \n"i\nj" ,k\n', set()),
        ('a,"b"c\n"d ""e"f\n', set()),
        ('"a\nb"""c\n"a\nb""",c\n', {1}),
        ('"a\nb""",c\n\n"d\ne"""f"\n', {2}),
        ('"a\nb"x\n"c\nd"\n"e\nf"x\n', {1, 3}),
        ('"a\nb"', set()),
    ],
)
def test_text_after_a_quoted_field_of_several_lines_is_found(text, torn, size, ending):
    data = text.replace("\n", ending).encode()
    scanner = QuoteScanner(ord(","), False)
    for start in range(0, len(data), size):
        scanner.scan(data[start : start + size])
    scanner.finish()
    assert scanner.torn == torn


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n6,z\n"])
@pytest.mark.parametrize("block", [16, 1 << 20])
@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_quote_that_is_never_closed_is_refused_in_its_row(monkeypatch, kind, delimiter, block, last, ending):
    text = 'n,c\n1,x\n\n2,"y"\n3,"a""b"\n4,"z\n5,w""' + last
    data = text.replace(",", delimiter).replace("\n", ending).encode()
    monkeypatch.setattr(tables, "BLOCK_BYTES", max(block, 24))
    message = failure(data, kind, categorical=("c",))
    assert message == f"t.csv, row 4: {UNCLOSED}"
    report = Report()
    with pytest.raises(Exception, match="row 4: a quote opens"):
        batches(data, kind, report=report, categorical=("c",), on_error="skip")


def test_a_quote_that_swallows_fields_is_refused_for_what_it_is():
    assert failure(b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n') == f"t.csv, row 2: {UNCLOSED}"
    with pytest.raises(Exception, match="row 2: a quote opens"):
        batches(b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n', on_error="skip")


def test_rows_before_a_quote_that_is_never_closed_come_first():
    assert failure(b'a,c\nx,y\n1,"z\n2,w\n', header=True, categorical=("c",), numeric=("a",)).startswith(
        "t.csv, row 1, field a: 'x'"
    )
    report, found = Report(), []
    with pytest.raises(Exception, match="row 3: a quote opens"):
        found.extend(
            batches(b'a,c\nx,y\n1,v\n1,"z\n2,w\n', report=report, categorical=("c",), numeric=("a",), on_error="skip")
        )
    assert str(report.errors[0]).startswith("t.csv, row 1, field a: 'x'")


@pytest.mark.parametrize("data", [b'"a,b\n1,2\n', b'a,"b\n1,2\n', b'1,"2\n3,4\n'])
def test_a_quote_of_the_first_line_that_is_never_closed_is_refused(data):
    assert failure(data) == f"t.csv: the first line: {UNCLOSED}"
    assert failure(data, label="y", on_error="skip") == f"t.csv: the first line: {UNCLOSED}"


def test_a_first_line_that_a_quote_makes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(csvhead, "LIMIT", 10)
    message = "t.csv: the first line is longer than 10 bytes; perhaps a quote is never closed"
    assert failure(b'a,"b\n1,2\n3,4\n') == message


def test_a_row_with_text_after_a_quoted_field_of_several_lines_is_a_bad_row():
    data = b'n,c\n1,x\n2,"y\n3,z\n4,"w\n5,v\n'
    assert failure(data, categorical=("c",)) == f"t.csv, row 2: {TORN}"
    report = Report()
    (batch,) = batches(data, report=report, categorical=("c",), on_error="skip")
    assert batch.origin.numbers.tolist() == [1, 3]
    assert [str(error) for error in report.errors] == [f"t.csv, row 2: {TORN}"]
    assert failure(b'"a\nb"x,c\n1,2\n') == f"t.csv: the first line: {TORN}"


def test_line_ends_in_quotes_are_text():
    encoder = Encoder()
    batch = rows(b'n,c\n1,"x\ny"\n2,"z\r\n""w"""\n3,5"\n', encoder=encoder, categorical=("c",))
    assert names_of(encoder) == ["n", "c=x\ny", 'c=z\r\n"w"', 'c=5"']
    assert len(batch) == 3


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_table_without_quotes_takes_them_as_characters(kind):
    data = b'"n,c\n1,"x\n2,y"\n3,"z"\n4,"\n'.replace(b",", b"\t" if kind == "tsv" else b",")
    encoder = Encoder()
    batch = rows(data, kind, encoder=encoder, categorical=("c",), quotes=False)
    assert names_of(encoder) == ['"n', 'c="x', 'c=y"', 'c="z"', 'c="']
    assert batch.values[batch.indices == 0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("block", range(20, 40))
def test_a_character_cut_by_the_end_of_a_block_ends_no_quote(monkeypatch, block):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    data = b"n,c\n" + "".join(f'{n},"\u20ac\u20ac"\n' for n in range(20)).encode()
    assert len(rows(data, categorical=("c",))) == 20
    assert failure(data + b'1,"x', categorical=("c",)) == f"t.csv, row 21: {UNCLOSED}"


def test_quotes_are_scanned_in_blocks_of_any_size(monkeypatch):
    data = b"n,c\n" + b"".join(b'%d,"v%d\n""w"\n' % (n, n % 7) for n in range(300))
    whole = rows(data, encoder=Encoder(), categorical=("c",))
    for size in (32, 50, 1000):
        monkeypatch.setattr(tables, "BLOCK_BYTES", size)
        part = rows(data, encoder=Encoder(), categorical=("c",))
        np.testing.assert_array_equal(part.indices, whole.indices)

"""Blocks of columns become non-zeros: numbers, logarithms, dates, values, lists."""

import io
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from encoders import hashing, names_of
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from scipy.sparse import csr_matrix

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.tables import codec as tables
from fmcore.io.tables.blocks import ColumnBlock, Fault, Lists, split
from fmcore.io.tables.features import Part, joined, list_part, number_part, signed_log, value_part
from fmcore.rows.batch import concatenate
from fmcore.schema import dates
from fmcore.schema.coding import Texts
from fmcore.schema.columns import LIST, LOG, NUMERIC, Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions
from fmcore.schema.texts import missing_texts

GENRES = Column("g", LIST, "|")
NOTHING = missing_texts(())


def read(data, encoder=None, *, format="csv", path=None, report=None, general=None, **options):  # noqa: A002
    source = SimpleNamespace(name=f"t.{format}", path=path)
    made = ReadOptions(table=TableOptions(**options), **general or {})
    found = tables.read(source, io.BytesIO(data), made, report or Report(), format, encoder=encoder or Encoder())
    return concatenate(list(found))


def dense(batch, width):
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values
    return csr_matrix((values, batch.indices, batch.indptr), (len(batch), width)).toarray()


def texts(*values):
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    return Texts(np.array([-1 if v is None else distinct.index(v) for v in values], np.int32), distinct)


def as_lists(lists):
    """The values of each row."""
    found, place = [], 0
    for length in lists.lengths:
        found.append([lists.items.values[code] for code in lists.items.codes[place : place + length]])
        place += length
    return found


# Lists in a field of text

SPLIT = [
    ("a|b", ["a", "b"]),
    ("b", ["b"]),
    (None, []),
    (" a | c ", ["a", "c"]),
    ("a|a|b|a", ["a", "b"]),
    ("|", []),
    ("||b|", ["b"]),
    ("a|b", ["a", "b"]),
]


def test_a_field_is_split_into_values_that_each_count_once():
    lists = split(texts(*(text for text, _ in SPLIT)), "|", NOTHING)
    assert as_lists(lists) == [values for _, values in SPLIT]
    assert (lists.lengths.dtype, lists.items.codes.dtype) == (np.int64, np.int32)


def test_values_of_lists_are_canonical_and_may_be_missing():
    lists = split(texts("7.0|7|NA", "True|true|null", "NA"), "|", missing_texts(None))
    assert as_lists(lists) == [["7"], ["true"], []]
    assert as_lists(split(texts("7.0|NA"), "|", missing_texts(("7",)))) == [["NA"]]
    assert as_lists(split(texts("a|b", "NA"), "", missing_texts(None))) == [["a|b"], []]


def test_separators_may_be_several_characters_or_a_blank():
    assert as_lists(split(texts("a, b,c"), ", ", NOTHING)) == [["a", "b,c"]]
    assert as_lists(split(texts("a  b"), " ", NOTHING)) == [["a", "b"]]
    assert as_lists(split(texts(), "|", NOTHING)) == []
    assert as_lists(split(texts(None, None), "|", NOTHING)) == [[], []]


@given(st.lists(st.lists(st.text("abc", min_size=1), max_size=4), max_size=12), st.data())
def test_lists_come_back_from_their_text(rows, data):
    lists = split(texts(*("|".join(row) or None for row in rows)), "|", NOTHING)
    unique = [list(dict.fromkeys(row)) for row in rows]
    assert as_lists(lists) == unique
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), bool)
    assert as_lists(lists.take(keep)) == [row for row, kept in zip(unique, keep, strict=True) if kept]
    codes = texts(*(value for row in rows for value in row))
    again = Lists.distinct(np.repeat(np.arange(len(rows)), [len(row) for row in rows]), len(rows), codes)
    assert as_lists(again) == unique


def test_rows_of_a_block_are_taken_without_their_faults():
    block = ColumnBlock(
        np.arange(1, 4),
        {0: np.array([1.0, 2, 3])},
        {1: texts("x", None, "y")},
        {2: split(texts("a|b", None, "b"), "|", NOTHING)},
        [Fault(1, 0, "bad")],
    )
    taken = block.take(np.array([True, False, True]))
    assert taken.rows.tolist() == [1, 3]
    assert taken.numbers[0].tolist() == [1, 3]
    assert [taken.texts[1].values[code] for code in taken.texts[1].codes] == ["x", "y"]
    assert as_lists(taken.lists[2]) == [["a", "b"], ["b"]]
    assert taken.faults == []


# Parts


def test_parts_are_joined_row_by_row_in_the_order_of_columns():
    first = number_part(Column("a", NUMERIC), np.array([1.5, 0, np.nan, -2]), 0)
    second = value_part(np.array([3, -1, 4, 3], np.int32))
    third = list_part(
        GENRES,
        Lists(np.array([2, 0, 1, 0]), Texts(np.array([0, 1, 1], np.int32), ["x", "y"])),
        np.array([5, 6, 6], np.int32),
    )
    made = joined([first, second, third], 4, np.array([0, 7, 9], np.int32))
    assert made.indptr.tolist() == [0, 4, 4, 6, 8]
    assert made.indices.tolist() == [0, 3, 5, 6, 4, 6, 0, 3]
    assert made.values.tolist() == [1.5, 1, 1, 1, 1, 1, -2, 1]
    assert made.fields.tolist() == [0, 7, 9, 9, 7, 9, 0, 7]
    assert (made.indptr.dtype, made.indices.dtype, made.values.dtype, made.fields.dtype) == (
        np.int64,
        np.int32,
        np.float32,
        np.int32,
    )


def test_ones_need_no_values():
    made = joined([value_part(np.array([0, 1], np.int32)), value_part(np.array([-1, 2], np.int32))], 2, None)
    assert (made.values, made.fields) == (None, None)
    assert (made.indptr.tolist(), made.indices.tolist()) == ([0, 1, 3], [0, 1, 2])
    nothing = joined([], 3, None)
    assert (nothing.indptr.tolist(), len(nothing.indices)) == ([0, 0, 0, 0], 0)


@given(st.data())
def test_joined_parts_are_the_columns_beside_each_other(data):
    rows, rng = data.draw(st.integers(0, 6)), np.random.default_rng(data.draw(st.integers(0, 99)))
    parts, expected = [], [[] for _ in range(rows)]
    for number in range(data.draw(st.integers(0, 4))):
        counts = rng.integers(0, 3, rows)
        indices = rng.integers(0, 99, counts.sum()).astype(np.int32)
        values = rng.normal(size=len(indices)).astype(np.float32) if number % 2 else None
        for row, size in enumerate(counts):
            at = counts[:row].sum()
            ones = np.ones(size, np.float32)
            expected[row] += zip(
                indices[at : at + size], ones if values is None else values[at : at + size], strict=True
            )
        parts.append(Part(counts, indices, values))
    made = joined(parts, rows, None)
    found = np.ones(len(made.indices), np.float32) if made.values is None else made.values
    pairs = list(zip(made.indices, found, strict=True))
    assert [pairs[a:b] for a, b in zip(made.indptr, made.indptr[1:], strict=False)] == expected


def test_values_of_a_list_may_share_a_weight_of_one():
    lists = Lists(np.array([2, 1, 0, 4]), texts(*"abbabcd"))
    indices = np.array([0, 1, 1, 0, 1, -1, 2], np.int32)
    part = list_part(Column("g", LIST, "|", mean=True), lists, indices)
    assert part.counts.tolist() == [2, 1, 0, 3]
    assert part.indices.tolist() == [0, 1, 1, 0, 1, 2]
    assert part.values.tolist() == [0.5, 0.5, 1, 0.25, 0.25, 0.25]  # n counts unknown values too
    assert list_part(GENRES, lists, indices).values is None


@pytest.mark.parametrize("number", [0, 1, -1, 0.5, 1e30, -1e30])
def test_signed_logarithms(number):
    assert signed_log(np.array([number]))[0] == np.sign(number) * np.log1p(abs(number))


# Whole tables


def test_numbers_by_their_logarithm():
    encoder = Encoder()
    batch = read(b"a,b\n-3,1\n0,2\n,3\n1e38,4\n", encoder, log=("a",))
    expected = [[-np.log(4), 1], [0, 2], [0, 3], [np.log1p(1e38), 4]]
    np.testing.assert_array_equal(dense(batch, 2), np.array(expected, np.float32))
    assert names_of(encoder) == ["a", "b"]
    assert number_part(Column("a", LOG), np.array([1e300]), 0).values[0] == np.float32(np.log(1e300))


def test_dates_become_linear_and_cyclic_parts():
    encoder, data = Encoder(), b"n,when,c\n1,2024-01-31 07:30,x\n2,,x\n3,1706745599,y\n0,2000-01-01,x\n"
    batch = read(data, encoder, dates=("when",))
    names = names_of(encoder)
    assert names[:2] == ["n", "when:years"]
    assert names[7:] == ["when:cos(day)", "c=x", "c=y"]
    found = dense(batch, 10)
    when = np.array([dates.seconds("2024-01-31 07:30"), np.nan, dates.seconds("1706745599"), 0])
    expected = np.nan_to_num(dates.parts(when)).astype(np.float32)
    np.testing.assert_array_equal(found[:, 1:8], expected)
    assert found[:, 0].tolist() == [1, 2, 3, 0]
    assert found[:, 8:].tolist() == [[1, 0], [1, 0], [0, 1], [1, 0]]


def test_texts_that_are_no_date_are_refused_or_left_out():
    data = b"a,d\n1,2024-01-31\n2,yesterday\n3,2024-02-30\n"
    with pytest.raises(DataError) as caught:
        read(data, dates=("d",))
    assert str(caught.value) == (
        "t.csv, row 2, field d: 'yesterday' is not a date (2024-01-31), a time (2024-01-31 23:59:59), or seconds since 1970"
    )
    report = Report()
    assert len(read(data, dates=("d",), general={"on_error": "skip"}, report=report)) == 1
    assert report.counts == {"rows skipped": 2}
    with pytest.raises(DataError, match="row 2, field d: is empty"):
        read(b"a,d\n1,2024-01-31\n2,\n", dates=("d",), missing="error")


LISTED = b"a,genres,y\n1,Action|Comedy,1\n2,,0\n3, Comedy | War |Comedy,1\n4,|,0\n"


@pytest.mark.parametrize("make", [Encoder, lambda: hashing(8)])
def test_each_value_of_a_list_is_a_feature(make):
    encoder = make()
    batch = read(LISTED, encoder, lists=("genres:|",), label="y")
    assert batch.indptr.tolist() == [0, 3, 4, 7, 8]
    rows = dense(batch, encoder.feature_dim)
    one, other = rows[0].nonzero()[0].tolist(), rows[2].nonzero()[0].tolist()
    assert len({*one, *other}) == 4
    if make is Encoder:
        assert names_of(encoder) == ["a", "genres=Action", "genres=Comedy", "genres=War"]
        assert rows.tolist() == [[1, 1, 1, 0], [2, 0, 0, 0], [3, 0, 1, 1], [4, 0, 0, 0]]
        shared = read(LISTED, lists=("genres:|:mean",), label="y")
        assert dense(shared, 4).tolist() == [[1, 0.5, 0.5, 0], [2, 0, 0, 0], [3, 0, 0.5, 0.5], [4, 0, 0, 0]]


def test_values_of_lists_are_listed_row_by_row_among_those_of_other_columns():
    encoder = Encoder()
    read(b"g,c\na|b,x\nb|d,y\n", encoder, lists=("g:|",))
    assert names_of(encoder) == ["g=a", "g=b", "c=x", "g=d", "c=y"]


def test_lists_that_are_empty_are_missing_and_unknown_values_are_counted_or_refused():
    with pytest.raises(DataError, match=r"t.csv, row 2, field genres: is empty"):
        read(LISTED, lists=("genres:|",), label="y", missing="error")
    encoder = Encoder()
    read(LISTED, encoder, lists=("genres:|",), label="y")
    encoder.freeze()
    report, data = Report(), b"a,genres\n1,War\n2,Horror|War|Crime\n"
    assert dense(read(data, encoder, report=report), 4).tolist() == [[1, 0, 0, 1], [2, 0, 0, 1]]
    assert report.counts == {"unknown values in column genres": 2}
    with pytest.raises(DataError, match=r"t.csv, row 2, field genres: the model holds no 'Horror'"):
        read(data, encoder, general={"unseen": "error"})


def test_lists_of_parquet_are_those_of_csv(tmp_path):
    path = tmp_path / "t.parquet"
    genres = [["Action", "Comedy"], None, ["Comedy", "War", "Comedy"], [], ["War", None, ""]]
    expected = read(LISTED + b"5,War,1\n", one := Encoder(), lists=("genres:|",), label="y")
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_(pa.dictionary(pa.int32(), pa.string()))):
        parquet.write_table(pa.table({"a": range(1, 6), "genres": pa.array(genres, kind), "y": [1, 0, 1, 0, 1]}), path)
        found = read(b"", other := Encoder(), format="parquet", path=str(path), label="y")  # lists by their type
        assert names_of(other) == names_of(one)
        for name in ("indptr", "indices", "values", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    with pytest.raises(UsageError, match=r"column 'genres' has the type list<.*>, which is neither a number nor text"):
        read(b"", format="parquet", path=str(path), label="y", categorical=("genres",))


def test_lists_whose_separator_is_not_known_are_refused_in_text(tmp_path):
    encoder, path = Encoder(columns=[Column("g", LIST), Column("n", NUMERIC)]), tmp_path / "t.parquet"
    parquet.write_table(pa.table({"g": ["a|b"], "n": [1.0]}), path)
    for table in ({"data": b"g,n\na|b,1\n"}, {"data": b"", "format": "parquet", "path": str(path)}):
        with pytest.raises(
            UsageError, match="column 'g' is a list, but text here: name what separates its values, with"
        ):
            read(table.pop("data"), encoder, **table)


def test_a_table_without_rows_decides_on_no_columns():
    encoder, report = Encoder(), Report()
    tables_read = tables.read(
        SimpleNamespace(name="t", path=None), io.BytesIO(b"c,n\n"), ReadOptions(), report, "csv", encoder=encoder
    )
    assert (list(tables_read), encoder.columns) == ([], None)
    assert "t has no rows" in report.notes
    assert names_of(encoder) == []
    read(b"c,n\nx,1\n", encoder)
    assert names_of(encoder) == ["n", "c=x"]


def test_fields_count_columns_whatever_features_they_have():
    data = b"d,g,n,c\n2024-01-31 07:30,a|b,5,x\n"
    batch = read(data, dates=("d",), lists=("g:|",), general={"fields": True})
    assert batch.fields.tolist() == [*[0] * 7, 1, 1, 2, 3]

"""The same values through CSV of several writers, TSV and Parquet: the same texts, features and bytes of batches."""

import datetime as dt
import io
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from encoders import names_of
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv, parquet

from fmcore.io.options import ReadOptions, Report
from fmcore.io.tables import codec as tables
from fmcore.rows.batch import concatenate
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed
from fmcore.schema.options import TableOptions

DAY, LATER, FRACTION = map(
    dt.datetime.fromisoformat, ("2024-01-02", "2024-07-02 03:04:05", "1969-12-31 23:59:59.120000")
)
MOMENTS = [DAY, LATER, None, FRACTION, LATER]
TIMES = [dt.time(3, 4, 5), None, dt.time(0), dt.time(23, 59, 59), dt.time(3, 4, 5)]
FLOATS = [7.0, -0.0, None, 0.1, 1e-7, 1e-5, 123456.75, 1e7, 2.0**24, -1.5, float("nan"), 3.0]
DOUBLES = [*FLOATS, 1e15, 1e16, 2.0**53, 1.2345678901234567e17, 1e22, 5e-324, 1.7e308, 0.1 + 0.2, 1e-4, 12345678.9]
COLUMNS = {
    **{
        f"{kind}": pa.array([0, 7, None, 127, 7], kind)
        for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    },
    "negative": pa.array([-(2**63), 2**63 - 1, None, -7], pa.int64()),
    "unsigned": pa.array([2**64 - 1, 2**53 + 1, None, 0], pa.uint64()),
    "bool": pa.array([True, False, None, True]),
    "float32": pa.array(FLOATS, pa.float32()),
    "float64": pa.array(DOUBLES, pa.float64()),
    "decimal": pa.array([Decimal("7.50"), None, Decimal("-3.00"), Decimal("0.01")], pa.decimal128(5, 2)),
    "tenths": pa.array([Decimal("7.5"), Decimal("7.0"), None], pa.decimal128(5, 1)),
    "small": pa.array([Decimal("0.00000012"), None, Decimal(7)], pa.decimal256(50, 8)),
    "date32": pa.array([DAY.date(), None, LATER.date()], pa.date32()),
    "date64": pa.array([DAY.date(), None, LATER.date()], pa.date64()),
    "midnights": pa.array([DAY, None], pa.timestamp("us")),
    **{f"timestamp {unit}": pa.array([DAY, LATER, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    **{f"fractions {unit}": pa.array(MOMENTS, pa.timestamp(unit)) for unit in ("ms", "us", "ns")},
    "nanoseconds": pa.array([1704164645123456789, None, 1], pa.timestamp("ns")),
    **{f"in {zone}": pa.array(MOMENTS, pa.timestamp("us", zone)) for zone in ("UTC", "Europe/Paris", "-04:30")},
    **{f"time {kind}": pa.array(TIMES, kind) for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"))},
    "nanosecond": pa.array(TIMES, pa.time64("ns")),
    "text": pa.array(["b", None, "7.0", "007", "a,b", 'say "x"', " b ", "NA", "line\nend", "True", "\u00e9", "1.10"]),
    "large text": pa.array(["x", None, "y"], pa.large_string()),
    "dictionary": pa.array(["x", None, "y", "x", "True"]).dictionary_encode(),
    "dictionary of int64": pa.array([7, None, 70, 7]).dictionary_encode(),
    "dictionary of float64": pa.array([7.5, None, 7, 7.5]).dictionary_encode(),
    "null": pa.nulls(3),
}
INEXACT = ("negative", "unsigned")  # in pandas' own types, which make floats of integers beside a missing one
WIDENED = ("float32", "float16", "view")  # by pandas' types of Arrow: 0.10000000149011612; it refuses views
NOT_OF_PANDAS = {  # which writes b'x' for binary
    "binary": pa.array([b"x", None, b"y y"], pa.binary()),
    "large binary": pa.array([b"x", None, b"y"], pa.large_binary()),
    "two bytes": pa.array([b"xy", None, b"yz"], pa.binary(2)),
}
NOT_OF_ARROW = {"float16": pa.array([np.float16(x) for x in (7, 0.1, 65504, -0.0, 2048, 1e-4)], pa.float16())}
if hasattr(pa, "string_view"):
    NOT_OF_ARROW["view"] = pa.array(["x", None, "7.0"], pa.string_view())


def frame(column):
    """Return a table with that column, and a number and a label beside it."""
    rows = range(len(column))
    return pa.table({"c": column, "n": pa.array(rows, pa.int32()), "y": pa.array([row % 2 for row in rows], pa.int8())})


def by_arrow(table, delimiter=","):
    handle = io.BytesIO()
    csv.write_csv(table, handle, csv.WriteOptions(delimiter=delimiter))
    return handle.getvalue()


def by_pandas(table, sep=","):
    return table.to_pandas().to_csv(index=False, sep=sep).encode()


def by_nullable_pandas(table):
    return table.to_pandas(types_mapper=pd.ArrowDtype).to_csv(index=False).encode()


def read(data, kind, make, categorical=("c",), path=None):
    """Return (names, batch) of a table's bytes, or of the Parquet file at `path`."""
    options = ReadOptions(table=TableOptions(label="y", categorical=categorical, header=True), binary=True)
    encoder, source = make(), SimpleNamespace(name=kind, path=path)
    batches = list(tables.read(source, io.BytesIO(data), options, Report(), kind, encoder=encoder))
    return names_of(encoder) if make is Encoder else None, concatenate(batches)


def of_parquet(table, path, make, **more):
    parquet.write_table(table, path)
    return read(b"", "parquet", make, path=path, **more)


def require_equal(found, expected):
    assert found[0] == expected[0]
    for name in ("indptr", "indices", "values", "labels"):
        one, other = getattr(found[1], name), getattr(expected[1], name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes(), name


def hashing():
    return Encoder(Hashed(20))


@pytest.mark.parametrize("make", [Encoder, hashing])
@pytest.mark.parametrize("name", [*COLUMNS, *NOT_OF_PANDAS, *NOT_OF_ARROW])
def test_a_column_gives_the_same_values_in_every_format(tmp_path, name, make):
    table = frame({**COLUMNS, **NOT_OF_PANDAS, **NOT_OF_ARROW}[name])
    expected = of_parquet(table, tmp_path / "t.parquet", make)
    found = []
    if name not in NOT_OF_ARROW:
        found += [read(by_arrow(table), "csv", make), read(by_arrow(table, "\t"), "tsv", make)]
    if name not in (*NOT_OF_PANDAS, *INEXACT):
        found += [read(by_pandas(table), "csv", make), read(by_pandas(table, "\t"), "tsv", make)]
    if name not in (*NOT_OF_PANDAS, *WIDENED):
        found.append(read(by_nullable_pandas(table), "csv", make))
    for each in found:
        require_equal(each, expected)


def test_values_read_as_expected(tmp_path):
    def values(name):
        table = frame({**COLUMNS, **NOT_OF_ARROW}[name])
        names, _ = of_parquet(table, tmp_path / "t.parquet", Encoder)
        return [text.partition("=")[2] for text in names if text.startswith("c=")]

    assert values("bool") == ["true", "false"]
    assert values("float32") == ["7", "0", "0.1", "1e-07", "1e-05", "123456.75", "10000000", "16777216", "-1.5", "3"]
    assert values("float16") == ["7", "0.1", "65500", "0", "2048", "0.0001"]
    assert values("decimal") == ["7.50", "-3.00", "0.01"]
    assert values("tenths") == ["7.5", "7"]
    assert values("date64") == ["2024-01-02", "2024-07-02"]
    assert values("fractions ns") == ["2024-01-02", "2024-07-02 03:04:05", "1969-12-31 23:59:59.12"]
    assert values("nanoseconds")[0] == "2024-01-02 03:04:05.123456789"
    assert values("in Europe/Paris")[1:] == ["2024-07-02 03:04:05Z", "1969-12-31 23:59:59.12Z"]
    assert values("time time64[us]") == ["03:04:05", "00:00:00", "23:59:59"]
    assert values("text") == ["b", "7", "007", "a,b", 'say "x"', "line\nend", "true", "\u00e9", "1.10"]
    assert values("null") == []


@pytest.mark.parametrize("name", ["int8", "uint64", "bool", "float32", "float64", "decimal", "small", "null"])
def test_a_number_is_the_same_in_every_format(tmp_path, name):
    table = frame(COLUMNS[name].slice(0, 12) if name == "float64" else COLUMNS[name])
    expected = of_parquet(table, tmp_path / "t.parquet", Encoder, categorical=())
    if name != "bool":  # which is text in CSV
        require_equal(read(by_arrow(table), "csv", Encoder, ()), expected)
        require_equal(read(by_pandas(table, "\t"), "tsv", Encoder, ()), expected)


def test_labels_are_the_same_in_every_format(tmp_path):
    def labels(data, kind, positive, path=None):
        options = ReadOptions(table=TableOptions(label="y"), positive=positive)
        batches = tables.read(SimpleNamespace(name="t", path=path), io.BytesIO(data), options, Report(), kind)
        return np.concatenate([batch.labels for batch in batches]).tolist()

    for column, positive in (
        ([True, False, True], "True"),
        ([2.0, 1.0, 2.0], "2"),
        ([DAY, LATER, DAY], "2024-01-02T00:00:00"),
        (["caf\u00e9", "b", "cafe\u0301"], " cafe\u0301"),
    ):
        table = pa.table({"n": [1, 2, 3], "y": pa.array(column)})
        path = tmp_path / "t.parquet"
        parquet.write_table(table, path)
        assert labels(b"", "parquet", positive, path) == [1, 0, 1]
        assert labels(by_arrow(table), "csv", positive) == [1, 0, 1]
        assert labels(by_pandas(table), "csv", positive) == [1, 0, 1]


def test_ids_stay_as_they_are_written():
    options = ReadOptions(table=TableOptions(row_id="id", header=True))
    data = b"id,n\n007,1\n7.0,2\n NA ,3\nTrue,4\n2024-01-02T00:00:00,5\n,6\n1e-7,7\n"
    (batch,) = tables.read(SimpleNamespace(name="t", path=None), io.BytesIO(data), options, Report(), "csv")
    assert batch.ids == ["007", "7.0", "NA", "True", "2024-01-02T00:00:00", None, "1e-7"]


@given(st.lists(st.floats(allow_infinity=False) | st.none(), min_size=1, max_size=20))
def test_floats_give_the_same_values_in_csv_of_every_writer(values):
    table = frame(pa.array(values, pa.float64()))
    names = [read(data, "csv", Encoder)[0] for data in (by_arrow(table), by_pandas(table), by_nullable_pandas(table))]
    assert names[0] == names[1] == names[2]

import hashlib
import io
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from encoders import hashing, names_of, vocabulary_bytes

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.tables import codec as tables
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed, Listed
from fmcore.schema.options import TableOptions
from fmcore.schema.vocabulary import new_encoder

HEADER = "index\tcolumn\tvalue\n"
TRAIN = b"age,city,job\n30,Rome,cook\n,Oslo,cook\n5,Rome,baker\n"
CATEGORICAL = ("city", "job")


def read(data, encoder, report=None, *, general=None, **table):
    options = ReadOptions(table=TableOptions(**{"categorical": CATEGORICAL, **table}), **general or {})
    source = SimpleNamespace(name="t.csv", path=None)
    return list(tables.read(source, io.BytesIO(data), options, report or Report(), "csv", encoder=encoder))


def saved(folder, content):
    path = folder / "vocabulary.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_numeric_columns_come_first_then_values_as_they_appear():
    encoder = Encoder()
    (batch,) = read(TRAIN, encoder)
    assert names_of(encoder) == ["age", "city=Rome", "job=cook", "city=Oslo", "job=baker"]
    assert batch.indices.tolist() == [0, 1, 2, 3, 2, 0, 1, 4]
    assert batch.values.tolist() == [30, 1, 1, 1, 1, 5, 1, 1]
    assert (encoder.feature_dim, encoder.fixed, len(encoder.values)) == (5, 1, 4)
    assert vocabulary_bytes(encoder).decode() == (
        HEADER + "0\tage\t\n1\tcity\tRome\n2\tjob\tcook\n3\tcity\tOslo\n4\tjob\tbaker\n"
    )


def test_text_columns_are_categorical_by_themselves_and_said_so():
    encoder, report = Encoder(), Report()
    (batch,) = read(TRAIN, encoder, report, categorical=())
    assert batch.indices.tolist() == [0, 1, 2, 3, 2, 0, 1, 4]
    assert report.notes[-1].splitlines() == [
        "columns of t.csv:",
        "  numeric      age (30, 5)",
        "  categorical  city (Rome, Oslo), job (cook, baker)",
        "  by their content, where no option says it: --numeric, --categorical, --lists, --dates, --ignore",
    ]


def test_an_encoder_that_does_not_learn_takes_all_other_columns_as_numeric():
    with pytest.raises(DataError, match=r"t.csv, row 1, field job: 'cook' is not a number: --categorical job"):
        read(TRAIN, Encoder(learns=False), categorical=("city",))


def test_a_vocabulary_read_back_gives_the_same_columns_and_counts_the_unknown(tmp_path):
    grown = Encoder()
    (first,) = read(TRAIN, grown)
    path = saved(tmp_path, vocabulary_bytes(grown))
    fixed = new_encoder(TableOptions(vocabulary=path), mode="fixed")
    assert fixed.output is None
    (again,) = read(TRAIN, fixed)
    assert again.indices.tolist() == first.indices.tolist()
    report = Report()
    (test,) = read(b"job,city,age\nsmith,Rome,7\n,Nice,0\nsmith,,1\n", fixed, report)
    assert test.indptr.tolist() == [0, 2, 2, 3]
    assert test.indices.tolist() == [0, 1, 0]
    assert report.counts == {"unknown values in column job": 2, "unknown values in column city": 1}
    assert vocabulary_bytes(fixed) == Path(path).read_bytes()
    assert fixed.feature_dim == 5


def test_a_frozen_encoder_adds_no_values():
    encoder = Encoder()
    read(TRAIN, encoder)
    encoder.freeze()
    report = Report()
    (batch,) = read(b"age,city,job\n1,Nice,smith\n", encoder, report)
    assert (encoder.feature_dim, batch.indices.tolist()) == (5, [0])
    assert report.counts == {"unknown values in column city": 1, "unknown values in column job": 1}


@pytest.mark.parametrize("block", [32, 48, 1 << 20])
def test_the_order_of_values_does_not_depend_on_blocks(monkeypatch, block):
    rng = np.random.default_rng(3)
    rows = [f"{i},c{rng.integers(9)},j{rng.integers(40)}" for i in range(200)]
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    encoder = Encoder()
    batches = read(("age,city,job\n" + "\n".join(rows)).encode(), encoder)
    seen = ["age"]
    for row in rows:
        _, city, job = row.split(",")
        seen += [name for name in (f"city={city}", f"job={job}") if name not in seen]
    names = names_of(encoder)
    assert names == seen
    got = [names[i] for batch in batches for i in batch.indices]
    assert got == [
        name
        for i, row in enumerate(rows)
        for name in (*(["age"] if i else []), f"city={row.split(',')[1]}", f"job={row.split(',')[2]}")
    ]
    assert len(batches) > 1 or block > 48


def test_skipped_rows_add_no_values():
    encoder, report = Encoder(), Report()
    data, general = b"1,a\nx,b\n3,c\n", {"on_error": "skip"}
    read(data, encoder, report, general=general, categorical=("1",), numeric=("0",))
    assert names_of(encoder) == ["0", "1=a", "1=c"]
    assert report.counts == {"rows skipped": 1}


def test_later_tables_are_matched_by_name():
    encoder, report = Encoder(), Report()
    (first,) = read(TRAIN, encoder)
    (second,) = read(b"pay,job,age,city\n7,cook,30,Rome\n8,cook,,Oslo\n9,baker,5,Rome\n", encoder, report)
    for name in ("indptr", "indices", "values"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    assert report.notes[-1] == "columns that the model does not know are ignored: pay"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"age,city\n1,Rome\n", "t.csv: column 'job' of the model is missing; the columns found are: 0 age, 1 city; "),
        (b"city\nRome\n", "t.csv: columns 'age', 'job' of the model are missing; the columns found are: 0 city; "),
        (b"age,age,city,job\n1,2,Rome,cook\n", "t.csv: several columns are named 'age', which is a feature of the"),
    ],
)
def test_feature_columns_that_a_later_table_lacks_are_refused(data, expected):
    encoder = Encoder()
    read(TRAIN, encoder)
    with pytest.raises(DataError) as caught:
        read(data, encoder)
    assert str(caught.value).startswith(expected)


def test_feature_columns_that_a_later_table_lacks_may_count_as_empty():
    encoder, report = Encoder(), Report()
    read(TRAIN, encoder)
    (batch,) = read(b"city\nRome\n", encoder, report, missing_columns="zero")
    assert batch.indices.tolist() == [1]
    assert "t.csv: columns of the model that are missing count as empty: age, job" in report.notes


def test_columns_of_one_name_are_told_apart_by_their_order():
    data = b"a,a,y\n1,2,3\n"
    encoder = Encoder()
    (first,) = read(data, encoder, categorical=(), ignore=("1",), label="y")
    (second,) = read(b"y,a,a\n3,1,2\n", encoder, categorical=(), label="y")
    assert first.values.tolist() == second.values.tolist() == [1]
    assert first.indices.tolist() == second.indices.tolist() == [0]


def test_an_unlike_list_of_numeric_columns_in_the_vocabulary_is_refused(tmp_path):
    table = TableOptions(vocabulary=saved(tmp_path, HEADER + "0\tage\t\n1\tpay\t\n2\tcity\tRome\n"))
    with pytest.raises(UsageError, match=r"the vocabulary lists age, pay as numeric columns, but t\.csv has age; "):
        read(TRAIN, new_encoder(table))


def test_headers_are_needed_where_columns_are_known_by_name_and_the_reverse():
    named, numbered = Encoder(), Encoder()
    read(TRAIN, named)
    rows = TRAIN.split(b"\n", 1)[1]
    read(rows, numbered, categorical=("1", "2"), header=False)
    with pytest.raises(UsageError, match=r"t.csv has no header, but columns are known by name \(age, city, job\)"):
        read(rows, named, header=False)
    with pytest.raises(UsageError, match=r"t.csv has a header, but the rows of training had none"):
        read(TRAIN, numbered)
    general = {"by_position": True}
    one, other = read(rows, named, header=False, general=general)[0], read(TRAIN, numbered, general=general)[0]
    assert one.indices.tolist() == other.indices.tolist() == [0, 1, 2, 3, 2, 0, 1, 4]


def test_by_position_tables_of_another_number_of_columns_are_refused():
    encoder = Encoder()
    read(b"y,age,city\n1,30,Rome\n", encoder, categorical=("city",), label="y")
    general = {"by_position": True}
    (whole,) = read(b"0,5,Rome\n", encoder, categorical=(), header=False, general=general)
    (features,) = read(b"5,Rome\n", encoder, categorical=(), header=False, general=general)
    assert whole.indices.tolist() == features.indices.tolist() == [0, 1]
    assert whole.labels.tolist() == [0]
    with pytest.raises(DataError, match=r"4 columns; by position it must have 3, as the rows of training, or 2, those"):
        read(b"0,5,Rome,1\n", encoder, categorical=(), header=False, general=general)


def test_rows_with_indices_and_tables_exclude_each_other():
    encoder = Encoder()
    read(TRAIN, encoder)
    with pytest.raises(UsageError, match=r"x.svm has indices instead of columns, but columns are known by name"):
        encoder.take_indices("x.svm")
    encoder.take_indices("x.svm", by_position=True)
    indexed = Encoder()
    indexed.take_indices("x.svm")
    with pytest.raises(UsageError, match=r"t\.csv is a table, but features are known by index instead of columns"):
        read(TRAIN, indexed)


def test_a_table_for_known_indices_must_have_as_many_numeric_columns():
    general = {"by_position": True}

    def indexed():
        encoder = Encoder(learns=False, grows=False)
        encoder.indexed = 2
        return encoder

    (batch,) = read(b"a,b\n1,2\n", indexed(), categorical=(), general=general)
    assert batch.indices.tolist() == [0, 1]
    with pytest.raises(UsageError, match=r"t\.csv is a table, but features are known by index"):
        read(b"a,b\n1,2\n", indexed(), categorical=())
    with pytest.raises(DataError, match="3 feature columns; by position there must be 2 numeric ones"):
        read(b"a,b,c\n1,2,3\n", indexed(), categorical=(), general=general)
    with pytest.raises(DataError, match="c are categorical; by position there must be 2 numeric ones"):
        read(b"a,b,c\n1,2,x\n", indexed(), categorical=("c",), general=general)


def test_categorical_columns_are_refused_where_values_cannot_be_kept():
    with pytest.raises(UsageError, match=r"categorical columns \(city, job\) need a reason"):
        read(TRAIN, Encoder(barred="need a reason"))
    read(TRAIN, Encoder(Hashed(4), barred="need a reason"))
    read(b"a,b\n1,2\n", Encoder(barred="need a reason"), categorical=())


def test_hashing_is_blake2b_of_column_and_value():
    encoder = hashing(10)
    assert encoder.feature_dim is None
    (batch,) = read(TRAIN, encoder)
    assert encoder.feature_dim == 1 + 2**10
    expected = [[f"city={c}", f"job={j}"] for c, j in (("Rome", "cook"), ("Oslo", "cook"), ("Rome", "baker"))]
    hashes = [
        1 + int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest(), "little") % 2**10
        for t in itertools.chain.from_iterable(expected)
    ]
    assert [i for i in batch.indices.tolist() if i] == hashes
    assert hashes[:2] == [728, 928]  # the same on every platform, for ever


@pytest.mark.parametrize("bits", [0, 31])
def test_hash_bits_outside_their_range_are_refused(bits):
    with pytest.raises(UsageError, match=f"--hash-bits is {bits}; expected 1 to 30"):
        Hashed(bits)


def test_numeric_columns_keep_their_index_in_later_tables_with_hashing():
    encoder = hashing(4)
    (first,) = read(b"a,b,city,job\n1,2,x,y\n", encoder)
    (second,) = read(b"b,a,job,city\n2,1,y,x\n", encoder)
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.values, second.values)


# Rare values

RARE = b"age,city\n" + b"".join(b"1,%s\n" % city for city in (b"A", b"B", b"A", b"C", b"B", b"A", b"", b"D"))


def counts_of(batches, size):
    return sum(np.bincount(batch.indices, minlength=size) for batch in batches)


def test_rare_values_are_dropped():
    encoder = Encoder()
    counts = counts_of(read(RARE, encoder, categorical=("city",)), encoder.feature_dim)
    assert encoder.keep(counts, 2) == (4, 2)
    assert names_of(encoder) == ["age", "city=A", "city=B"]
    encoder.freeze()
    report = Report()
    (batch,) = read(RARE, encoder, report, categorical=("city",))
    assert batch.indices.tolist() == [0, 1, 0, 2, 0, 1, 0, 0, 2, 0, 1, 0, 0]
    assert report.counts == {"rare values left out in column city": 2}


def test_rare_hashed_values_are_dropped():
    encoder = hashing(8)
    whole = read(RARE, encoder, categorical=("city",))
    counts = counts_of(whole, encoder.feature_dim)
    assert encoder.keep(counts, 2) == (4, 2)
    encoder.freeze()
    (batch,) = read(RARE, encoder, categorical=("city",))
    a, b = whole[0].indices[1], whole[0].indices[3]
    assert batch.indices.tolist() == [0, a, 0, b, 0, a, 0, 0, b, 0, a, 0, 0]
    assert encoder.feature_dim == 257


def test_rare_values_that_a_model_knows_stay_with_their_indices():
    known = Listed()
    for value in ("D", "A", "Z"):
        known.add("city", value)
    encoder = Encoder(known, grows=True)
    counts = counts_of(read(RARE, encoder, categorical=("city",)), encoder.feature_dim)
    assert encoder.added == 2  # B and C
    assert encoder.keep(counts, 2) == (4, 3)
    assert names_of(encoder) == ["age", "city=D", "city=A", "city=Z", "city=B"]
    assert encoder.added == 1


def test_hashed_values_that_a_model_kept_stay():
    first = hashing(8)
    first.keep(counts_of(read(RARE, first, categorical=("city",)), first.feature_dim), 2)
    kept = first.values.kept.copy()
    second = Encoder(Hashed(8, kept))
    second.keep(counts_of(read(b"age,city\n1,A\n2,E\n3,E\n", second, categorical=("city",)), second.feature_dim), 2)
    np.testing.assert_array_equal(second.values.kept, kept)

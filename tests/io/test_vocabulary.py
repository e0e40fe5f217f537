import hashlib
import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report, TableOptions
from fmcore.io.tables import codec as tables
from fmcore.io.tables.onehot import Texts
from fmcore.io.tables.vocabulary import Encoder, Hashing, Vocabulary, open_encoder

HEADER = "index\tcolumn\tvalue\n"
TRAIN = b"age,city,job\n30,Rome,cook\n,Oslo,cook\n5,Rome,baker\n"


def read(data, encoder, report=None, **table):
    options = ReadOptions(table=TableOptions(categorical=("city", "job"), **table))
    source = SimpleNamespace(name="t.csv", path=None)
    return list(tables.read(source, io.BytesIO(data), options, report or Report(), "csv", encoder=encoder))


def written(vocabulary):
    handle = io.BytesIO()
    vocabulary.write(handle)
    return handle.getvalue()


def saved(tmp_path, content):
    path = tmp_path / "vocabulary.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(*values):
    distinct = sorted(set(values))
    return Texts(np.array([distinct.index(v) for v in values], np.int32), distinct)


def test_numeric_columns_come_first_then_values_as_they_appear():
    vocabulary = Vocabulary()
    (batch,) = read(TRAIN, vocabulary)
    assert vocabulary.names() == ["age", "city=Rome", "job=cook", "city=Oslo", "job=baker"]
    assert batch.indices.tolist() == [0, 1, 2, 3, 2, 0, 1, 4]
    assert batch.values.tolist() == [30, 1, 1, 1, 1, 5, 1, 1]
    assert vocabulary.is_new
    assert vocabulary.feature_dim == 5
    assert written(vocabulary).decode() == (
        HEADER + "0\tage\t\n1\tcity\tRome\n2\tjob\tcook\n3\tcity\tOslo\n4\tjob\tbaker\n"
    )


def test_a_vocabulary_read_back_gives_the_same_columns_and_counts_the_unknown(tmp_path):
    grown = Vocabulary()
    (first,) = read(TRAIN, grown)
    path = saved(tmp_path, written(grown))
    fixed = open_encoder(table_options(vocabulary=str(path)))
    assert not fixed.is_new
    (again,) = read(TRAIN, fixed)
    assert again.indices.tolist() == first.indices.tolist()
    report = Report()
    (test,) = read(b"job,city,age\nsmith,Rome,7\n,Nice,0\nsmith,,1\n", fixed, report)
    assert test.indptr.tolist() == [0, 2, 2, 3]
    assert test.indices.tolist() == [1, 0, 0]
    assert report.counts == {"unknown values in column job": 2, "unknown values in column city": 1}
    assert written(fixed) == path.read_bytes()
    assert fixed.feature_dim == 5


def test_a_grown_vocabulary_can_be_frozen():
    vocabulary = Vocabulary()
    read(TRAIN, vocabulary)
    vocabulary.freeze()
    read(b"age,city,job\n1,Nice,smith\n", vocabulary)
    assert vocabulary.feature_dim == 5


@pytest.mark.parametrize("block", [32, 48, 1 << 20])
def test_vocabulary_order_does_not_depend_on_blocks(monkeypatch, block):
    rng = np.random.default_rng(3)
    rows = [f"{i},c{rng.integers(9)},j{rng.integers(40)}" for i in range(200)]
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    vocabulary = Vocabulary()
    batches = read(("age,city,job\n" + "\n".join(rows)).encode(), vocabulary)
    seen = ["age"]
    for row in rows:
        _, city, job = row.split(",")
        seen += [name for name in (f"city={city}", f"job={job}") if name not in seen]
    assert vocabulary.names() == seen
    got = [vocabulary.names()[i] for batch in batches for i in batch.indices]
    assert got == [
        name
        for i, row in enumerate(rows)
        for name in (*(["age"] if i else []), f"city={row.split(',')[1]}", f"job={row.split(',')[2]}")
    ]
    assert len(batches) > 1 or block > 48


def test_skipped_rows_add_no_values_to_the_vocabulary():
    options = ReadOptions(on_error="skip", table=TableOptions(categorical=("1",)))
    vocabulary, report = Vocabulary(), Report()
    source = SimpleNamespace(name="t.csv", path=None)
    list(tables.read(source, io.BytesIO(b"1,a\nx,b\n3,c\n"), options, report, "csv", encoder=vocabulary))
    assert vocabulary.names() == ["0", "1=a", "1=c"]
    assert report.counts == {"rows skipped": 1}


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=20))
def test_any_text_survives_the_vocabulary_file(tmp_path_factory, pairs):
    vocabulary = Vocabulary()
    vocabulary.bind([], [column for column, _ in pairs])
    vocabulary.encode([(column, texts(value)) for column, value in pairs])
    path = saved(tmp_path_factory.mktemp("v"), written(vocabulary))
    assert Vocabulary.read(path).names() == vocabulary.names()
    assert path.read_bytes().count(b"\n") == vocabulary.feature_dim + 1


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        ("", 1, "not a vocabulary: its first line is not index<TAB>column<TAB>value"),
        ("0\ta\t\n", 1, "not a vocabulary"),
        (HEADER + "0\ta\n", 2, "2 fields between tabs, expected index, column and value"),
        (HEADER + "0\ta\tb\tc\n", 2, "4 fields between tabs"),
        (HEADER + "\n", 2, "1 fields between tabs"),
        (HEADER + "0\ta\t\n2\tb\tx\n", 3, "index '2', expected 1: indices ascend from 0 without gaps"),
        (HEADER + "-1\ta\t\n", 2, "index '-1', expected 0"),
        (HEADER + "0.0\ta\t\n", 2, "index '0.0', expected 0"),
        (HEADER + "0\ta\t\n0\tb\t\n", 3, "index '0', expected 1"),
        (HEADER + "0\tb\tx\n1\tb\tx\n", 3, "column 'b' with the value 'x' is listed a second time"),
        (HEADER + "0\tb\t\n1\tb\t\n", 3, "column 'b' with the value '' is listed a second time"),
        (HEADER + "0\tb\t\n1\tb\tx\n", 3, "column 'b' is both numeric (no value) and categorical"),
        (HEADER + "0\tb\tx\n1\tb\t\n", 3, "column 'b' is both numeric (no value) and categorical"),
        (HEADER + "0\tb\t\\x\n", 2, "'\\\\x' is no escape; expected"),
        (HEADER + "0\tb\tx\\\n", 2, "'\\\\' is no escape; expected"),
        (HEADER.encode() + b"0\tb\t\xff\n", 2, "not UTF-8"),
    ],
)
def test_damaged_vocabulary_files_are_refused_with_the_line(tmp_path, content, line, expected):
    path = saved(tmp_path, content)
    with pytest.raises(DataError) as caught:
        Vocabulary.read(path)
    assert str(caught.value).startswith(f"{path}, line {line}: {expected}")


def test_a_vocabulary_with_other_line_ends_is_read_and_an_unreadable_one_refused(tmp_path):
    path = saved(tmp_path, (HEADER + "0\ta\t\n1\tb\tx\n").replace("\n", "\r\n"))
    assert Vocabulary.read(path).names() == ["a", "b=x"]
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        Vocabulary.read(tmp_path)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"age,city\n1,Rome\n", "no column 'job'; the columns found are: 0 age, 1 city"),
        (b"city,job\nRome,cook\n", "numeric column 'age' is missing from this table: the vocabulary has age"),
        (
            b"age,pay,city,job\n1,2,Rome,cook\n",
            "numeric column 'pay' is new: the vocabulary has age (leave it out with",
        ),
    ],
)
def test_columns_other_than_those_of_the_vocabulary_are_refused(data, expected):
    vocabulary = Vocabulary()
    read(TRAIN, vocabulary)
    with pytest.raises(UsageError) as caught:
        read(data, vocabulary)
    assert str(caught.value).startswith(expected)


def test_a_column_that_changes_its_kind_is_refused():
    vocabulary = Vocabulary()
    vocabulary.bind(["a"], ["b"])
    with pytest.raises(UsageError, match="column 'b' is categorical in the vocabulary, but not in this table"):
        vocabulary.bind(["a", "b"], [])
    with pytest.raises(UsageError, match="column 'a' is categorical in this table, but numeric in the vocabulary"):
        vocabulary.bind([], ["a", "b"])


def table_options(**options):
    return ReadOptions(table=TableOptions(**options))


def test_open_encoder_chooses_by_the_options(tmp_path):
    missing = str(tmp_path / "none.tsv")
    assert open_encoder(table_options(vocabulary=missing)).is_new
    with pytest.raises(UsageError, match=r"none\.tsv does not exist; name the one of the training rows"):
        open_encoder(table_options(vocabulary=missing), build=False)
    assert isinstance(open_encoder(table_options(hash_bits=4)), Hashing)
    assert type(open_encoder(table_options())) is Encoder
    with pytest.raises(UsageError, match="--vocabulary and --hash-bits exclude each other"):
        open_encoder(table_options(vocabulary="v", hash_bits=4))
    for bits in (0, 31):
        with pytest.raises(UsageError, match=f"--hash-bits is {bits}; expected 1 to 30"):
            open_encoder(table_options(hash_bits=bits))


def test_categorical_columns_need_a_vocabulary_or_hashing():
    with pytest.raises(UsageError, match=r"columns \(city, job\) need either --vocabulary FILE.*--hash-bits"):
        read(TRAIN, Encoder())


def test_hashing_is_blake2b_of_column_and_value():
    encoder = Hashing(10)
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


def test_numeric_columns_keep_their_index_in_later_tables():
    encoder = Hashing(4)
    (first,) = read(b"a,b,city,job\n1,2,x,y\n", encoder)
    (second,) = read(b"b,a,city,job\n2,1,x,y\n", encoder)
    assert first.indices.tolist()[:2] == [0, 1]
    assert second.indices.tolist()[:2] == [1, 0]
    with pytest.raises(UsageError, match="numeric column 'c' is new: the tables before it have a, b"):
        read(b"a,b,c,city,job\n1,2,3,x,y\n", encoder)

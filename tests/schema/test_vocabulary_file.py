from pathlib import Path

import pytest
from encoders import names_of, vocabulary_bytes
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import DataError
from fmcore.schema import vocabulary_file
from fmcore.schema.columns import CATEGORICAL, Column
from fmcore.schema.encoder import Encoder
from fmcore.schema.names import FeatureNames

HEADER = "index\tcolumn\tvalue\n"


def saved(folder, content):
    path = folder / "vocabulary.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def listed(path):
    names = FeatureNames.of_file(path)
    return [names.get(index) for index in range(len(names))]


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=20))
def test_any_text_survives_the_vocabulary_file(tmp_path_factory, pairs):
    encoder = Encoder(columns=[Column(name, CATEGORICAL) for name in dict.fromkeys(name for name, _ in pairs)])
    for column, value in pairs:
        encoder.values.add(column, value)
    path = saved(tmp_path_factory.mktemp("v"), vocabulary_bytes(encoder))
    assert listed(path) == names_of(encoder)
    assert path.read_bytes().count(b"\n") == encoder.feature_dim + 1


def test_features_that_columns_have_of_their_own_come_before_values(tmp_path):
    path = saved(tmp_path, HEADER + "0\ta\t\n1\tday:years\t\n2\tb\tx\n3\tb\ty\n")
    own, buckets, values = vocabulary_file.read(path)
    assert own == (("a", None), ("day:years", None))
    assert buckets == {}
    assert [values.entry(index) for index in range(len(values))] == [("b", "x"), ("b", "y")]


def test_buckets_follow_their_column(tmp_path):
    content = HEADER + "0\ta\t\n1\ta\t(-inf,0.1)\n2\ta\t[0.1,inf)\n3\ta\tmissing\n4\tc\t\n5\tb\t[1,2)\n"
    own, buckets, values = vocabulary_file.read(saved(tmp_path, content))
    assert own == (("a", None), ("a", "(-inf,0.1)"), ("a", "[0.1,inf)"), ("a", "missing"), ("c", None))
    assert list(buckets) == ["a"]
    assert (buckets["a"].edges.tolist(), buckets["a"].missing) == ([0.1], True)
    assert values.entry(0) == ("b", "[1,2)")
    names = listed(saved(tmp_path, content))
    assert names == ["a", "a in (-inf,0.1)", "a in [0.1,inf)", "a missing", "c", "b=[1,2)"]


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
        (HEADER + "0\tb\t\n1\ta\t\n2\tb\t(-inf,1)\n", 4, "column 'b' is both numeric (no value) and categorical"),
        (HEADER + "0\tb\t\n1\tb\t(-inf,1)\n2\tb\t[2,inf)\n", 3, "column 'b': these are no buckets, which follow"),
        (HEADER + "0\tb\t\n1\tb\t[1,2)\n", 3, "column 'b': these are no buckets"),
        (HEADER + "0\tb\tx\n1\ta\t\n", 3, "column 'a' has no value; numeric columns come before all values"),
        (HEADER + "0\tb\t\\x\n", 2, "'\\\\x' is no escape; expected"),
        (HEADER + "0\tb\tx\\\n", 2, "'\\\\' is no escape; expected"),
        (HEADER.encode() + b"0\tb\t\xff\n", 2, "not UTF-8"),
    ],
)
def test_damaged_vocabulary_files_are_refused_with_the_line(tmp_path, content, line, expected):
    path = saved(tmp_path, content)
    with pytest.raises(DataError) as caught:
        vocabulary_file.read(path)
    assert str(caught.value).startswith(f"{path}, line {line}: {expected}")


def test_a_vocabulary_with_other_line_ends_is_read_and_an_unreadable_one_refused(tmp_path):
    path = saved(tmp_path, (HEADER + "0\ta\t\n1\tb\tx\n").replace("\n", "\r\n"))
    assert listed(path) == ["a", "b=x"]
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        vocabulary_file.read(tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        vocabulary_file.read(tmp_path / "none")
    with pytest.raises(DataError, match="not a regular file; expected a vocabulary"):
        vocabulary_file.read(Path("/dev/null"))

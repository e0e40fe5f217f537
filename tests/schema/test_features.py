import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import ModelError
from fmcore.schema.features import Hashed, Listed


def entries(listed):
    return [listed.entry(index) for index in range(len(listed))]


def test_values_are_numbered_as_they_are_added():
    listed = Listed()
    assert [listed.add(*pair) for pair in (("c", "x"), ("d", "x"), ("c", "y"), ("c", "x"))] == [0, 1, 2, 0]
    assert listed.find("c", ["y", "z", "x"]).tolist() == [2, -1, 0]
    assert listed.find("e", ["x"]).tolist() == [-1]
    assert (listed.names, entries(listed)) == (["c", "d"], [("c", "x"), ("d", "x"), ("c", "y")])


@given(st.lists(st.tuples(st.sampled_from("cde"), st.text("xyz", max_size=2)), max_size=30), st.integers(1, 8))
def test_many_values_are_added_as_one_after_the_other(pairs, size):
    one, many = Listed(), Listed()
    expected = [one.add(*pair) for pair in pairs]
    found = []
    for start in range(0, len(pairs), size):
        piece = pairs[start : start + size]
        names = sorted({name for name, _ in piece}, reverse=True)
        found += many.extend(
            names, np.array([names.index(n) for n, _ in piece]), [value for _, value in piece]
        ).tolist()
    assert found == expected
    assert (many.names, entries(many)) == (one.names, entries(one))


def test_values_that_are_dropped_leave_no_gap_and_columns_their_numbers():
    listed = Listed()
    for pair in (("c", "x"), ("d", "x"), ("c", "y")):
        listed.add(*pair)
    listed.keep(np.array([False, False, True]))
    assert entries(listed) == [("c", "y")]
    assert listed.find("c", ["x", "y"]).tolist() == [-1, 0]
    assert [listed.add("d", "x"), listed.add("e", "x")] == [1, 2]
    assert listed.names == ["c", "d", "e"]


def test_values_of_a_number_without_a_name_are_damage():
    listed = Listed()
    listed.add("c", "x")
    listed.add("d", "x")
    damaged = Listed(["c"], listed.table)
    assert damaged.entry(0) == ("c", "x")
    with pytest.raises(ModelError, match="damaged: a categorical value is of column 1; there are 1"):
        damaged.entry(1)


@pytest.mark.parametrize("bits", [1, 3, 20, 30])
def test_hashed_values_are_blake2b_of_column_and_value(bits):
    values = ["x", "", "Zürich", "a=b"]
    digests = [hashlib.blake2b(f"c={value}".encode(), digest_size=8).digest() for value in values]
    expected = [int.from_bytes(digest, "little") % 2**bits for digest in digests]
    hashed = Hashed(bits)
    assert hashed.find("c", values).tolist() == expected
    assert (len(hashed), hashed.entry(0)) == (2**bits, None)
    assert hashed.find("c", values).dtype == np.int32


@pytest.mark.parametrize("bits", [1, 2, 3, 9])
def test_hashed_indices_that_are_dropped_are_unknown(bits):
    whole, values = Hashed(bits), [f"v{number}" for number in range(40)]
    found = whole.find("c", values)
    kept = np.arange(2**bits) % 2 == 0
    dropping = Hashed(bits)
    dropping.keep(kept)
    assert dropping.kept.shape == (max(1, 2**bits // 8),)
    assert dropping.find("c", values).tolist() == np.where(kept[found], found, -1).tolist()
    assert Hashed(bits, dropping.kept).find("c", values).tolist() == dropping.find("c", values).tolist()

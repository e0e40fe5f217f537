"""Categorical values and their indices: like a dict, in arrays that are used as they lie in a file."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import ROOT

from fmcore.errors import DataError, ModelError
from fmcore.schema import _values
from fmcore.schema.values import ValueTable

SLOTS = [175286173, 1227241316, 0, 1079842505, 0, 2974296651, 3167024106]
DIGEST = "867c6d69e4c352c412cd362afb37391cb659b070e5ee1f6771c9b02bc0f13cea"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
COLUMNS = st.sampled_from([0, 1, 2, 255, 256, 65535, 65536, 2**32 - 1])
ENTRIES = st.lists(
    st.tuples(COLUMNS, st.one_of(TEXTS, st.sampled_from(["", "a", "b", "\0", "a\0", "é"]))), max_size=150
)


def filled(entries):
    """Return a table of (column, text) pairs."""
    table = ValueTable()
    table.extend([column for column, _ in entries], [text for _, text in entries])
    return table


def reference(entries):
    """Return the same as a dict."""
    known = {}
    for entry in entries:
        known.setdefault(entry, len(known))
    return known


def many(count, columns=3):
    """Return entries that are all different."""
    return [(number % columns, f"value {number * 7919}") for number in range(count)]


def bytes_of(table):
    """Return dtype and bytes of each tensor."""
    return {name: (array.dtype, array.tobytes()) for name, array in table.tensors().items()}


def mapped(table, folder):
    """Return a table whose arrays are mapped from files."""
    maps = {}
    for name, array in table.tensors().items():
        array.tofile(folder / name)
        maps[name] = np.memmap(folder / name, array.dtype, "r") if array.size else array
    return ValueTable.from_tensors(maps)


@given(ENTRIES, ENTRIES)
def test_a_table_does_as_a_dict(entries, others):
    known, table = reference(entries), ValueTable()
    indices = table.extend(np.array([column for column, _ in entries], np.int64), [text for _, text in entries])
    assert indices.dtype == np.int32
    assert indices.tolist() == [known[entry] for entry in entries]
    assert len(table) == len(known)
    assert list(table.entries()) == list(known)
    again = ValueTable.from_tensors(table.tensors())
    for column in {column for column, _ in [*entries, *others]}:
        texts = [text for _, text in [*entries, *others]]
        expected = [known.get((column, text), -1) for text in texts]
        assert table.find(column, texts).tolist() == expected
        assert again.find(column, [text.encode() for text in texts]).tolist() == expected


@given(ENTRIES, st.integers(0, 2**32), st.integers(1, 7))
def test_the_same_entries_give_the_same_bytes_whatever_came_before(entries, seed, step):
    whole, known = filled(entries), list(reference(entries))
    one_by_one = ValueTable()
    for number, (column, text) in enumerate(entries):
        one_by_one.add(column, text)
        if number % step == 0:
            one_by_one.tensors()
    assert bytes_of(one_by_one) == bytes_of(whole)
    keep = np.random.default_rng(seed).random(len(known)) < 0.5
    kept = filled([entry for entry, is_kept in zip(known, keep, strict=True) if is_kept])
    assert bytes_of(whole.subset(keep)) == bytes_of(kept)
    grown = ValueTable.from_tensors(kept.tensors())
    grown.extend([column for column, _ in known], [text for _, text in known])
    assert bytes_of(grown) == bytes_of(filled([*kept.entries(), *known]))


def test_the_arrays_are_those_of_models_already_written():
    table = filled([(0, "red"), (1, "red"), (0, ""), (300, "a longer text than sixteen bytes é"), (2, "12345678")])
    arrays = table.tensors()
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "texts": "uint8",
        "ends": "uint32",
        "columns": "uint16",
        "slots": "uint32",
    }
    assert arrays["ends"].tolist() == [3, 6, 6, 41, 49]
    assert arrays["columns"].tolist() == [0, 1, 0, 300, 2]
    assert arrays["slots"].tolist() == SLOTS
    assert table.digest() == DIGEST


def test_indices_of_a_large_table_and_what_it_takes():
    entries = many(200_000)
    table, known = filled(entries), reference(entries)
    for column in range(3):
        texts = [text for _, text in entries[:5000]] + [f"{text} " for _, text in entries[:5000]]
        assert table.find(column, texts).tolist() == [known.get((column, text), -1) for text in texts]
    arrays = table.tensors()
    beside_text = sum(array.nbytes for array in arrays.values()) - arrays["texts"].nbytes
    assert beside_text / len(table) < 10.4
    assert table.nbytes < 2.1 * sum(array.nbytes for array in arrays.values())


def test_entries_texts_and_columns_by_index():
    table = filled([(5, "a"), (5, "é"), (300, "\0"), (5, "")])
    assert table.entry(2) == (300, "\0")
    assert table.texts([3, 1, 1]) == ["", "é", "é"]
    assert list(table.entries(1, 3)) == [(5, "é"), (300, "\0")]
    assert list(table.entries(3)) == [(5, "")]
    assert table.columns().tolist() == [5, 5, 300, 5]
    assert table.columns(1, 3).tolist() == [5, 300]
    assert table.columns().base is not None
    for index in (4, -1):
        with pytest.raises(IndexError, match="of 4"):
            table.entry(index)
    with pytest.raises(ValueError, match="read-only"):
        table.columns()[0] = 1


def test_views_handed_out_keep_their_numbers_while_the_table_grows():
    table = filled(many(100))
    arrays = table.tensors()
    before = {name: array.copy() for name, array in arrays.items()}
    table.extend(9, [str(number) for number in range(1000)])
    for name, array in arrays.items():
        assert np.array_equal(array, before[name])


def test_very_long_texts():
    texts = ["x" * size for size in (0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 1 << 20)]
    texts += [text[:-1] + "y" for text in texts[1:]]
    table = filled([(1, text) for text in texts])
    assert table.find(1, texts).tolist() == list(range(len(texts)))
    assert table.texts(range(len(texts))) == texts


def test_texts_beyond_4_gib_have_wide_ends(monkeypatch):
    monkeypatch.setattr(_values, "WIDE_TEXT", 100)
    entries = many(300)
    table, known = filled(entries), reference(entries)
    arrays = table.tensors()
    assert arrays["ends"].dtype == np.int64
    again = ValueTable.from_tensors(arrays)
    assert list(again.entries()) == entries
    assert again.find(1, [text for _, text in entries]).tolist() == [known.get((1, text), -1) for _, text in entries]
    few = again.subset(np.arange(300) < 5)
    assert bytes_of(few) == bytes_of(filled(entries[:5]))
    assert few.tensors()["ends"].dtype == np.uint32


def test_a_mapped_table_is_the_same_and_grows_in_memory(tmp_path):
    entries = many(1000)
    table = filled(entries)
    same = mapped(table, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert list(same.entries()) == entries
    assert bytes_of(same) == bytes_of(table)
    assert same.digest() == table.digest()
    assert same.add(1, entries[1][1]) == 1
    assert isinstance(same.tensors()["texts"].base, np.memmap)
    more = many(1500)
    assert same.extend([column for column, _ in more], [text for _, text in more]).tolist() == list(range(1500))
    assert bytes_of(same) == bytes_of(filled(more))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_table_without_entries(tmp_path):
    for table in (ValueTable(), mapped(ValueTable(), tmp_path), pickle.loads(pickle.dumps(ValueTable()))):
        assert len(table) == 0
        assert table.find(0, ["", "a"]).tolist() == [-1, -1]
        assert table.find(0, []).tolist() == []
        assert list(table.entries()) == []
        assert len(table.subset(np.zeros(0, bool))) == 0
        assert table.digest() == ValueTable().digest()
        assert table.add(0, "") == 0
        assert table.find(0, ["", "a"]).tolist() == [0, -1]


def test_a_pickled_table_is_the_same(tmp_path):
    table = filled(many(500))
    for one in (table, mapped(table, tmp_path)):
        again = pickle.loads(pickle.dumps(one))
        assert bytes_of(again) == bytes_of(table)
        assert again.add(0, "new") == 500
    assert len(table) == 500


def test_digests_tell_columns_and_borders_apart_and_are_those_of_the_first_entries():
    tables = [[(0, "ab"), (0, "c")], [(0, "a"), (0, "bc")], [(0, "ab"), (1, "c")], [(0, "ab")], [(0, "c"), (0, "ab")]]
    assert len({filled(entries).digest() for entries in tables}) == len(tables)
    table = filled(many(300))
    first = filled(many(100))
    assert table.digest(100) == first.digest()
    assert table.starts_with(first)
    assert table.starts_with(ValueTable())
    assert not first.starts_with(table)
    assert not table.starts_with(filled(many(100, columns=2)))
    before = table.digest()
    table.add(0, "more")
    assert table.digest() != before == table.digest(300)
    with pytest.raises(IndexError):
        table.digest(302)


def test_half_a_surrogate_pair_is_listed_nowhere_and_cannot_be():
    table = filled([(0, "a")])
    assert table.find(0, ["\ud800", "a", ""]).tolist() == [-1, 0, -1]
    with pytest.raises(DataError, match="half a surrogate pair"):
        table.extend(0, ["b", "\ud800"])
    with pytest.raises(DataError, match="no UTF-8"):
        table.extend(0, ["b", b"\xff"])
    assert table.find(0, [b"\xff"]).tolist() == [-1]


@pytest.mark.parametrize("wrong", [1, None, 1.5, ["a"]])
def test_what_is_no_text_is_refused(wrong):
    table = filled([(0, "a")])
    with pytest.raises(TypeError, match="expected str or bytes"):
        table.find(0, ["a", wrong])
    with pytest.raises(TypeError, match="expected str or bytes"):
        table.extend(0, ["b", wrong])
    assert list(table.entries()) == [(0, "a")]


@pytest.mark.parametrize("columns", [-1, 2**32, [0, -1], 0.5, "a"])
def test_what_is_no_column_is_refused(columns):
    with pytest.raises(ValueError, match="below 2"):
        ValueTable().extend(columns, ["a", "b"])


def test_columns_and_texts_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        ValueTable().extend([0, 1, 2], ["a", "b"])


def test_more_entries_than_indices_are_refused(monkeypatch):
    monkeypatch.setattr(_values, "MAX_FEATURE_DIM", 100)
    table = filled(many(100))
    assert table.find(0, [many(100)[99][1]]).tolist() == [99]
    with pytest.raises(DataError, match="more than 100 different categorical values"):
        table.add(0, "one more")
    assert table.extend([column for column, _ in many(100)], [text for _, text in many(100)])[-1] == 99
    assert len(table) == 100


@pytest.mark.parametrize("failing", range(6))
def test_a_table_without_memory_to_grow_stays_as_it_was(monkeypatch, failing):
    table, empty, calls = filled(many(100)), np.empty, []

    def scarce(*args):
        calls.append(args)
        if len(calls) > failing:
            raise MemoryError
        return empty(*args)

    more = [f"{number}" for number in range(1000)]
    with monkeypatch.context() as patched:
        patched.setattr(np, "empty", scarce)
        with pytest.raises(MemoryError):
            table.extend(9, more)
    assert list(table.entries(0, 100)) == many(100)
    known = list(table.entries())
    assert known[100:] == [(9, text) for text in more[: len(table) - 100]]
    table.extend(9, more)
    assert bytes_of(table) == bytes_of(filled([*many(100), *((9, text) for text in more)]))


def test_a_subset_by_another_number_of_entries_is_refused():
    for keep in (np.ones(2, bool), np.ones(4, bool), np.ones(3, int)):
        with pytest.raises(ValueError, match="expected bool"):
            filled(many(3)).subset(keep)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("texts", lambda a: a[:-1]),
        ("texts", lambda a: a.astype(np.int8)),
        ("texts", lambda a: a.reshape(1, -1)),
        ("texts", lambda a: np.repeat(a, 2)[::2]),
        ("ends", lambda a: a[:-1]),
        ("ends", lambda a: a.astype(np.int64)),
        ("ends", lambda a: np.append(a[:-1], a[-1:] + 1)),
        ("columns", lambda a: a[:-1]),
        ("columns", lambda a: a.astype(np.int64)),
        ("columns", lambda a: a.astype(np.float32)),
        ("slots", lambda a: a[:-1]),
        ("slots", lambda a: np.append(a, a)),
        ("slots", lambda a: a[:0]),
        ("slots", lambda a: a.astype(np.int32)),
        ("slots", lambda a: np.array(1, np.uint32)),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(name, change):
    arrays = filled(many(30)).tensors()
    with pytest.raises(ModelError, match="damaged: "):
        ValueTable.from_tensors({**arrays, name: change(arrays[name])})


def test_arrays_that_are_missing_or_unknown_are_refused():
    arrays = filled(many(30)).tensors()
    with pytest.raises(ModelError, match="has columns, ends, more, slots, texts; expected texts, ends, columns, slots"):
        ValueTable.from_tensors({**arrays, "more": arrays["ends"]})
    with pytest.raises(ModelError, match="no tensors"):
        ValueTable.from_tensors({})


def test_arrays_may_lie_at_any_address():
    entries = many(100, columns=300)
    arrays = {}
    for name, array in filled(entries).tensors().items():
        data = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:]
        arrays[name] = data.view(array.dtype)
    assert not arrays["slots"].flags.aligned
    table = ValueTable.from_tensors(arrays)
    assert list(table.entries()) == entries
    assert table.find(7, [entries[7][1], "none"]).tolist() == [7, -1]
    table.add(0, "more")
    assert bytes_of(table) == bytes_of(filled([*entries, (0, "more")]))


def test_damaged_arrays_never_lead_outside_of_themselves_and_sound_ones_open_unread():
    """In a process of its own, which a single read where none should be would end."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/helpers/walled.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, others = map(int, done.stdout.split())
    assert refused > 100
    assert others > 100


def test_slots_without_an_empty_one_end_a_search():
    arrays = filled(many(1000)).tensors()
    slots = np.where(arrays["slots"] == 0, 1, arrays["slots"])
    with pytest.raises(ModelError, match="damaged"):
        ValueTable.from_tensors({**arrays, "slots": slots}).find(0, ["not there"])


def test_texts_that_are_no_utf8_are_refused_where_they_are_read():
    arrays = filled([(0, "a"), (0, "b")]).tensors()
    table = ValueTable.from_tensors({**arrays, "texts": np.array([0x61, 0xFF], np.uint8)})
    assert table.entry(0) == (0, "a")
    with pytest.raises(ModelError, match="no UTF-8"):
        table.entry(1)


def test_a_table_that_grows_from_damaged_arrays_is_refused_and_stays_as_it_was():
    arrays = filled(many(100)).tensors()
    ends = arrays["ends"].copy()
    ends[50] = 2**31
    table = ValueTable.from_tensors({**arrays, "ends": ends})
    before = table.find(0, [many(100)[99][1]]).tolist()
    with pytest.raises(ModelError, match="damaged"):
        table.add(0, "new")
    assert len(table) == 100
    assert table.find(0, [many(100)[99][1]]).tolist() == before == [99]
    with pytest.raises(ModelError, match="damaged"):
        table.subset(np.ones(100, bool))
    with pytest.raises(ModelError, match="damaged"):
        table.digest(51)

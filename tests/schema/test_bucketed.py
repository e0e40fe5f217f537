"""Buckets of the values of ids: what a row gets beside each, what decides on the edges, and what a model keeps."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fmcore import api
from fmcore.errors import DataError, ModelError, UsageError
from fmcore.io.indexing import Indexing
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.sources.source import find
from fmcore.io.text import codec
from fmcore.rows.batch import MAX_FEATURE_DIM, Batch, concatenate
from fmcore.schema.bucketed import TENSORS, BucketedIds, from_tensors
from fmcore.schema.buckets import Buckets, cut
from fmcore.schema.ids import CompactIds, HashedIds, IdMap
from fmcore.schema.options import AUTO, NONE, TABLES, TableOptions
from fmcore.schema.vocabulary import new_encoder

EDGES = {3: [0.5, 2.0], 7: [-1.0]}


def bucketed(inner=None):
    return BucketedIds(inner or IdMap(), {each: Buckets(np.array(edges)) for each, edges in EDGES.items()})


def random_ids(rows=200, *, binary=False, seed=0):
    """Return rows of ids up to 9, some of them with the value 0."""
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 6, rows)
    indptr = np.append(0, np.cumsum(sizes)).astype(np.int64)
    ids, values = random.integers(0, 10, indptr[-1]).astype(np.int32), random.normal(0, 2, indptr[-1]).round(1)
    fields = random.integers(0, 3, indptr[-1]).astype(np.int32)
    return Batch(indptr, ids, None if binary else values.astype(np.float32), np.zeros(rows, np.float32), fields=fields)


def rows_of(batch):
    """Return (index, value, field) of the non-zeros of each row."""
    values = np.ones(len(batch.indices)) if batch.values is None else batch.values
    triples = list(zip(batch.indices.tolist(), values.tolist(), batch.fields.tolist(), strict=True))
    return [triples[a:b] for a, b in zip(batch.indptr[:-1], batch.indptr[1:], strict=True)]


# --------------------------------------------------------------------------------------------------- rows
@pytest.mark.parametrize("binary", [False, True])
def test_each_value_that_is_not_0_has_its_bucket_behind_it(binary):
    """Compare with a loop over non-zeros: buckets 0 to 2 are of id 3, 3 and 4 of id 7, and ids begin at 5."""
    batch = random_ids(binary=binary)
    made, unknown = Indexing(bucketed()).apply(batch)
    expected = []
    for row in rows_of(batch):
        expected.append([])
        for each, value, field in row:
            expected[-1].append((each + 5, value, field))
            if each in EDGES and value != 0:
                first = 0 if each == 3 else 3
                expected[-1].append((first + sum(edge <= value for edge in EDGES[each]), 1.0, field))
    assert rows_of(made) == expected
    assert unknown == 0
    assert (made.values is None) is binary


def test_ids_without_buckets_are_as_they_were():
    batch = random_ids()
    assert Indexing(BucketedIds(IdMap(), {})).apply(batch)[0] is batch


@pytest.mark.parametrize("inner", [CompactIds, lambda: HashedIds(6)], ids=["compact", "hashed"])
def test_wide_ids_are_mapped_by_their_own_map_behind_the_buckets(inner):
    huge = 2**64 - 1
    ids = BucketedIds(inner(), {huge: Buckets(np.array([1.0]))})
    batch = Batch(np.array([0, 3]), np.array([5, huge, 5], np.uint64), np.array([1, 2, 3], np.float32), np.zeros(1))
    indices = Indexing(ids).apply(batch)[0].indices
    alone = inner().map(batch.indices)
    assert indices.tolist() == [alone[0] + 2, alone[1] + 2, 1, alone[2] + 2]


def test_an_id_that_has_no_index_beside_the_buckets_is_unknown_to_a_model_and_refused_in_training():
    largest = MAX_FEATURE_DIM - 1
    one = Batch(np.array([0, 2]), np.array([7, largest - 4], np.int32), None, np.zeros(1, np.float32))
    assert Indexing(IdMap()).apply(one)[0].indices.tolist() == [7, largest - 4]
    made, unknown = Indexing(bucketed()).apply(one)
    assert (made.indices.tolist(), unknown) == ([12, 4], 1)
    training = BucketedIds(IdMap(), into=2)
    training.learn(np.array([7, 7, 7, 7, 7], np.uint64), np.arange(1, 6, dtype=np.float32), 0)
    with pytest.raises(DataError, match=f"id {largest} is too large beside 2 buckets; --hash-bits hashes larger ids"):
        Indexing(training).apply(replace(one, indices=np.array([7, largest], np.int32)))


def test_unknown_ids_are_counted_and_named_as_without_buckets():
    ids = bucketed(CompactIds.numbered(np.array([3, 1], np.uint64)))
    batch = random_ids()
    wide = Batch(batch.indptr, batch.indices.astype(np.uint64), batch.values, batch.labels)
    made, unknown = Indexing(ids).apply(wide)
    assert unknown == int((~np.isin(batch.indices, [1, 3])).sum())
    assert set(made.indices.tolist()) <= set(range(7))
    with pytest.raises(DataError, match="id 8 is unknown to the model"):
        Indexing(ids, base=1, unseen="error").apply(
            Batch(np.array([0, 2]), np.array([3, 7], np.uint64), None, np.zeros(1, np.float32))
        )


# ------------------------------------------------------------------------------------------- decisions on edges
def text(rows=3000, seed=0):
    """Return libsvm text and its rows as dicts: id 1 and 4 with numbers, 6 always 1, 8 in a few rows only."""
    random, lines, found = np.random.default_rng(seed), [], []
    for number in range(rows):
        row = {1: round(random.normal(), 3), 4: round(random.normal(5, 2), 2), 6: 1}
        row |= {8: round(random.normal(), 3)} if number % 100 == 0 else {}
        row = {each: value or 1 for each, value in row.items() if random.random() < 0.8}
        found.append(row)
        lines.append(f"{number % 2} " + " ".join(f"{each}:{value}" for each, value in row.items()) + "\n")
    return "".join(lines), found


def read(path, *, compact=False, threads=1, **table):
    """Return all rows of a file as one batch, the encoder, and the notes."""
    table, report = TableOptions(**table), Report()
    encoder = new_encoder(table, compact=compact)
    options = ReadOptions(table=table, threads=threads, compact=compact)
    return concatenate(list(read_batches(find([str(path)]), options, report, encoder=encoder))), encoder, report.notes


@pytest.fixture
def svm(tmp_path):
    """Return the path of `text` and its rows."""
    lines, rows = text()
    (tmp_path / "x.svm").write_text(lines)
    return tmp_path / "x.svm", rows


def edges_of(encoder):
    return {name: array.tolist() for name, array in encoder.ids.tensors().items()}


def test_edges_are_those_of_the_values_of_an_id(svm):
    path, rows = svm
    _, encoder, notes = read(path, buckets=12)
    values = [np.array([row[each] for row in rows if each in row], np.float32).astype(float) for each in (1, 4, 8)]
    expected = [cut(each, 12).edges.tolist() for each in values]
    assert edges_of(encoder) == {
        "cut": [1, 4, 8],
        "edges": [edge for edges in expected for edge in edges],
        "ends": np.cumsum([len(each) for each in expected]).tolist(),
    }
    of_8 = len(expected[2]) + 1  # more than asked for, as each of its few rows has half the share of a bucket
    assert f"buckets: id 1 12, id 4 12, id 8 {of_8} (--buckets none leaves them out)" in notes


def test_unasked_an_id_needs_rows_and_index_formats_have_none(svm):
    path, rows = svm
    assert edges_of(read(path, buckets=AUTO)[1])["cut"] == [1, 4]
    wanted = [int(len([row for row in rows if each in row]) ** 0.5 / 6) for each in (1, 4)]
    assert f"id 1 {wanted[0]}, id 4 {wanted[1]}" in " ".join(read(path, buckets=AUTO)[2])
    for buckets in (None, NONE, TABLES):
        assert edges_of(read(path, buckets=buckets)[1]) == {}


def test_the_first_rows_decide_whatever_the_pieces_they_come_in(svm, monkeypatch):
    path, rows = svm
    monkeypatch.setattr("fmcore.io.waiting.BLOCK_ROWS", 1000)
    one, encoder, _ = read(path, buckets=8)
    first = np.array([row[1] for row in rows[:1000] if 1 in row], np.float32).astype(float)
    assert edges_of(encoder)["edges"][:7] == cut(first, 8).edges.tolist()
    monkeypatch.setattr(codec.chunks, "__defaults__", (999,))
    for threads in (1, 4):
        other, again, _ = read(path, buckets=8, threads=threads)
        assert edges_of(again) == edges_of(encoder)
        np.testing.assert_array_equal(other.indices, one.indices)
        np.testing.assert_array_equal(other.values, one.values)


def test_wide_rows_decide_sooner(svm, monkeypatch):
    path, rows = svm
    monkeypatch.setattr("fmcore.io.waiting.BLOCK_NON_ZEROS", 500)
    counts = np.cumsum([len(row) for row in rows])
    few = rows[: int(np.searchsorted(counts, 500, "right"))]
    values = np.array([row[4] for row in few if 4 in row], np.float32).astype(float)
    edges = edges_of(read(path, buckets=3, buckets_for=("4",))[1])["edges"]
    assert edges == cut(values, 3).edges.tolist()


def test_all_index_formats_have_the_same_buckets(svm, tmp_path):
    path, rows = svm
    api.convert(api.Data([str(path)]), str(tmp_path / "x.rec"))
    lines = [json.dumps({"data": {"features": {"keys": list(row), "values": list(row.values())}}}) for row in rows]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    found = [edges_of(read(tmp_path / name, buckets=6)[1]) for name in ("x.svm", "x.rec", "x.jsonl")]
    assert found[0] == found[1] == found[2]


def test_the_ids_of_a_list_alone_are_cut(svm):
    assert edges_of(read(svm[0], buckets_for=("4",))[1])["cut"] == [4]
    assert edges_of(read(svm[0], buckets=4, buckets_for=("2-9",))[1])["cut"] == [4, 8]
    assert edges_of(read(svm[0], buckets=4, buckets_for=("1", "8"), compact=True)[1])["cut"] == [1, 8]
    assert edges_of(read(svm[0], buckets=AUTO, buckets_for=("8",))[1])["cut"] == [8]  # however few rows have it


def test_ids_that_have_none_are_said(svm):
    *_, notes = read(svm[0], buckets=4, buckets_for=("4", "6"))
    assert "buckets: id 4 4; none for id 6, whose values do not differ (--buckets none leaves them out)" in notes
    *_, notes = read(svm[0], buckets_for=("6",))
    assert "buckets: none for id 6, whose values do not differ (--buckets none leaves them out)" in notes


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("price", "--buckets-for names 'price'; expected ids, which these rows have, such as 7 or 3-9"),
        ("2", "--buckets-for names 2, but no such id has a value in the first rows"),
    ],
)
def test_what_is_no_id_is_refused(svm, named, sentence):
    with pytest.raises(UsageError, match=sentence):
        read(svm[0], buckets_for=(named,))


# ------------------------------------------------------------------------------------------------- what is kept
def test_tensors_give_the_same_map():
    ids = bucketed(CompactIds.numbered(np.array([9, 3, 7], np.uint64)))
    again = from_tensors(ids.tensors())
    batch = random_ids()
    wide = Batch(batch.indptr, batch.indices.astype(np.uint64), batch.values, batch.labels, fields=batch.fields)
    for name, array in ids.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], array)
    assert rows_of(Indexing(again).apply(wide)[0]) == rows_of(Indexing(ids).apply(wide)[0])
    assert list(again.entries(1)) == [
        ("id 4", "(-inf,0.5)"),
        ("id 4", "[0.5,2)"),
        ("id 4", "[2,inf)"),
        ("id 8", "(-inf,-1)"),
        ("id 8", "[-1,inf)"),
    ]


def test_rare_ids_are_dropped_and_all_buckets_stay():
    ids = bucketed().subset(np.array([True] * 5 + [False, False, False, True, True, False]))
    assert ids.feature_dim == 7
    assert ids.map(np.array([3, 4, 0], np.int32)).tolist() == [5, 6, -1]
    assert ids.own == 5


@pytest.mark.parametrize(
    "damage",
    [
        {"cut": None},
        {"cut": [7, 3]},
        {"cut": [3, 3]},
        {"cut": [3]},
        {"edges": [2.0, 0.5, -1.0]},
        {"edges": [0.5, np.inf, -1.0]},
        {"edges": [0.5, 2.0]},
        {"ends": [2, 2]},
        {"ends": [3, 2]},
        {"ends": [2.0, 3.0]},
    ],
    ids=str,
)
def test_damaged_tensors_are_refused(damage):
    tensors = bucketed().tensors()
    assert set(tensors) == set(TENSORS)
    for name, array in damage.items():
        del tensors[name]
        if array is not None:
            tensors[name] = np.array(array)
    with pytest.raises(
        ModelError, match=r"damaged: it has (only some of the tensors|edges of buckets that no ids have)"
    ):
        from_tensors(tensors)

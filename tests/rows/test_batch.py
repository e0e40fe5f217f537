import pickle
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import as_matrix, block_of, random_rows

from fmcore.errors import DataError
from fmcore.hyper.params import Hyperparameters
from fmcore.kernels import backend_for
from fmcore.rows import blocks
from fmcore.rows.batch import ARRAYS, Batch, RowOrigin, concatenate
from fmcore.rows.fingerprint import checksum
from fmcore.rows.scaling import scaled


def batch(**changes):
    fields = {
        "indptr": np.array([0, 2, 2, 5]),
        "indices": np.array([4, 1, 0, 2, 9], np.int32),
        "values": np.array([1, 2, 3, 4, 5], np.float32),
        "labels": np.array([0, 1, 2], np.float32),
        "weights": np.array([1, 2, 3], np.float32),
        "ids": ["a", None, "c"],
        "origin": RowOrigin("x.svm", "line", np.array([3, 7, 8])),
    }
    return Batch(**{**fields, **changes})


def test_take_keeps_every_array_and_the_rows_places():
    taken = batch().take([2, 0])
    assert taken.indptr.tolist() == [0, 3, 5]
    assert taken.indices.tolist() == [0, 2, 9, 4, 1]
    assert taken.values.tolist() == [3, 4, 5, 1, 2]
    assert (taken.labels.tolist(), taken.weights.tolist(), taken.ids) == ([2, 0], [3, 1], ["c", "a"])
    assert taken.place(0) == {"source": "x.svm", "unit": "line", "number": 8}


def test_concatenate_fills_in_what_only_some_batches_have():
    joined = concatenate([batch(), batch(values=None, weights=None, ids=None)])
    assert joined.indptr.tolist() == [0, 2, 2, 5, 7, 7, 10]
    assert joined.values.tolist() == [1, 2, 3, 4, 5, 1, 1, 1, 1, 1]
    assert joined.weights.tolist() == [1, 2, 3, 1, 1, 1]
    assert joined.ids == ["a", None, "c", None, None, None]
    assert joined.feature_dim == 10
    assert concatenate([batch(values=None)]).values is None


def test_take_of_every_other_row_gives_those_rows():
    assert batch().take(slice(0, None, 2)).indices.tolist() == [4, 1, 0, 2, 9]


@pytest.mark.parametrize("rows", [slice(1, 2), []])
def test_take_of_an_empty_row_or_of_no_row_gives_no_non_zeros(rows):
    taken = batch().take(rows)
    assert (len(taken.indices), taken.feature_dim) == (0, 0)


def test_within_leaves_out_unknown_features_and_counts_them():
    known, unseen = batch().within(4)
    assert unseen == 2
    assert known.indptr.tolist() == [0, 1, 1, 3]
    assert known.indices.tolist() == [1, 0, 2]
    assert known.values.tolist() == [2, 3, 4]
    same = batch()
    assert same.within(10) == (same, 0)


FIELDS, GROUPS = np.array([7, 0, 3, 3, 2], np.int32), np.array([5, 5, 2**40])


def grouped(**changes):
    return batch(fields=FIELDS, groups=GROUPS, **changes)


def test_take_keeps_fields_with_their_non_zeros_and_groups_with_their_rows():
    taken = grouped().take([2, 0])
    assert (taken.fields.tolist(), taken.groups.tolist()) == ([3, 3, 2, 7, 0], [2**40, 5])
    assert (taken.fields.dtype, taken.groups.dtype) == (np.int32, np.int64)
    assert (batch().take([2, 0]).fields, batch().take([2, 0]).groups) == (None, None)


def test_within_leaves_out_the_fields_of_unknown_features():
    known, _ = grouped().within(4)
    assert (known.fields.tolist(), known.groups.tolist()) == ([0, 3, 3], GROUPS.tolist())


def test_concatenate_joins_fields_and_groups():
    joined = concatenate([grouped(), grouped(values=None).take([0])])
    assert (joined.fields.tolist(), joined.groups.tolist()) == ([7, 0, 3, 3, 2, 7, 0], [5, 5, 2**40, 5])
    assert (concatenate([batch()]).fields, concatenate([]).groups) == (None, None)


def test_concatenate_refuses_rows_with_fields_or_groups_beside_rows_without():
    with pytest.raises(DataError, match=r"some rows have fields and others have none"):
        concatenate([batch(fields=FIELDS), batch()])
    with pytest.raises(DataError, match=r"some rows have groups and others have none"):
        concatenate([batch(), batch(groups=GROUPS)])


def test_concatenate_needs_no_fields_of_rows_without_non_zeros_nor_groups_of_no_rows():
    joined = concatenate([batch(fields=FIELDS), batch().take([1]), batch().take([])])
    assert (joined.fields.tolist(), joined.fields.dtype, len(joined)) == (FIELDS.tolist(), np.int32, 4)
    assert concatenate([batch().take([]), batch(groups=GROUPS)]).groups.tolist() == GROUPS.tolist()


def test_fields_and_groups_count_among_the_bytes_and_in_the_fingerprint():
    assert grouped().nbytes == batch().nbytes + 4 * 5 + 8 * 3
    assert len({checksum(each) for each in (batch(), batch(fields=FIELDS), batch(groups=GROUPS), grouped())}) == 4
    before = 0
    for name in ("indptr", "indices", "values", "labels", "weights"):
        before = zlib.crc32(getattr(batch(), name), before)
    assert checksum(batch()) == before


def test_a_pickle_and_scaled_values_keep_fields_and_groups():
    for same in (pickle.loads(pickle.dumps(grouped())), scaled(grouped(), np.full(10, 2, np.float32))):
        assert (same.fields.tolist(), same.groups.tolist()) == (FIELDS.tolist(), GROUPS.tolist())


def marked(count, seed, *, binary):
    """Random rows whose fields follow from their indices, and whose groups and labels are the rows' numbers."""
    batch = random_rows(count, 30, seed, binary=binary)
    batch.fields, batch.groups = batch.indices * 3 + 1, np.arange(count) + 2**33
    batch.labels[:] = np.arange(count)
    return batch


def require_marked(batch):
    np.testing.assert_array_equal(batch.fields, batch.indices * 3 + 1)
    np.testing.assert_array_equal(batch.groups, batch.labels.astype(np.int64) + 2**33)


@given(st.data(), st.integers(1, 60), st.integers(0, 2**32 - 1), st.booleans())
def test_fields_follow_their_non_zeros_through_take_within_and_concatenate(data, count, seed, binary):
    batch = marked(count, seed, binary=binary)
    places = st.lists(st.integers(0, count - 1), max_size=2 * count)
    some, others = (batch.take(data.draw(places)) for _ in range(2))
    for made in (some, concatenate([some, others]), batch.within(data.draw(st.integers(0, 30)))[0]):
        require_marked(made)
    assert len(concatenate([some, others]).fields) == len(some.fields) + len(others.fields)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.booleans())
def test_fields_follow_their_non_zeros_into_prepared_blocks(count, block_rows, size, seed, binary):
    parts = [marked(count, seed, binary=binary).take(slice(n, n + 7)) for n in range(0, count, 7)]
    backend, h, rows = backend_for("cpu", 2), Hyperparameters(predictor_type="regressor", seed=seed), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_ROWS", block_rows)
        for number, batch in enumerate(blocks.cut(parts)):
            require_marked(batch)
            block = backend.prepare(blocks.make_block(batch, number, size, h))
            require_marked(block.batch)
            plain = backend.prepare(blocks.make_block(_without(batch), number, size, h))
            for name in set(ARRAYS) - {"fields", "groups"}:
                np.testing.assert_array_equal(getattr(block.batch, name), getattr(plain.batch, name))
            for mine, its in zip(block.groups, plain.groups, strict=True):
                np.testing.assert_array_equal(mine, its)
            rows += len(batch)
    assert rows == count


def _without(batch):
    return Batch(batch.indptr, batch.indices, batch.values, batch.labels, batch.weights)


def test_rows_with_fields_do_not_become_a_matrix(monkeypatch):
    as_matrix(monkeypatch)
    block = backend_for("cpu").prepare(block_of(marked(40, 1, binary=False), 8))
    require_marked(block.batch)

import numpy as np
import pytest

from fmcore.rows.batch import Batch, RowOrigin, concatenate


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


def test_take_of_every_other_row():
    assert batch().take(slice(0, None, 2)).indices.tolist() == [4, 1, 0, 2, 9]


@pytest.mark.parametrize("rows", [slice(1, 2), []])
def test_take_of_an_empty_row_or_of_none(rows):
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

import re
from dataclasses import replace

import numpy as np
import pytest

from fmcore.errors import DataError
from fmcore.io.options import Report
from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch, RowOrigin
from fmcore.rows.checks import checked, known_features, largest_indices
from fmcore.rows.source import as_rows

ANY = objective_of("regressor")  # takes any finite label


def rows(*features, labels=None):
    """Return a Batch of rows of one feature list each, from lines 11, 12, ... of x."""
    indptr = np.cumsum([0, *map(len, features)]).astype(np.int64)
    labels = np.zeros(len(features)) if labels is None else labels
    return Batch(
        indptr,
        np.array([i for row in features for i in row], np.int32),
        None,
        np.array(labels, np.float32),
        origin=RowOrigin("x", "line", range(11, 11 + len(features))),
    )


def test_largest_index_of_each_row_also_of_empty_ones():
    assert largest_indices(rows([], [3, 1], [], [], [0], [5, 9, 2], [])).tolist() == [-1, 3, -1, -1, 0, 9, -1]
    assert largest_indices(rows([], [])).tolist() == [-1, -1]
    assert largest_indices(rows()).tolist() == []


def test_rows_that_meet_the_demands_pass_unchanged():
    batch = rows([0], [4], labels=[1, np.nan])
    report = Report()
    assert next(checked([batch], report, on_error="fail")) is batch
    assert next(checked([batch], report, on_error="fail", feature_dim=5)) is batch
    assert report == Report()


@pytest.mark.parametrize(
    ("demands", "message", "left"),
    [
        ({"labels": ANY}, "x, line 12: the row has no label, which training and metrics need; ", [11, 13]),
        ({"feature_dim": 4}, "x, line 13: index 7 is beyond the stated feature_dim 4; indices count from 0", [11, 12]),
        ({"feature_dim": 4, "labels": ANY}, "x, line 12: the row has no label", [11]),
    ],
)
def test_rows_that_violate_the_demands_are_refused_or_skipped(demands, message, left):
    batch = rows([0], [1, 2], [7, 3], labels=[1, np.nan, 0])
    with pytest.raises(DataError) as caught:
        next(checked([batch], Report(), on_error="fail", **demands))
    assert str(caught.value).startswith(message)
    report = Report()
    (kept,) = checked([batch], report, on_error="skip", **demands)
    assert [kept.place(row)["number"] for row in range(len(kept))] == left
    assert report.counts == {"rows skipped": 3 - len(left)}
    assert str(report.errors[0]).startswith(message)


def test_unknown_features_are_ignored_and_counted_or_refused():
    report = Report()
    first, second = known_features([rows([0, 5], [6]), rows([1])], report, feature_dim=5, unseen="ignore")
    assert (first.indptr.tolist(), first.indices.tolist(), len(second)) == ([0, 1, 1], [0], 1)
    assert report.counts == {"non-zeros of features unknown to the model ignored": 2}
    batches = known_features([rows([1]), rows([0], [2, 9])], report, feature_dim=5, unseen="error")
    next(batches)
    with pytest.raises(DataError, match=r"^x, line 12: index 9 is unknown to the model, whose feature_dim is 5$"):
        next(batches)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indices": np.array([0, 4, -1], np.int32)}, "x, line 12: index -1; indices count from 0"),
        ({"indices": np.array([0, 4, 1])}, "indices is int64 (3,); expected int32 (3,)"),
        ({"values": np.ones(2, np.float32)}, "values is float32 (2,); expected float32 (3,)"),
        ({"fields": np.zeros(2, np.int32)}, "fields is int32 (2,); expected int32 (3,)"),
        ({"indptr": np.array([0, 2], np.int64)}, "indptr is int64 (2,); expected int64 (3,)"),
        ({"indptr": np.array([0, 2, 9], np.int64)}, "indptr does not rise from 0 to 3"),
        ({"indptr": np.array([0, 4, 3], np.int64)}, "indptr does not rise from 0 to 3"),
        ({"weights": np.array([1, -2], np.float32)}, "x, line 12: -2 as weight; expected a finite number from 0 up"),
    ],
)
def test_rows_in_memory_that_the_kernels_cannot_read_are_refused(changes, message):
    batch = replace(rows([0, 4], [1]), **changes)
    with pytest.raises(DataError, match=re.escape(message)):
        list(as_rows(batch).read(ANY))

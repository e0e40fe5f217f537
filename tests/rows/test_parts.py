"""Parts of rows by a hash of their features: which rows are held out, and that both parts make up all rows."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import random_rows
from scalings import rows_of

from fmcore.objectives import objective_of
from fmcore.rows.batch import Batch, concatenate
from fmcore.rows.parts import Split, SplitRows, renumbered
from fmcore.rows.source import MemoryRows

SPLIT = Split(0.3, 5)


def different_rows(count):
    """Return rows of three features each, no two alike."""
    random = np.random.default_rng(1)
    indices = np.stack([random.integers(0, 40, count), random.integers(40, 80, count), 80 + np.arange(count)], axis=1)
    indptr = np.arange(0, 3 * count + 1, 3, dtype=np.int64)
    return Batch(indptr, indices.astype(np.int32).ravel(), None, np.zeros(count, np.float32))


@given(st.data())
def test_the_order_of_features_and_of_rows_does_not_matter_nor_how_they_are_cut(data):
    batch = random_rows(30, seed=data.draw(st.integers(0, 99)), binary=data.draw(st.booleans()))
    hashes = SPLIT.hashes(batch)
    order = data.draw(st.permutations(range(30)))
    np.testing.assert_array_equal(SPLIT.hashes(batch.take(np.array(order))), hashes[order])
    turned, first = replace(batch, indices=batch.indices.copy()), batch.indptr
    turned.values = None if batch.values is None else batch.values.copy()
    for array in filter(lambda array: array is not None, (turned.indices, turned.values)):
        for begin, end in itertools.pairwise(first):
            array[begin:end] = array[begin:end][::-1].copy()
    np.testing.assert_array_equal(SPLIT.hashes(turned), hashes)
    at = data.draw(st.integers(1, 29))
    parts = [SPLIT.hashes(batch.take(some)) for some in (slice(0, at), slice(at, 30))]
    np.testing.assert_array_equal(np.concatenate(parts), hashes)


def test_copies_are_on_one_side_whatever_their_labels_and_weights_are():
    batch = different_rows(500)
    other = replace(batch, labels=np.ones(500, np.float32), weights=np.arange(500, dtype=np.float32))
    np.testing.assert_array_equal(SPLIT.held_out(batch), SPLIT.held_out(other))
    ones = replace(batch, values=np.ones(1500, np.float32))
    np.testing.assert_array_equal(SPLIT.held_out(batch), SPLIT.held_out(ones))


def test_rows_that_differ_have_different_hashes():
    assert len(np.unique(SPLIT.hashes(different_rows(20_000)))) == 20_000
    cells = np.array([[1, 2, np.nan], [2, 1, np.nan], [1, np.nan, 2], [1, 2, 3], [np.nan, np.nan, np.nan]])
    assert len(np.unique(SPLIT.hashes(rows_of(cells)))) == 5


def test_values_of_0_do_not_count():
    cells = np.array([[1, 2, 0, 0], [1, 2, np.nan, np.nan], [0, np.nan, np.nan, 0], [np.nan] * 4])
    first, second, third, fourth = SPLIT.hashes(rows_of(cells))
    assert first == second
    assert third == fourth != first


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.9])
def test_about_the_stated_fraction_is_held_out(fraction):
    held = Split(fraction).held_out(different_rows(20_000)).mean()
    assert abs(held - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / 20_000)


def test_another_seed_holds_out_others_and_a_larger_fraction_more():
    batch = different_rows(5000)
    one, other, more = (split.held_out(batch) for split in (Split(0.3, 5), Split(0.3, 6), Split(0.5, 5)))
    assert 0.05 < (one & other).mean() < 0.13  # of which 0.09 are to be expected
    assert more[one].all()


@pytest.mark.parametrize("sizes", [(400,), (1, 199, 200)])
def test_both_parts_together_are_all_rows_each_once_and_in_order(sizes):
    whole, labels = random_rows(400, weights=True), objective_of("regressor")
    whole.labels[:] = np.arange(400)
    edges = np.cumsum([0, *sizes])
    rows = MemoryRows([whole.take(slice(*some)) for some in itertools.pairwise(edges)])
    kept, held = (SplitRows(rows, SPLIT, held_out=held_out) for held_out in (False, True))
    for read in (lambda part: part.read(labels), lambda part: part.read_known(labels, 30)):
        seen = [concatenate(list(read(part))) for part in (kept, held)]
        together = np.concatenate([each.labels for each in seen])
        assert sorted(together.tolist()) == list(range(400))
        assert all((np.diff(each.labels) > 0).all() for each in seen)
        np.testing.assert_array_equal(seen[1].labels, np.flatnonzero(SPLIT.held_out(whole)))
        np.testing.assert_array_equal(seen[0].weights, whole.weights[~SPLIT.held_out(whole)])
    assert (kept.title, kept.rereadable, kept.streaming) == (rows.title, True, False)
    assert kept.complete(7, None, None) == kept.feature_dim(7) == 7


def test_renumbered_features_leave_no_gap():
    batch = random_rows(50, 30, weights=True)
    batch.indices *= 1000
    few = renumbered(batch)
    assert np.unique(few.indices).tolist() == list(range(len(np.unique(batch.indices))))
    np.testing.assert_array_equal(np.argsort(few.indices, kind="stable"), np.argsort(batch.indices, kind="stable"))
    for name in ("indptr", "values", "labels", "weights"):
        np.testing.assert_array_equal(getattr(few, name), getattr(batch, name))

"""Sparse blocks: the non-zeros of each mini-batch by feature, each once and in its order."""

import numpy as np
import pytest
from rows import block_of, random_rows
from test_backends import dense

from fmcore.kernels import backend_for
from fmcore.rows.batch import Batch


@pytest.mark.parametrize(("rows", "size", "dtype"), [(300, 32, np.uint16), (66_000, 65_537, np.int32)])
def test_groups_hold_every_non_zero_once_and_pairs_of_shared_features_by_feature_then_row(rows, size, dtype):
    batch = random_rows(rows, 70 * rows // 300)
    block = backend_for("cpu", 2).prepare(block_of(batch, size))
    groups, placed = block.groups, block.batch
    assert groups.rows.dtype == dtype
    for m in range(len(block.starts) - 1):
        first, last = block.starts[m : m + 2]
        at, mine = slice(*batch.indptr[[first, last]]), slice(*groups.bounds[m : m + 2])
        row_of = np.repeat(np.arange(first, last), np.diff(batch.indptr[first : last + 1]))
        features, number_of, counts = np.unique(batch.indices[at], return_inverse=True, return_counts=True)
        shared = counts[number_of] > 1
        in_row = np.lexsort([~shared, row_of])
        np.testing.assert_array_equal(np.sort(placed.indices[at]), np.sort(batch.indices[at]))
        np.testing.assert_array_equal(counts[np.searchsorted(features, placed.indices[at])] > 1, shared[in_row])
        np.testing.assert_array_equal(groups.shared[first:last], np.bincount(row_of - first, shared, last - first))
        np.testing.assert_array_equal(groups.features[mine], features[counts > 1])
        np.testing.assert_array_equal(np.diff(groups.ends[mine], prepend=at.start), counts[counts > 1])
        order = np.lexsort([row_of, batch.indices[at]])
        order = order[shared[order]]
        pairs = slice(at.start, at.start + len(order))
        np.testing.assert_array_equal(groups.rows[pairs], row_of[order] - first)
        np.testing.assert_array_equal(groups.values[pairs], batch.values[at][order])


def test_grouping_keeps_the_values_of_each_row_beside_its_indices():
    batch = random_rows(200, 60)
    placed = backend_for("cpu").prepare(block_of(batch, 16)).batch
    np.testing.assert_array_equal(dense(placed, 60), dense(batch, 60))


@pytest.mark.parametrize("largest", [0, 1, 2**11 - 1, 2**11, 2**22 + 5, 2**31 - 2])
def test_groups_are_sorted_for_any_range_of_indices(largest):
    indices = np.array([largest, 0, largest // 2, largest, 0], np.int32)
    batch = Batch(np.array([0, 3, 5]), indices, None, np.zeros(2, np.float32))
    groups = backend_for("cpu").prepare(block_of(batch, 2)).groups
    expected, counts = np.unique(indices, return_counts=True)
    assert groups.features.tolist() == expected[counts > 1].tolist()
    assert (groups.ends.tolist(), groups.values) == (np.cumsum(counts[counts > 1]).tolist(), None)

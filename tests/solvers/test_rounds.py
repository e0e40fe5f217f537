"""Rounds of an epoch, and the mini-batches that a worker trains in each."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import as_matrix, random_rows, small_model

from fmcore.kernels import backend_for, shared_backend
from fmcore.kernels.prepared import Cells
from fmcore.rows import blocks
from fmcore.rows.dataset import Dataset
from fmcore.rows.scaling import Scaling
from fmcore.solvers.epoch import Epoch, order_of
from fmcore.solvers.team import rounds
from fmcore.solvers.team.feed import Feed, touched

ROWS, DIM = 230, 40
IN_MEMORY, STREAMED = 1e9, 2000  # bytes
numbers_of_rows = st.integers(1, 100) | st.integers(1, 10**8)


@given(numbers_of_rows, st.integers(1, 10**4), st.booleans(), st.booleans())
def test_rounds_cover_an_epoch_in_at_least_16_parts(rows, size, first_epoch, in_memory):
    bounds = rounds.bounds(rows, size, first_epoch=first_epoch, in_memory=in_memory)
    sizes = np.diff(bounds)
    assert (bounds.dtype, bounds[0], bounds[-1]) == (np.int64, 0, rows)
    assert (sizes > 0).all()
    longest = -(-rows // rounds.LEAST)
    longest = max(size, longest if in_memory else min(rounds.LONGEST, longest))
    assert sizes.max() <= longest
    assert (sizes[:-1] >= size).all()
    if rows >= rounds.LEAST * max(size, rounds.LEAST):  # with fewer, rounding up drops a round
        assert len(sizes) >= rounds.LEAST
    full = sizes[:-1]
    if first_epoch and len(full) > 1:
        assert full[0] == max(size, min(rounds.FIRST, longest))
        assert all(later == min(2 * former, longest) for former, later in itertools.pairwise(full))
    else:
        assert len(set(full)) <= 1


@given(st.integers(0, 10**6), numbers_of_rows, st.integers(1, 10**4), st.booleans())
def test_mini_batches_of_all_rounds_are_those_of_the_epoch(own, rows, size, first_epoch):
    bounds = rounds.bounds(rows, size, first_epoch=first_epoch)
    shares = [rounds.share(own, bound, rows) for bound in bounds]
    assert (shares[0], shares[-1], shares) == (0, own, sorted(shares))


@pytest.fixture(params=[IN_MEMORY, STREAMED], ids=["in memory", "streamed"])
def dataset(request, monkeypatch):
    """Provide several blocks of several mini-batches, numbered from 1000 on."""
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    batch, h = random_rows(ROWS, DIM), small_model(feature_dim=DIM, mini_batch_size=10, epochs=3).hyperparameters
    found = Dataset(lambda: iter([batch]), h, backend_for("cpu").prepare, request.param)
    found.read()
    assert found.in_memory is (request.param == IN_MEMORY)
    return found.finish(Scaling(), first_block=1000)


def epoch_of(dataset, number):
    return Epoch(number, 0, 1.0, dataset._hyperparameters)


def trained(parts):
    """Return the labels and indices of each mini-batch, in the order in which they are trained."""
    found = []
    for block, order, first in parts:
        for m in order[first:]:
            begin, end = block.starts[m : m + 2]
            where = slice(block.batch.indptr[begin], block.batch.indptr[end])
            found.append((block.batch.labels[begin:end].tobytes(), block.batch.indices[where].tobytes()))
    return found


def whole_epoch(dataset, number):
    """Return what `train_epoch` would train, in its order."""
    found = []
    with dataset.epoch() as prepared:
        for place, block in enumerate(prepared, dataset.first_block):
            found += trained([(block, order_of(block, place, epoch_of(dataset, number)), 0)])
    return found


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_feed_in_any_stretches_gives_the_mini_batches_of_an_epoch_without_a_break(dataset, data):
    feed = Feed(dataset)
    cuts = sorted(data.draw(st.sets(st.integers(0, feed.size), max_size=6)) | {0, feed.size})
    for number in (0, 1):
        stretches = [feed.take(epoch_of(dataset, number), *pair) for pair in itertools.pairwise(cuts)]
        assert [step for parts in stretches for step in trained(parts)] == whole_epoch(dataset, number)
    feed.close()


def test_feed_sent_back_to_an_earlier_round_gives_the_same_rows(dataset):
    feed, expected = Feed(dataset), whole_epoch(dataset, 0)
    assert feed.size == len(expected) == sum(-(-rows // 10) for rows in dataset.block_rows)
    for first, last in ((0, 9), (9, 20), (9, 20), (3, 4), (0, feed.size), (15, 15), (2, 17)):
        assert trained(feed.take(epoch_of(dataset, 0), first, last)) == expected[first:last]
    assert trained(feed.take(epoch_of(dataset, 1), 5, 8)) == whole_epoch(dataset, 1)[5:8] != expected[5:8]
    assert trained(feed.take(epoch_of(dataset, 0), 5, 8)) == expected[5:8]
    feed.close()


@pytest.mark.parametrize("matrix", [False, True], ids=["sparse", "dense"])
def test_touched_features_are_those_of_the_rounds_mini_batches(dataset, matrix, monkeypatch):
    if matrix:
        as_matrix(monkeypatch)
        dataset = Dataset(dataset._read, dataset._hyperparameters, backend_for("cpu").prepare, 1e9).load()
    feed, seen = Feed(dataset), np.zeros(DIM, np.uint8)
    for first, last in ((0, 3), (4, 12), (0, feed.size), (7, 7)):
        parts = feed.take(epoch_of(dataset, 0), first, last)
        found = touched(parts, seen, shared_backend())
        assert found.dtype == np.int32
        assert not seen.any()
        held = set()
        for block, order, begin in parts:
            if isinstance(block.groups, Cells):
                held |= set(range(block.groups.columns))
                continue
            for m in order[begin:]:
                rows = slice(*block.batch.indptr[block.starts[m : m + 2]])
                held |= set(block.batch.indices[rows].tolist())
        assert found.tolist() == sorted(held)
        assert all(isinstance(block.groups, Cells) is matrix for block, *_ in parts)
    feed.close()

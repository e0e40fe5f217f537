"""Changes of a round, merged: compared with dense arrays of all workers' parameters, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import small_model

from fmcore.kernels import backend_for
from fmcore.kernels.cpu import Table
from fmcore.optimizers import OPTIMIZERS
from fmcore.optimizers.state import TOTALS, updates_in
from fmcore.solvers.team import deltas
from fmcore.solvers.team.deltas import Delta
from fmcore.solvers.team.states import Replica, Shard, owned, whole

DIM = 12
EVERY = np.arange(DIM, dtype=np.int32)
cases = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 4),
        "model": st.fixed_dictionaries(
            {
                "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
                "num_factors": st.sampled_from([3, 8]),
                "penalty": st.sampled_from(["batch", "rows"]),
            }
        ),
        "touched": st.lists(st.sets(st.integers(0, DIM - 1)), min_size=4, max_size=4),
        "seed": st.integers(0, 99),
    }
)


def filled(seed=0, *, optimizer="adagrad", num_factors=5, penalty="batch"):
    """Return a model with different state in every slot."""
    model = small_model(feature_dim=DIM, num_factors=num_factors, optimizer=optimizer, penalty=penalty)
    model = Table(model).model(model)  # which has all slots
    rng = np.random.default_rng(seed)
    for array in (model.bias, model.linear, model.factors, *model.state.values()):
        array[...] = np.abs(rng.normal(size=array.shape))
    return model


def dense(trainer):
    """All numbers of a trainer, or a Table, of DIM features: of each feature, and the bias."""
    return trainer.take(EVERY), trainer.bias.copy()


def trained(state, touched, rng):
    """Change some features and the bias as a round does; return (rows, bias) afterwards, dense."""
    features = np.array(sorted(touched), np.int32)
    state.begin(features)
    trainer = state.trainer
    rows = trainer.take(features)
    trainer.put(features, rows + rng.normal(size=rows.shape).astype(np.float32))
    trainer.bias = trainer.bias + rng.normal(size=trainer.bias.shape).astype(np.float32)
    trainer.updates += 3
    return dense(trainer)


def merged_by_owners(moved):
    """Return the means that all owners compute from all workers' Deltas."""
    return [deltas.mean(parts) for parts in zip(*moved, strict=True)]


@settings(max_examples=40)
@given(cases)
def test_exchange_gives_every_worker_the_mean_of_all_dense_states(case):
    count, rng = case["workers"], np.random.default_rng(case["seed"])
    model = filled(case["seed"], **case["model"])
    workers = [Replica(backend_for("cpu"), model, count) for _ in range(count)]
    rows, bias = dense(workers[0].trainer)
    after = [trained(worker, touched, rng) for worker, touched in zip(workers, case["touched"], strict=False)]
    merged = merged_by_owners([worker.deltas() for worker in workers])
    sums, bias_sum = np.zeros_like(rows), np.zeros_like(bias)
    for worker_rows, worker_bias in after:
        sums += worker_rows - rows
        bias_sum += worker_bias - bias
    for worker in workers:
        worker.apply(merged)
        found, found_bias = dense(worker.trainer)
        np.testing.assert_array_equal(found, rows + sums / np.float32(count))
        np.testing.assert_array_equal(found_bias, bias + bias_sum / np.float32(count))
        assert worker.trainer.updates == updates_in(OPTIMIZERS["adam"], model.state) + 3
        np.testing.assert_allclose(found, np.mean([worker_rows for worker_rows, _ in after], 0), atol=1e-5)
        untouched = sorted(set(range(DIM)).difference(*case["touched"][:count]))
        assert found[untouched].tobytes() == rows[untouched].tobytes()


@settings(max_examples=30)
@given(cases)
def test_shards_get_the_same_bits_as_replicas(case):
    count, backend = case["workers"], backend_for("cpu")
    model = filled(case["seed"], **case["model"])
    replicas = [Replica(backend, model, count) for _ in range(count)]
    shards = [Shard(backend, owned(model, number, count), count, DIM) for number in range(count)]
    touched = [np.array(sorted(some), np.int32) for some in case["touched"][:count]]
    before = dense(replicas[0].trainer)[0]
    asked = [shard.ask(some) for shard, some in zip(shards, touched, strict=True)]
    answers = [shard.answer(own) for shard, own in zip(shards, zip(*asked, strict=True), strict=True)]
    for shard, own in zip(shards, zip(*answers, strict=True), strict=True):
        shard.take(own)
    rng = np.random.default_rng(case["seed"])
    for replica, shard, some in zip(replicas, shards, touched, strict=True):
        trained(replica, some, rng)
        places = np.arange(len(some), dtype=np.int32)
        np.testing.assert_array_equal(shard.trainer.take(places), before[some])
        shard.begin(some)
        shard.trainer.put(places, replica.trainer.take(some))
        shard.trainer.bias = replica.trainer.bias
        shard.trainer.updates = replica.trainer.updates
    merged, owners = (merged_by_owners([state.deltas() for state in states]) for states in (replicas, shards))
    for replica in replicas:
        replica.apply(merged)
    for shard, own in zip(shards, owners, strict=True):
        shard.merge(own)
        shard.apply(None)
    joint = whole([shard.model() for shard in shards], DIM)
    for replica in replicas:
        found = replica.model()
        assert all(array.tobytes() == found.tensors()[name].tobytes() for name, array in joint.tensors().items())


def test_empty_deltas_change_nothing_and_count_as_workers():
    nothing = Delta(np.empty(0, np.int32), np.empty((0, 2), np.float32), np.zeros(1, np.float32))
    some = Delta(np.array([4], np.int32), np.array([[8, 4]], np.float32), np.ones(1, np.float32), 5)
    merged = deltas.mean([nothing, some, nothing, nothing])
    assert (merged.features.tolist(), merged.rows.tolist(), merged.bias.tolist()) == ([4], [[2, 1]], [0.25])
    assert merged.updates == 2  # 5 / 4, rounded up
    merged = deltas.mean([nothing] * 3)
    assert (len(merged.features), merged.rows.shape, merged.bias.tolist(), merged.updates) == (0, (0, 2), [0], 0)
    assert [len(part) for part in deltas.by_owner(nothing.features, 3)] == [0] * 3


@given(st.sets(st.integers(0, 2**31 - 2)), st.integers(1, 5))
def test_split_by_owner_sends_every_feature_to_its_owner(features, owners):
    features = np.array(sorted(features), np.int32)
    parts = deltas.by_owner(features, owners)
    assert all((part % owners == owner).all() for owner, part in enumerate(parts))
    assert all((np.diff(part) > 0).all() for part in parts)
    joint = np.concatenate(parts)
    assert (np.sort(joint).tolist(), joint.dtype, len(parts)) == (features.tolist(), np.int32, owners)


@pytest.mark.parametrize("penalty", ["batch", "rows"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("num_factors", [3, 8, 10])
def test_rows_taken_from_a_table_can_be_put_into_another_table(optimizer, num_factors, penalty):
    one, other = (filled(seed, optimizer=optimizer, num_factors=num_factors, penalty=penalty) for seed in (1, 2))
    source, target = Table(one), Table(other)
    some = np.array([7, 0, 11], np.int32)
    rest, before = np.setdiff1d(EVERY, some), dense(target)[0]
    np.testing.assert_array_equal(target.difference(some, source.take(some)), before[some] - source.take(some))
    target.add(some, source.take(some))
    np.testing.assert_array_equal(target.take(some), before[some] + source.take(some))
    target.put(some, source.take(some))
    np.testing.assert_array_equal(target.take(some), source.take(some))
    np.testing.assert_array_equal(target.take(rest), before[rest])
    target.put(EVERY, source.take(EVERY))
    target.bias[:] = source.bias
    copied = target.model(one)
    for name in copied.state.keys() & {TOTALS, "adam.updates"}:  # which a trainer knows, and its table does not
        copied.state[name] = one.state[name]
    assert all(np.array_equal(array, one.tensors()[name]) for name, array in copied.tensors().items())
    assert target.factors.tobytes() == source.factors.tobytes()  # the padding as well


@pytest.mark.parametrize("penalty", ["batch", "rows"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_round_that_is_undone_restores_every_bit(optimizer, penalty):
    replica = Replica(backend_for("cpu"), filled(3, optimizer=optimizer, penalty=penalty), 3)
    table, before = replica.trainer.table, replica.model().tensors()
    bits = table.factors.tobytes()
    for _ in range(2):  # a second time there is nothing to undo
        trained(replica, {0, 3, 11}, np.random.default_rng(1))
        assert table.factors.tobytes() != bits
        replica.rewind()
        replica.rewind()
        assert table.factors.tobytes() == bits
        after = replica.model().tensors()
        assert all(array.tobytes() == after[name].tobytes() for name, array in before.items())


@pytest.mark.parametrize("penalty", ["batch", "rows"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("workers", [1, 2, 5, DIM + 3])
def test_shards_of_all_workers_make_up_the_whole_model(optimizer, workers, penalty):
    model = replace(filled(4, optimizer=optimizer, penalty=penalty), info={"trained_epochs": 2})
    parts = [owned(model, number, workers) for number in range(workers)]
    assert sum(part.feature_dim for part in parts) == DIM
    joint = whole(parts, DIM)
    assert joint.tensors().keys() == model.tensors().keys()
    assert all(np.array_equal(array, model.tensors()[name]) for name, array in joint.tensors().items())
    assert joint.info == model.info

"""What a team asks of its trainers: the kernels and the reference, under one contract."""

import numpy as np
import pytest
from rows import PENALTIES, as_matrix, random_rows, small_model, with_evidence

from fmcore.errors import UsageError
from fmcore.kernels import add_rows, backend_for, require_kernels, shared_backend
from fmcore.kernels.cpu import CpuBackend
from fmcore.kernels.reference import ReferenceBackend
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import concatenate
from fmcore.rows.blocks import make_block
from fmcore.solvers.team.deltas import mean
from fmcore.solvers.team.feed import Stretch, touched
from fmcore.solvers.team.states import Replica, Shard, owned, whole

ROWS, DIM, WORKERS = 60, 30, 3
BACKENDS = {"cpu": CpuBackend, "reference": ReferenceBackend}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]()


def model_of(optimizer="adagrad", penalty="batch", **chosen):
    """Return a model; what it knows of rows, if anything, is of all three workers' together."""
    chosen = {"num_factors": 5, "mini_batch_size": 10, **PENALTIES[penalty], **chosen}
    return with_evidence(small_model(feature_dim=DIM, optimizer=optimizer, **chosen), concatenate(rows_of_all()))


def rows_of_all():
    return [random_rows(ROWS, DIM, seed=seed) for seed in range(WORKERS)]


def stretches(backend, model):
    """Of three workers: the second half of all mini-batches, in an order of its own."""
    blocks = [backend.prepare(make_block(rows, 0, 10, model.hyperparameters)) for rows in rows_of_all()]
    return [Stretch(block, np.array([5, 3, 1, 0, 4, 2]), 3) for block in blocks]


def replicas_after_a_round(backend, model, parts):
    states = [Replica(backend, model, WORKERS) for _ in parts]
    for state, part in zip(states, parts, strict=True):
        state.begin(touched([part], np.zeros(DIM, np.uint8), backend))
        state.trainer.train(state.block(part), part.order[part.first :], 0.5)
    moved = [state.deltas() for state in states]
    merged = [mean(own) for own in zip(*moved, strict=True)]
    for state in states:
        state.apply(merged)
    return [state.model() for state in states]


def shards_after_a_round(backend, model, parts):
    states = [Shard(backend, owned(model, number, WORKERS), WORKERS, DIM) for number in range(WORKERS)]
    asked = [
        state.ask(touched([part], np.zeros(DIM, np.uint8), backend)) for state, part in zip(states, parts, strict=True)
    ]
    answers = [state.answer(own) for state, own in zip(states, zip(*asked, strict=True), strict=True)]
    for state, part, own in zip(states, parts, zip(*answers, strict=True), strict=True):
        state.take(own)
        state.trainer.train(state.block(part), part.order[part.first :], 0.5)
    for state, own in zip(states, zip(*[state.deltas() for state in states], strict=True), strict=True):
        state.merge(mean(own))
    return whole([state.model() for state in states], DIM)


@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_round_of_the_kernels_is_that_of_the_reference(optimizer, penalty, matrix, monkeypatch):
    if matrix:
        as_matrix(monkeypatch)
    found = {}
    for name, make in BACKENDS.items():
        backend, model = make(), model_of(optimizer, penalty)
        found[name] = replicas_after_a_round(backend, model, stretches(backend, model))[0].tensors()
    assert found["cpu"].keys() == found["reference"].keys()
    for name, tensor in found["reference"].items():
        np.testing.assert_allclose(found["cpu"][name], tensor, rtol=2e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_shards_give_the_bits_of_replicas(backend, optimizer, penalty):
    model = model_of(optimizer, penalty)
    parts = stretches(backend, model)
    one, *others = (found.tensors() for found in replicas_after_a_round(backend, model, parts))
    for other in (*others, shards_after_a_round(backend, model, parts).tensors()):
        assert {name: array.tobytes() for name, array in other.items()} == {
            name: array.tobytes() for name, array in one.items()
        }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_rows_are_taken_put_added_and_compared(backend, optimizer, penalty):
    trainer = backend.trainer(model_of(optimizer, penalty))
    some, rest = np.array([29, 0, 7], np.int32), np.setdiff1d(np.arange(DIM, dtype=np.int32), [29, 0, 7])
    before, others = trainer.take(some), trainer.take(rest)
    assert (before.dtype, others.shape) == (np.float32, (DIM - 3, before.shape[1]))
    trainer.add(some, np.ones_like(before))
    np.testing.assert_array_equal(trainer.take(some), before + 1)
    np.testing.assert_array_equal(trainer.difference(some, before), before + 1 - before)
    trainer.put(some, before)
    np.testing.assert_array_equal(trainer.take(some), before)
    np.testing.assert_array_equal(trainer.take(rest), others)
    trainer.bias = trainer.bias + 2
    assert trainer.snapshot().bias[0] == trainer.bias[0]
    for move in (trainer.put, trainer.add, trainer.difference):
        with pytest.raises(ValueError, match=r"\d+ (x|features)|shape"):
            move(some, np.zeros((3, before.shape[1] + 1), np.float32))


@pytest.mark.parametrize("state", [Replica, Shard])
def test_between_rounds_there_is_nothing_to_send(backend, state):
    held = state(backend, model_of(), 1, *([DIM] if state is Shard else []))
    with pytest.raises(ValueError, match="no round is under way"):
        held.deltas()


def test_rows_are_added_at_their_places():
    rows = np.zeros((4, 2), np.float32)
    add_rows(rows, np.array([3, 1], np.int32), np.array([[1, 2], [3, 4]], np.float32))
    assert rows.tolist() == [[0, 0], [3, 4], [0, 0], [1, 2]]
    with pytest.raises(ValueError, match="2 features"):
        add_rows(rows, np.array([4, 1], np.int32), np.ones((2, 2), np.float32))


def test_a_team_is_refused_what_the_kernels_have_no_case_for(monkeypatch):
    monkeypatch.setattr(OPTIMIZERS["sgd"], "kernel", None, raising=False)
    require_kernels(model_of("adam").hyperparameters)
    with pytest.raises(UsageError, match="optimizer sgd has no case in the kernels, which several workers train with"):
        require_kernels(model_of("sgd").hyperparameters)


def test_teams_train_with_the_kernels():
    assert shared_backend(2).name == backend_for("cpu", 2).name

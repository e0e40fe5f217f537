"""Every backend against the formulas, by finite differences, and against each other, update by update."""

import os
import subprocess
import sys

import numpy as np
import pytest
from fits import train
from rows import DEVICES, as_matrix, block_of, random_rows, small_model
from shell import LIMIT, ROOT, environment

from fmcore.errors import UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.cpu import BUILDS, CpuBackend, level_3
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import Batch
from fmcore.rows.dataset import Dataset

LOSSES = {
    "binary_classifier": lambda s, y: np.log1p(np.exp(-np.abs(s))) + np.maximum(s, 0) - s * y,
    "regressor": lambda s, y: (s - y) ** 2 / 2,
}
RUNNING = [build for build in BUILDS if build == "baseline" or level_3()]

CROWDED = """
import hashlib, os, sys
import numpy as np
from rows import block_of, random_rows, small_model
from fmcore.kernels import cpu
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
cpu.TEAM_WORK = 0
for threads in (1, 16):
    backend = cpu.CpuBackend(threads)
    trainer, block = backend.trainer(small_model(feature_dim=200)), backend.prepare(
        block_of(random_rows(500, 200), int(sys.argv[1])))
    for _ in range(20):
        trainer.train(block, np.arange(len(block.starts) - 1))
    weights = np.concatenate([array.ravel() for array in trainer.snapshot().tensors().values()])
    print(hashlib.sha256(weights.tobytes()).hexdigest())
"""  # trains in a process that has one processor, by one thread and by more than can run at once


@pytest.fixture(params=["reference", *RUNNING, *(f"{build} matrix" for build in RUNNING), *DEVICES])
def backend(request, monkeypatch):
    build, *way = request.param.split()
    if build in ("reference", *DEVICES):
        return backend_for(build)
    if way:
        as_matrix(monkeypatch)
    monkeypatch.setenv("FMKIT_KERNELS", build)
    return backend_for("cpu", 2)


@pytest.fixture(params=["sparse", "matrix"])
def way(request, monkeypatch):
    if request.param == "matrix":
        as_matrix(monkeypatch)


def dense_score(model, row):
    """Return y(x) by the double sum of the definition, float64."""
    x, v = row.astype(float), model.factors.astype(float)
    pairs = sum(v[i] @ v[j] * x[i] * x[j] for i in range(len(x)) for j in range(i + 1, len(x)))
    return model.bias[0].astype(float) + model.linear.astype(float) @ x + pairs


def dense(batch, feature_dim):
    rows = np.zeros((len(batch), feature_dim))
    for r in range(len(batch)):
        at = slice(batch.indptr[r], batch.indptr[r + 1])
        rows[r, batch.indices[at]] = 1 if batch.values is None else batch.values[at]
    return rows


def one_step(backend, model, batch):
    """Return the change of each parameter by one mini-batch of all rows."""
    trainer = backend.trainer(model)
    trainer.train(backend.prepare(block_of(batch, len(batch))), np.zeros(1, np.int64))
    after = trainer.snapshot()
    return {name: getattr(after, name) - getattr(model, name) for name in ("bias", "linear", "factors")}


@pytest.mark.parametrize("num_factors", [1, 7, 8, 9, 16, 20])
@pytest.mark.parametrize("binary", [True, False])
def test_scores_equal_the_definition(backend, num_factors, binary):
    model = small_model(num_factors=num_factors)
    batch = random_rows(20, binary=binary)
    expected = [dense_score(model, row) for row in dense(batch, 30)]
    np.testing.assert_allclose(backend.score(batch, model), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(backend.trainer(model).score(batch), backend.score(batch, model))


@pytest.mark.parametrize("predictor_type", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_equal_finite_differences_of_the_weighted_loss(backend, predictor_type, optimizer):
    """With sgd and lr 1 the step is the gradient; the others' first step from no state is lr * sign(gradient).

    A row-wise one's is the gradient over the root mean square of those of its row.
    """
    lr = dict.fromkeys(("bias_lr", "linear_lr", "factors_lr"), 1.0)
    wd = dict.fromkeys(("bias_wd", "linear_wd", "factors_wd"), 0.0)
    model = small_model(predictor_type, feature_dim=6, num_factors=3, optimizer=optimizer, eps=1e-8, **lr, **wd)
    batch = random_rows(12, 6, weights=True, classes=predictor_type == "binary_classifier")
    rows, small = dense(batch, 6), 1e-5

    def objective(name, index, change):
        arrays = {n: getattr(model, n).astype(np.float64) for n in ("bias", "linear", "factors")}
        arrays[name][index] += change
        scores = (
            arrays["bias"]
            + rows @ arrays["linear"]
            + 0.5 * ((rows @ arrays["factors"]) ** 2 - rows**2 @ arrays["factors"] ** 2).sum(1)
        )
        return np.mean(batch.weights * LOSSES[predictor_type](scores, batch.labels))

    for name, step in one_step(backend, model, batch).items():
        numeric = np.array(
            [(objective(name, i, small) - objective(name, i, -small)) / (2 * small) for i in np.ndindex(step.shape)]
        ).reshape(step.shape)
        if optimizer == "sgd":
            np.testing.assert_allclose(step, -numeric, rtol=1e-3, atol=2e-5)
        elif optimizer == "rowwise_adagrad" and name == "factors":
            size = np.sqrt((numeric**2).mean(1, keepdims=True))
            np.testing.assert_allclose(step, -numeric / size, rtol=1e-3, atol=1e-3)
        else:
            clear = np.abs(numeric) > 1e-4
            np.testing.assert_allclose(step[clear], -np.sign(numeric[clear]), rtol=1e-3)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("predictor_type", LOSSES)
@pytest.mark.parametrize(
    "variant",
    [{}, {"binary": True}, {"weights": True}, {"clip_gradient": 0.01}, {"rescale_grad": 0.5}, {"num_factors": 17}],
)
def test_kernels_follow_the_reference_over_many_mini_batches(optimizer, predictor_type, variant):
    rows = {k: variant[k] for k in ("binary", "weights") if k in variant}
    given = {k: v for k, v in variant.items() if k not in rows}
    batch = random_rows(101, classes=predictor_type == "binary_classifier", **rows)
    model = small_model(
        predictor_type,
        optimizer=optimizer,
        bias_wd=0.1,
        linear_wd=0.01,
        factors_wd=0.02,
        bias_lr=0.1,
        linear_lr=0.05,
        factors_lr=0.02,
        **given,
    )
    order = np.random.default_rng(1).permutation(8)
    results = []
    for backend in (backend_for("reference"), backend_for("cpu", 2)):
        trainer, block = backend.trainer(model), backend.prepare(block_of(batch, 13))
        outputs = [trainer.train(block, order, lr) for lr in (1.0, 0.5)]
        results.append((outputs, trainer.snapshot()))
    (outputs, expected), (kernel_outputs, got) = results
    np.testing.assert_allclose(np.array(kernel_outputs), np.array(outputs), rtol=2e-4, atol=2e-5)
    for name, tensor in expected.tensors().items():
        np.testing.assert_allclose(got.tensors()[name], tensor, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mini_batch_size", [1, 7, 64, 1000])
def test_training_gives_the_same_bits_for_any_number_of_threads(optimizer, mini_batch_size, monkeypatch):
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    batch, model = random_rows(500, 200, weights=True), small_model(feature_dim=200, optimizer=optimizer)
    results = set()
    for threads in (1, 2, 3, 8):
        backend = CpuBackend(threads)
        trainer, block = backend.trainer(model), backend.prepare(block_of(batch, mini_batch_size))
        outputs = [trainer.train(block, np.arange(len(block.starts) - 1)) for _ in range(3)]
        arrays = [*np.array(outputs).reshape(-1, 500), *trainer.snapshot().tensors().values(), trainer.score(batch)]
        results.add(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    assert len(results) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives no process a part of processors")
@pytest.mark.parametrize("mini_batch_size", [1, 64])
def test_many_threads_on_one_processor_give_the_same_bits(mini_batch_size):
    path = os.pathsep.join([str(ROOT / "tests" / "helpers"), environment().get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", CROWDED, str(mini_batch_size)],
        env=environment(PYTHONPATH=path),
        stdout=subprocess.PIPE,
        check=True,
        timeout=LIMIT,
    )
    alone, crowded = done.stdout.split()
    assert alone == crowded


def test_a_feature_that_no_row_holds_stays_untouched_to_the_bit(backend):
    model = small_model(feature_dim=40, linear_wd=0.5, factors_wd=0.5)  # rows use the first 30 only
    steps = one_step(backend, model, random_rows(50))
    assert not steps["linear"][30:].any()
    assert not steps["factors"][30:].any()
    assert steps["linear"][:30].all()


def test_training_continued_from_a_snapshot_gives_the_same_as_without_a_break(backend):
    model, batch = small_model(), random_rows(50)
    block, order = backend.prepare(block_of(batch, 10)), np.arange(5)
    through = backend.trainer(model)
    through.train(block, order)
    stopped = backend.trainer(through.snapshot())
    for trainer in (through, stopped):
        trainer.train(block, order)
    for name, tensor in through.snapshot().tensors().items():
        np.testing.assert_allclose(stopped.snapshot().tensors()[name], tensor, rtol=1e-4, atol=1e-6, err_msg=name)


def test_empty_rows_and_batches_are_scored_by_the_bias(backend):
    model = small_model()
    empty = Batch(np.zeros(4, np.int64), np.empty(0, np.int32), None, np.zeros(3, np.float32))
    np.testing.assert_allclose(backend.score(empty, model), [0.3] * 3, rtol=1e-6)
    assert len(backend.score(empty.take([]), model)) == 0
    trainer = backend.trainer(model)
    _, losses = trainer.train(backend.prepare(block_of(empty, 2)), np.arange(2))
    assert np.isfinite(losses).all()
    assert trainer.snapshot().bias != model.bias


@pytest.mark.parametrize("score", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_log_loss_is_stable_at_any_score(backend, score):
    model = small_model(bias_init_value=score)
    empty = Batch(np.zeros(3, np.int64), np.empty(0, np.int32), None, np.array([0, 1], np.float32))
    _, losses = backend.trainer(model).train(backend.prepare(block_of(empty, 2)), np.arange(1))
    np.testing.assert_allclose(losses, [np.logaddexp(0, score), np.logaddexp(0, -score)], rtol=1e-6)


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


def test_an_unknown_build_of_the_kernels_is_refused(monkeypatch):
    monkeypatch.setenv("FMKIT_KERNELS", "v9")
    with pytest.raises(UsageError, match=r"FMKIT_KERNELS is 'v9'; this processor runs .*baseline"):
        CpuBackend()


@pytest.mark.usefixtures("way")
def test_builds_of_the_kernels_agree_after_training(monkeypatch):
    batch, model = random_rows(400, 100), small_model(feature_dim=100, mini_batch_size=16, epochs=3)
    models = []
    for build in RUNNING:
        monkeypatch.setenv("FMKIT_KERNELS", build)
        backend = CpuBackend(2)
        models.append(
            train(model, Dataset(lambda: iter([batch]), model.hyperparameters, backend.prepare, 1e9).load(), backend)
        )
    for other in models[1:]:
        np.testing.assert_allclose(other.factors, models[0].factors, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("group", ["bias", "linear"])
def test_a_group_that_is_not_used_stays_zero_and_keeps_no_state(backend, optimizer, group):
    h = {"optimizer": optimizer, "bias_wd": 0.1, "linear_wd": 0.1}
    model = small_model(**h, **{f"use_{group}": False})
    assert not getattr(model, group).any()
    batch = random_rows(50)
    trainer = backend.trainer(model)
    trainer.train(backend.prepare(block_of(batch, 10)), np.arange(5))
    after = trainer.snapshot()
    for name, tensor in after.tensors().items():
        assert tensor.any() == (not name.endswith(group)), name

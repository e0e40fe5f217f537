"""Every backend against the formulas, by finite differences, and against each other, update by update."""

import numpy as np
import pytest
from fits import train
from rows import DECAYS, DEVICES, PENALTIES, as_matrix, block_of, random_rows, small_model, with_evidence

from fmcore.errors import UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.cpu import BUILDS, CpuBackend, level_3
from fmcore.optimizers import OPTIMIZERS
from fmcore.optimizers.state import VARIANCE
from fmcore.rows.batch import Batch
from fmcore.rows.dataset import Dataset

LOSSES = {
    "binary_classifier": lambda s, y: np.log1p(np.exp(-np.abs(s))) + np.maximum(s, 0) - s * y,
    "regressor": lambda s, y: (s - y) ** 2 / 2,
}
RUNNING = [build for build in BUILDS if build == "baseline" or level_3()]
RATES = {"bias_lr": 0.1, "linear_lr": 0.05, "factors_lr": 0.02}
WEAK = {"bias_wd": 0.1, "linear_wd": 0.01, "factors_wd": 0.02}


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
@pytest.mark.parametrize("penalty", PENALTIES)
def test_kernels_follow_the_reference_over_many_mini_batches(optimizer, predictor_type, variant, penalty):
    """Learning rates fall within a pass and from one to the next."""
    rows = {k: variant[k] for k in ("binary", "weights") if k in variant}
    given = {**RATES, **WEAK, **PENALTIES[penalty], **{k: v for k, v in variant.items() if k not in rows}}
    batch = random_rows(101, classes=predictor_type == "binary_classifier", **rows)
    model = with_evidence(small_model(predictor_type, optimizer=optimizer, **given), batch, far=(2, 11))
    order = np.random.default_rng(1).permutation(8)
    results = []
    for backend in (backend_for("reference"), backend_for("cpu", 2)):
        trainer, block = backend.trainer(model), backend.prepare(block_of(batch, 13))
        outputs = [trainer.train(block, order, lr, 0.4 * lr) for lr in (1.0, 0.5)]
        results.append((outputs, trainer.snapshot()))
    (outputs, expected), (kernel_outputs, got) = results
    np.testing.assert_allclose(np.array(kernel_outputs), np.array(outputs), rtol=2e-4, atol=2e-5)
    for name, tensor in expected.tensors().items():
        np.testing.assert_allclose(got.tensors()[name], tensor, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_feature_that_no_row_holds_stays_untouched_to_the_bit(backend, penalty):
    batch, model = random_rows(50), small_model(feature_dim=40, **{**DECAYS, **PENALTIES[penalty]})
    model = with_evidence(model, batch)  # whose rows have the first 30 features only
    steps = one_step(backend, model, batch)
    assert not steps["linear"][30:].any()
    assert not steps["factors"][30:].any()
    assert steps["linear"][:30].all()


def test_the_variance_of_a_feature_stays_to_the_bit_where_no_row_of_the_mini_batch_holds_it(backend):
    batch, size = random_rows(60, 50), 4
    model = with_evidence(small_model(feature_dim=50, **PENALTIES["rows"]), batch)
    before = np.random.default_rng(0).uniform(0.1, 0.6, 50).astype(np.float32)
    model.state[VARIANCE] = before
    trainer = backend.trainer(model)
    trainer.train(backend.prepare(block_of(batch, size)), np.array([0]))
    same = trainer.snapshot().state[VARIANCE] == before
    assert np.flatnonzero(~same).tolist() == np.unique(batch.indices[: batch.indptr[size]]).tolist()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", ["rows", "rows without variances"])
def test_a_feature_without_a_variance_has_no_factors_and_keeps_their_state(backend, optimizer, penalty):
    """Whatever that is; its linear weight is trained."""
    batch, model = random_rows(50), small_model(optimizer=optimizer, **PENALTIES[penalty])
    model = with_evidence(model, batch, far=(4,))
    slots = {name: spec for name, spec in model.state_table().items() if name.endswith(".factors")}
    model.state = {name: np.ones(spec.shape, np.float32) for name, spec in slots.items()} | model.state
    trainer = backend.trainer(model)
    trainer.train(backend.prepare(block_of(batch, 50)), np.zeros(1, np.int64))
    before, after = model.tensors(), trainer.snapshot().tensors()
    assert after["linear"][4] != before["linear"][4]
    for name in ("factors", *(f"state.{name}" for name in slots)):
        np.testing.assert_array_equal(after[name][4], before[name][4], err_msg=name)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_training_continued_from_a_snapshot_gives_the_same_as_without_a_break(backend, penalty):
    batch = random_rows(50)
    model = with_evidence(small_model(**PENALTIES[penalty]), batch)
    block, order = backend.prepare(block_of(batch, 10)), np.arange(5)
    through = backend.trainer(model)
    through.train(block, order)
    stopped = backend.trainer(through.snapshot())
    for trainer in (through, stopped):
        trainer.train(block, order)
    for name, tensor in through.snapshot().tensors().items():
        np.testing.assert_allclose(stopped.snapshot().tensors()[name], tensor, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_empty_rows_and_batches_are_scored_by_the_bias(backend, penalty):
    empty = Batch(np.zeros(4, np.int64), np.empty(0, np.int32), None, np.zeros(3, np.float32))
    model = with_evidence(small_model(**PENALTIES[penalty]), empty)
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


def test_an_unknown_build_of_the_kernels_is_refused(monkeypatch):
    monkeypatch.setenv("FMKIT_KERNELS", "v9")
    with pytest.raises(UsageError, match=r"FMKIT_KERNELS is 'v9'; this processor runs .*baseline"):
        CpuBackend()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("penalty", PENALTIES)
def test_builds_of_the_kernels_agree_after_training(penalty, monkeypatch):
    batch, model = (
        random_rows(400, 100),
        small_model(feature_dim=100, mini_batch_size=16, epochs=3, **PENALTIES[penalty]),
    )
    model, models = with_evidence(model, batch), []
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
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_group_that_is_not_used_stays_zero_and_keeps_no_state(backend, optimizer, group, penalty):
    h, batch = {"optimizer": optimizer, **DECAYS, **PENALTIES[penalty]}, random_rows(50)
    model = with_evidence(small_model(**h, **{f"use_{group}": False}), batch)
    assert not getattr(model, group).any()
    trainer = backend.trainer(model)
    trainer.train(backend.prepare(block_of(batch, 10)), np.arange(5))
    after = trainer.snapshot()
    for name, tensor in after.tensors().items():
        assert tensor.any() == (not name.endswith(group)), name

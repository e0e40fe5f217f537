"""Adam, number by number, against plain loops over rows and weights written from its formula."""

import numpy as np
import pytest
from fits import train
from plain_adam import assert_equal, plain_adam
from rows import block_of, random_rows, small_model

from fmcore.kernels import backend_for
from fmcore.kernels.cpu import BUILDS, CpuBackend, level_3
from fmcore.rows.dataset import Dataset

RUNNING = [build for build in BUILDS if build == "baseline" or level_3()]
RATES = {"bias_lr": 0.1, "linear_lr": 0.05, "factors_lr": 0.02, "bias_wd": 0.1, "linear_wd": 0.05, "factors_wd": 0.2}
ROWS, FEATURES, SIZE = 60, 30, 7  # mini-batches of 7 rows: most features are absent from most of them


@pytest.fixture(params=["reference", *RUNNING])
def backend(request, monkeypatch):
    if request.param == "reference":
        return backend_for("reference")
    monkeypatch.setenv("FMKIT_KERNELS", request.param)
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    return backend_for("cpu", 2)


def trained(backend, model, batch, order, lr_factors=(1.0,)):
    trainer, block = backend.trainer(model), backend.prepare(block_of(batch, SIZE))
    for lr_factor in lr_factors:
        trainer.train(block, order, lr_factor)
    return trainer.snapshot()


@pytest.mark.parametrize("predictor_type", ["binary_classifier", "regressor"])
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"weights": True},
        {"binary": True},
        {"clip_gradient": 0.05},
        {"rescale_grad": 0.001},
        {"eps": 0.1},
        {"num_factors": 3},
        {"num_factors": 17},
        {"num_factors": 8, "factors_wd": 0.0, "linear_wd": 0.0},
    ],
)
def test_every_number_of_adam_follows_the_formula(backend, predictor_type, variant):
    rows = {name: variant[name] for name in ("weights", "binary") if name in variant}
    given = {**RATES, **{name: value for name, value in variant.items() if name not in rows}}
    batch = random_rows(ROWS, FEATURES, classes=predictor_type == "binary_classifier", **rows)
    model = small_model(predictor_type, FEATURES + 5, optimizer="adam", **given)
    order = np.array([4, 0, 8, 2, 6, 1, 7, 3, 5])
    steps = [(m, lr_factor) for lr_factor in (1.0, 0.5) for m in order]
    weights, moments, moves = plain_adam(model, batch, SIZE, steps)
    assert moves["bias", 0] == 18  # the last mini-batch has 4 rows
    assert 0 < min(moves["linear", i] for i in range(FEATURES)) < 12
    after = trained(backend, model, batch, order, (1.0, 0.5))
    assert_equal(after, weights, moments)
    assert after.state["adam.updates"].tolist() == [18]
    assert after.state["adam.updates"].dtype == np.int64


def test_adam_neither_decays_nor_steps_an_absent_feature(backend):
    """It has momentum from an earlier mini-batch; its moments stay as well."""
    batch = random_rows(ROWS, FEATURES)
    model = small_model(feature_dim=FEATURES, optimizer="adam", **RATES)
    trainer, block = backend.trainer(model), backend.prepare(block_of(batch, SIZE))
    before = trainer.snapshot()
    for m in range(len(block.starts) - 1):
        trainer.train(block, np.array([m]))
        after = trainer.snapshot()
        at = slice(batch.indptr[block.starts[m]], batch.indptr[block.starts[m + 1]])
        absent = np.setdiff1d(np.arange(FEATURES), batch.indices[at])
        assert 0 < len(absent) < FEATURES
        for name, tensor in after.tensors().items():
            old = before.tensors()[name]
            if name.endswith(("linear", "factors")):
                np.testing.assert_array_equal(tensor[absent], old[absent], err_msg=name)
                assert (np.delete(tensor, absent, 0) != np.delete(old, absent, 0)).any(), name
            else:
                assert tensor != old, name
        before = after


@pytest.mark.parametrize("stop", [1, 4])
def test_adam_continued_from_a_snapshot_gives_the_same_as_without_a_break(backend, stop):
    batch = random_rows(ROWS, FEATURES, weights=True)
    model = small_model(feature_dim=FEATURES, optimizer="adam", **RATES)
    through = trained(backend, model, batch, np.arange(9))
    halfway = trained(backend, model, batch, np.arange(stop))
    assert halfway.state["adam.updates"].tolist() == [stop]
    resumed = trained(backend, halfway, batch, np.arange(stop, 9))
    for name, tensor in through.tensors().items():
        if backend.name == "reference":  # which computes in float64, and a model is float32
            np.testing.assert_allclose(resumed.tensors()[name], tensor, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(resumed.tensors()[name], tensor, err_msg=name)


@pytest.mark.parametrize("num_factors", [5, 64])
def test_adam_gives_the_same_bits_for_one_two_or_three_threads(num_factors, monkeypatch):
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    batch = random_rows(500, 90, weights=True)
    model = small_model(feature_dim=90, num_factors=num_factors, optimizer="adam", clip_gradient=0.5, **RATES)
    models = [trained(CpuBackend(threads), model, batch, np.arange(72), (1.0, 0.75)) for threads in (1, 2, 3)]
    for other in models[1:]:
        for name, tensor in models[0].tensors().items():
            np.testing.assert_array_equal(other.tensors()[name], tensor, err_msg=name)


def test_first_step_of_adam_is_the_learning_rate_for_any_gradient(backend):
    """m / sqrt(v) is 0.1 g / sqrt(0.001 g^2), and the correction sqrt(0.001) / 0.1 removes both."""
    batch = random_rows(SIZE, FEATURES, classes=False)
    for size in (1e-3, 1.0, 1e3):
        model = small_model(
            "regressor", FEATURES, optimizer="adam", bias_lr=0.25, bias_wd=0.0, rescale_grad=size, eps=1e-12
        )
        after = trained(backend, model, batch, np.arange(1))
        assert abs(after.bias[0] - model.bias[0]) == pytest.approx(0.25, rel=1e-5)


def test_long_run_of_adam_stays_close_to_the_reference_and_learns():
    batch = random_rows(400, 20, seed=3)
    row_of = np.repeat(np.arange(400), np.diff(batch.indptr))
    batch.labels = (np.bincount(row_of, batch.values * np.sin(batch.indices), 400) > 0).astype(np.float32)
    model = small_model(feature_dim=20, optimizer="adam", mini_batch_size=20, epochs=10, factors_init_sigma=0.1)
    losses = []
    for backend in (backend_for("reference"), backend_for("cpu", 2)):
        data = Dataset(lambda: iter([batch]), model.hyperparameters, backend.prepare, 1e9).load()
        losses.append(train(model, data, backend).info["epochs"][-1]["train"]["logloss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1] < 0.3

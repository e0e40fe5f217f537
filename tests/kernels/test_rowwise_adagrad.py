"""Row-wise AdaGrad: number by number against plain loops, one number of state for a feature's factors, saved as one."""

import math

import numpy as np
import pytest
from plain_adam import gradients, weights_of
from rows import as_matrix, block_of, random_rows, small_model

from fmcore.kernels import backend_for
from fmcore.kernels.cpu import BUILDS, CpuBackend, Table, level_3
from fmcore.model import file as modelfile
from fmcore.optimizers import OPTIMIZERS
from fmcore.optimizers.state import slot_shape

RUNNING = [build for build in BUILDS if build == "baseline" or level_3()]
RATES = {"bias_lr": 0.1, "linear_lr": 0.05, "factors_lr": 0.02, "bias_wd": 0.1, "linear_wd": 0.05, "factors_wd": 0.2}
ROWS, FEATURES, SIZE = 60, 30, 7  # mini-batches of 7 rows: features that one row holds, that several do, that none does
SUM = "sum_of_squares"


@pytest.fixture(params=["reference", *RUNNING, *(f"{build} matrix" for build in RUNNING)])
def backend(request, monkeypatch):
    build, *way = request.param.split()
    if build == "reference":
        return backend_for("reference")
    if way:
        as_matrix(monkeypatch)
    monkeypatch.setenv("FMKIT_KERNELS", build)
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    return backend_for("cpu", 2)


def model_of(num_factors=5, *, predictor_type="binary_classifier", **given):
    return small_model(predictor_type, FEATURES + 5, num_factors, **{"optimizer": "rowwise_adagrad", **RATES, **given})


def trained(backend, model, batch, order, lr_factors=(1.0,)):
    trainer, block = backend.trainer(model), backend.prepare(block_of(batch, SIZE))
    for lr_factor in lr_factors:
        trainer.train(block, order, lr_factor)
    return trainer.snapshot()


def plain(model, batch, steps):
    """Return the weights by place and the sums by row, (group, feature), after steps (mini-batch, factor of rates)."""
    h, weights, sums = model.hyperparameters, weights_of(model), {}
    for m, lr_factor in steps:
        rows = {}
        mini_batch = range(m * SIZE, min((m + 1) * SIZE, len(batch)))
        for place, g in gradients(weights, batch, mini_batch, h).items():
            rows.setdefault(place[:2], {})[place] = g
        for row, found in rows.items():
            sums[row] = sums.get(row, 0.0) + sum(g * g for g in found.values()) / len(found)
            for place, g in found.items():
                weights[place] -= lr_factor * getattr(h, f"{row[0]}_lr") * g / (math.sqrt(sums[row]) + h.eps)
    return weights, sums


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
        {"use_linear": False},
        {"num_factors": 3},
        {"num_factors": 8},
        {"num_factors": 17},
        {"num_factors": 70},
    ],
)
def test_every_number_of_rowwise_adagrad_follows_the_formula(backend, predictor_type, variant):
    rows = {name: variant[name] for name in ("weights", "binary") if name in variant}
    model = model_of(predictor_type=predictor_type, **{n: value for n, value in variant.items() if n not in rows})
    batch = random_rows(ROWS, FEATURES, classes=predictor_type == "binary_classifier", **rows)
    order = np.array([4, 0, 8, 2, 6, 1, 7, 3, 5])
    weights, sums = plain(model, batch, [(m, lr_factor) for lr_factor in (1.0, 0.5) for m in order])
    after = trained(backend, model, batch, order, (1.0, 0.5))
    for group in ("bias", "linear", "factors"):
        expected = {name: np.zeros_like(after.tensors()[name]) for name in (group, f"state.{SUM}.{group}")}
        for name, numbers in zip(expected, (weights, sums), strict=True):
            for place in [place for place in numbers if place[0] == group]:
                expected[name][place[1:]] = numbers[place]
            size = np.abs(expected[name]).max()
            np.testing.assert_allclose(after.tensors()[name], expected[name], rtol=5e-4, atol=5e-5 * size, err_msg=name)


def test_rowwise_adagrad_keeps_one_number_for_the_factors_of_a_feature(backend):
    model = model_of(num_factors=17)
    after = trained(backend, model, random_rows(ROWS, FEATURES), np.arange(9))
    assert {name: array.shape for name, array in after.state.items()} == {
        f"{SUM}.bias": (1,),
        f"{SUM}.linear": (35,),
        f"{SUM}.factors": (35, 1),
    }
    assert all(array.dtype == np.float32 for array in after.state.values())
    assert (after.state[f"{SUM}.factors"] > 0)[:, 0].tolist() == [True] * 30 + [False] * 5


@pytest.mark.parametrize(("optimizer", "shape"), [("adagrad", (4, 3)), ("adam", (4, 3)), ("rowwise_adagrad", (4, 1))])
def test_state_of_factors_has_the_shape_of_the_optimizers_slot(optimizer, shape):
    for slot in OPTIMIZERS[optimizer].slots:
        assert slot_shape(slot, (4, 3)) == shape
        assert slot_shape(slot, (4,)) == (4,)


def test_table_of_rowwise_adagrad_keeps_the_state_beside_the_linear_weight():
    model = model_of(num_factors=17)
    model.state[f"{SUM}.factors"] = np.arange(35, dtype=np.float32)[:, None]
    table = Table(model)
    assert (table.bias.shape, table.linear.shape, table.factors.shape) == ((2,), (35, 3), (35, 24))
    np.testing.assert_array_equal(table.linear[:, 2], np.arange(35))
    np.testing.assert_array_equal(table.factors[:, :17], model.factors)
    assert not table.factors[:, 17:].any()


def test_rowwise_adagrad_with_one_factor_equals_adagrad(backend):
    batch = random_rows(ROWS, FEATURES, weights=True)
    rowwise, adagrad = (
        trained(backend, model_of(1, optimizer=optimizer), batch, np.arange(9), (1.0, 0.5))
        for optimizer in ("rowwise_adagrad", "adagrad")
    )
    for name, tensor in adagrad.tensors().items():
        np.testing.assert_allclose(rowwise.tensors()[name], tensor, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("num_factors", [5, 64, 300])
def test_rowwise_adagrad_gives_the_same_bits_for_one_two_or_three_threads(num_factors, monkeypatch):
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    batch, model = random_rows(500, FEATURES, weights=True), model_of(num_factors, clip_gradient=0.5)
    models = [trained(CpuBackend(threads), model, batch, np.arange(72), (1.0, 0.75)) for threads in (1, 2, 3)]
    for other in models[1:]:
        for name, tensor in models[0].tensors().items():
            np.testing.assert_array_equal(other.tensors()[name], tensor, err_msg=name)


@pytest.mark.parametrize("stop", [1, 4])
def test_rowwise_adagrad_continued_from_a_saved_model_gives_the_same_as_without_a_break(backend, stop, tmp_path):
    batch, model = random_rows(ROWS, FEATURES, weights=True), model_of()
    through = trained(backend, model, batch, np.arange(9))
    modelfile.save(trained(backend, model, batch, np.arange(stop)), tmp_path / "half.fm")
    resumed = trained(backend, modelfile.load(tmp_path / "half.fm", verify=True), batch, np.arange(stop, 9))
    for name, tensor in through.tensors().items():
        if backend.name == "reference":  # which computes in float64, and a model is float32
            np.testing.assert_allclose(resumed.tensors()[name], tensor, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(resumed.tensors()[name], tensor, err_msg=name)

"""The recipe: its models do not depend on units, sizes of mini-batches, threads or memory, and few rows take more steps."""

from dataclasses import replace

import numpy as np
import pytest
from generated import interacting, ratings
from scalings import rows_of

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.rows import blocks
from fmcore.scoring import Scorer
from fmcore.solvers import Resources
from fmcore.solvers.observer import Observer
from fmcore.training.fit import LEAST_STEPS, USUAL_EPOCHS

RATINGS = ratings(5000)
TRAIN, TEST = RATINGS.take(slice(0, 4000)), RATINGS.take(slice(4000, None))


def trained(batch, kind="regressor", resources=None, **given):
    return api.fit(batch, resolve(predictor_type=kind, **{"pilot": "none", **given}), resources=resources)


def rmse(model, batch):
    scores = Scorer(model).raw(batch.within(model.feature_dim)[0])
    return np.sqrt(np.mean((scores.astype(float) - batch.labels) ** 2))


def with_labels(batch, times, more):
    return replace(batch, labels=(times * batch.labels.astype(float) + more).astype(np.float32))


def same(one, other):
    pair = one.tensors(), other.tensors()
    return pair[0].keys() == pair[1].keys() and all(np.array_equal(pair[0][n], pair[1][n]) for n in pair[0])


# ----------------------------------------------------------------------------------------------- what does not matter
@pytest.mark.parametrize(("times", "more"), [(1000, 0), (1, 1e5), (1000, 1e5), (1e-3, -7)])
def test_labels_in_another_unit_give_the_same_model_in_that_unit(times, more):
    usual = rmse(trained(TRAIN, pilot="auto"), TEST)
    other = trained(with_labels(TRAIN, times, more), pilot="auto")
    assert rmse(other, with_labels(TEST, times, more)) / times == pytest.approx(usual, rel=0.01)
    assert other.info["epochs"][-1]["train"]["rmse"] / times < 1.05 * usual


def test_observers_see_losses_labels_and_scores_in_the_unit_of_the_labels():
    blocks_seen = []

    class Seen(Observer):
        def block(self, epoch, block, order, scores):
            blocks_seen.append((block.batch.labels, scores))

    batch = with_labels(TRAIN, 1000, 1e5)
    model = api.fit(batch, resolve(predictor_type="regressor", pilot="none", epochs=2), observer=Seen())
    for labels, scores in blocks_seen:
        np.testing.assert_allclose(np.sort(labels), np.sort(batch.labels), rtol=1e-6)
        assert 101_000 <= scores.min() < scores.max() <= 105_000
    labels, scores = blocks_seen[-1]
    error = np.sqrt(np.mean((scores.astype(float) - labels) ** 2))
    assert model.info["epochs"][-1]["train"]["rmse"] == pytest.approx(error, rel=0.02)  # some scores are cut off


def test_the_size_of_mini_batches_hardly_matters():
    found = [rmse(trained(TRAIN, mini_batch_size=size), TEST) for size in (16, 64, 256, 1024)]
    assert max(found) < 1.02 * min(found)
    assert max(found) < 0.8 * TEST.labels.std()
    first = [
        rmse(api.fit(TRAIN, resolve("native-1", predictor_type="regressor", mini_batch_size=n)), TEST)
        for n in (16, 1024)
    ]
    assert first[1] > 1.1 * first[0]  # which it did in the first version


@pytest.mark.parametrize("times", [0.25, 3])
def test_only_the_ratios_of_weights_matter(times):
    weights = np.random.default_rng(3).uniform(0.2, 2, 4000).astype(np.float32)
    one, other = (trained(replace(TRAIN, weights=w), epochs=3) for w in (weights, weights * np.float32(times)))
    for name, array in one.weights.items():
        np.testing.assert_allclose(other.weights[name], array, atol=2e-3 * np.abs(array).max(), err_msg=name)
        if times == 0.25:  # by which nothing is rounded
            np.testing.assert_array_equal(other.weights[name], array)


@pytest.mark.parametrize("shape", ["ratings", "columns", "clicks", "matrix"])
def test_models_are_the_same_to_the_bit_for_any_threads_and_where_rows_are_streamed(monkeypatch, shape):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 300)
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    kind = "binary_classifier" if shape == "clicks" else "regressor"
    if shape == "matrix":
        monkeypatch.setattr("fmcore.kernels.prepared.NON_ZEROS", 1)
    random = np.random.default_rng(4)
    cells = random.normal(size=(700, 40)) * np.logspace(-2, 5, 40) + 30
    cells[random.random(cells.shape) < 0.3] = np.nan
    batch = {
        "ratings": TRAIN.take(slice(0, 1000)),
        "clicks": interacting(1000, kind),
    }.get(shape, rows_of(cells, random.normal(size=700), random.uniform(0.2, 3, 700)))
    models = [trained(batch, kind, Resources(*some), epochs=2, num_factors=5) for some in ((1,), (2,), (1, 1), (2, 1))]
    assert all(same(models[0], other) for other in models[1:])
    assert all(models[0].info == other.info for other in models[1:])
    assert ("feature_mean" in models[0].state) is (shape in {"columns", "matrix"})


# ------------------------------------------------------------------------------------------------------ few rows
@pytest.mark.parametrize(
    ("rows", "size"),
    [(10, 4), (200, 4), (300, 5), (960, 16), (10_000, 16), (60_000, 30), (2**17 - 1, 65), (2**17, 256)],
)
def test_few_rows_are_trained_in_small_mini_batches(rows, size):
    assert blocks.auto_mini_batch_size(rows, 2 * rows, small=True) == size
    assert blocks.auto_mini_batch_size(rows, 2 * rows) == max(16, size)


@pytest.mark.parametrize(
    ("rows", "given", "epochs"),
    [
        (200, {}, USUAL_EPOCHS),
        (60, {}, 27),
        (200, {"mini_batch_size": 50}, 100),
        (4000, {"mini_batch_size": 16}, USUAL_EPOCHS),
        (200, {"epochs": 2, "mini_batch_size": 50}, 2),
    ],
)
def test_epochs_that_are_not_given_are_ten_or_as_many_as_make_enough_steps(rows, given, epochs):
    model = trained(TRAIN.take(slice(0, rows)), **given)
    assert len(model.info["epochs"]) == model.hyperparameters.epochs == epochs
    steps = epochs * rows / model.info["mini_batch_size"]
    assert steps >= LEAST_STEPS or "epochs" in given


def test_two_hundred_rows_of_numbers_are_trained_long_enough():
    random = np.random.default_rng(6)
    cells = random.normal(size=(400, 4))
    labels = 50 + 10 * (cells[:, 0] - cells[:, 1] + cells[:, 2] * cells[:, 3])
    train, test = (rows_of(cells[some], labels[some]) for some in (slice(0, 200), slice(200, None)))
    assert rmse(trained(train), test) < 0.4 * labels.std()
    ten = trained(train, epochs=10, mini_batch_size=64)
    assert rmse(trained(train, mini_batch_size=64), test) < 0.8 * rmse(ten, test)

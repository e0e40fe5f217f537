"""Pipes under penalties by rows: the first block gives scales, and rows are counted block by block while they come."""

from dataclasses import replace

import numpy as np
import pytest
from generated import ratings
from rows import random_rows

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.optimizers.state import ROWS, TOTALS
from fmcore.rows import blocks, piped
from fmcore.rows.blocks import Counts
from fmcore.rows.piped import counts_of
from fmcore.rows.source import MemoryRows


class Pipe(MemoryRows):
    """Rows that come once for each pass, as from pipes."""

    streaming, rereadable = True, False


@pytest.fixture
def small_blocks(monkeypatch):
    for module in (blocks, piped):
        monkeypatch.setattr(module, "BLOCK_ROWS", 100)


def hyperparameters(**given):
    return resolve(predictor_type="regressor", **{"pilot": "none", "num_factors": 4, "epochs": 3, **given})


def test_a_pipe_of_one_block_gives_the_model_of_the_same_rows_in_a_file():
    batch, h = ratings(300), hyperparameters()
    piped_model, other = api.fit(Pipe(batch), h), api.fit(batch, h)
    for name, array in other.tensors().items():
        np.testing.assert_array_equal(piped_model.tensors()[name], array, err_msg=name)
    assert piped_model.info == other.info


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("epochs", [1, 3])
def test_the_rows_of_later_blocks_are_counted_once(weighted, epochs):
    batch = random_rows(350, 20, classes=False)
    batch.values[::7] = 0
    if weighted:
        batch.weights = np.random.default_rng(1).uniform(0.5, 2, 350).astype(np.float32)
    model = api.fit(Pipe(batch), hyperparameters(epochs=epochs))
    weights = np.ones(350) if batch.weights is None else batch.weights / batch.weights[:100].mean(dtype=float)
    held = np.zeros(20)
    np.add.at(held, batch.indices, np.repeat(weights, np.diff(batch.indptr)) * (batch.values != 0))
    np.testing.assert_allclose(model.state[TOTALS][0], weights.sum(), rtol=1e-5)
    np.testing.assert_allclose(model.state[ROWS], held, rtol=1e-5)


@pytest.mark.usefixtures("small_blocks")
def test_a_pipe_is_learned_nearly_as_well_as_a_file():
    batch, test = (ratings(3600).take(some) for some in (slice(0, 3000), slice(3000, None)))
    found = [
        api.fit(rows, hyperparameters(epochs=10), test=test).info["epochs"][-1]["test"]["rmse"]
        for rows in (Pipe(batch), batch)
    ]
    assert found[0] < 1.05 * found[1] < 0.9 * test.labels.std()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("nothing", [slice(0, 100), slice(0, 350), slice(100, 350)], ids=["first", "all", "later"])
def test_rows_of_weight_0_in_a_pipe_count_nowhere(nothing):
    batch = random_rows(350, 20)
    batch.weights = np.ones(350, np.float32)
    batch.weights[nothing] = 0
    model = api.fit(Pipe(batch), resolve(predictor_type="binary_classifier", epochs=2))
    assert model.state[TOTALS][0] == batch.weights.sum()


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_a_trainer_counts_rows_that_it_is_told_of(name):
    model = api.fit(random_rows(80, 6), resolve(predictor_type="binary_classifier", epochs=1, num_factors=2))
    trainer = backend_for(name).trainer(model)
    trainer.count(Counts(np.array([1, 4], np.int32), np.array([2, 0.5], np.float32), 3.5))
    after = trainer.snapshot()
    np.testing.assert_allclose(after.state[ROWS] - model.state[ROWS], [0, 2, 0, 0, 0.5, 0])
    np.testing.assert_allclose(after.state[TOTALS] - model.state[TOTALS], [3.5, 0])
    first = api.fit(random_rows(80, 6), resolve("native-1", predictor_type="binary_classifier", epochs=1))
    trainer = backend_for(name).trainer(first)
    trainer.count(Counts(np.array([1], np.int32), np.ones(1, np.float32), 1.0))
    assert trainer.snapshot().state.keys() == first.state.keys()


def test_counts_of_a_batch_are_those_of_its_values_other_than_0():
    batch = random_rows(50, 10, weights=True)
    batch.values[::3] = 0
    found, ones = counts_of(batch, 2.0), counts_of(replace(batch, values=None, weights=None), 1.0)
    assert (np.diff(found.features) > 0).all()
    assert found.total == pytest.approx(batch.weights.sum() / 2)
    assert ones.total == 50
    np.testing.assert_array_equal(ones.rows, np.bincount(batch.indices)[ones.features])
    assert found.rows.dtype == ones.rows.dtype == np.float32

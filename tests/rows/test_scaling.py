"""Scales of values: powers of two by their root mean square, which a model of raw values takes up without rounding."""

import numpy as np
import pytest
from fits import train
from rows import random_rows, small_model
from scalings import learned

from fmcore.hyper.params import Hyperparameters
from fmcore.kernels import backend_for
from fmcore.model.model import initial
from fmcore.model.scaling import unscaled
from fmcore.objectives import objective_of
from fmcore.rows.batch import concatenate
from fmcore.rows.dataset import Dataset
from fmcore.rows.scaling import Scaling, scaled
from fmcore.training.loop import evaluate


def large_values(rows=300, *, weights=False):
    batch = random_rows(rows, 30, weights=weights)
    batch.values *= np.logspace(-2, 4, 30, dtype=np.float32)[batch.indices]
    return batch


def scale_of(batches, feature_dim=30):
    return learned(batches, feature_dim, Hyperparameters(predictor_type="binary_classifier")).scale


def test_the_scale_is_the_power_of_two_nearest_to_the_weighted_root_mean_square_of_a_features_values():
    batch = large_values(weights=True)
    weights = np.repeat(batch.weights, np.diff(batch.indptr)).astype(float)
    for feature, got in enumerate(scale_of([batch])):
        mine = batch.indices == feature
        mean = np.average(batch.values[mine].astype(float) ** 2, weights=weights[mine])
        assert got == 2 ** round(np.log2(max(1, mean**0.5)))


def test_the_scale_does_not_depend_on_batches_and_knows_features_never_seen():
    batch = large_values()
    parts = [batch.take(slice(0, 5)), batch.take(slice(5, 300))]
    np.testing.assert_allclose(scale_of(parts, 33), scale_of([batch], 33), rtol=1e-6)
    assert scale_of(parts, 33)[30:].tolist() == [1, 1, 1]


def test_ones_and_small_values_need_no_scale():
    assert scale_of([random_rows(50, binary=True)]) is None
    small = random_rows(50)
    small.values[:] = 0.25
    assert scale_of([small]) is None
    assert scaled(small, None) is small


def test_an_unscaled_model_scores_raw_rows_as_the_scaled_model_scores_scaled_ones():
    backend, model, batch = backend_for("reference"), small_model(), large_values()
    scale = scale_of([batch])
    expected = backend.score(scaled(batch, scale), model)
    np.testing.assert_allclose(backend.score(batch, unscaled(model, Scaling(scale))), expected, rtol=1e-4, atol=1e-4)
    assert model.state["feature_scale"] is scale


def test_binary_rows_beside_valued_ones_are_scaled_as_ones():
    scale = np.array([2, 4] + [1] * 28, np.float32)
    batch = random_rows(50, binary=True)
    np.testing.assert_array_equal(scaled(batch, scale).values, 1 / scale[batch.indices])


def test_training_on_columns_of_very_different_size_learns_what_training_on_even_ones_does():
    """Train on labels that depend on two features, one of them in the ten thousands; unscaled, training fails."""
    even = concatenate([random_rows(2000, 30, seed=1)])
    raw = concatenate([even])
    raw.values = raw.values * np.logspace(0, 4, 30, dtype=np.float32)[raw.indices]
    signal = np.bincount(
        np.repeat(np.arange(2000), np.diff(even.indptr)), even.values * np.isin(even.indices, (3, 29)), 2000
    )
    even.labels = raw.labels = (signal > 0).astype(np.float32)
    losses = {}
    backend = backend_for("cpu")
    for name, batch, scaling in (("even", even, "rms"), ("raw", raw, "rms"), ("unscaled", raw, "none")):
        h = Hyperparameters(predictor_type="binary_classifier", feature_dim=30, epochs=5, feature_scaling=scaling)
        data = Dataset(lambda batch=batch: iter([batch]), h, backend.prepare, 1e9).load()
        model = train(initial(h, data.mean_label), data, backend, test=lambda batch=batch: [batch])
        after = evaluate(lambda rows, model=model: backend.score(rows, model), [batch], objective_of(h))
        losses[name] = after["logloss"]
        assert model.info["epochs"][-1]["test"]["logloss"] == pytest.approx(losses[name], rel=1e-3)
    assert losses["raw"] == pytest.approx(losses["even"], rel=0.1)  # a scale is up to sqrt(2) away from the ideal
    assert losses["unscaled"] > 2 * losses["raw"]

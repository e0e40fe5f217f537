"""What training subtracts and divides by goes into the weights: a model of raw rows gives the scores of the trained one."""

from copy import deepcopy

import numpy as np
import pytest
from fits import begun
from hypothesis import given, settings
from hypothesis import strategies as st
from scalings import rows_of
from scipy.sparse import csr_matrix

from fmcore.families import FAMILIES
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.model.scaling import known_scaling, label_range, rescaled, unscaled
from fmcore.objectives import OBJECTIVES
from fmcore.rows.scaling import bounded

ROWS = 120


def table(seed, columns):
    """Return a Batch with two random columns and these: (mean by deviation, deviation, share of rows without it)."""
    random = np.random.default_rng(seed)
    cells = random.normal(size=(ROWS, len(columns) + 2))
    labels = 2 * cells[:, 0] - cells[:, -1] + cells[:, 0] * cells[:, -2] + random.normal(size=ROWS) / 4
    for number, (mean, deviation, absent) in enumerate(columns, 1):
        cells[:, number] = deviation * (cells[:, number] + mean)
        cells[random.random(ROWS) < absent, number] = np.nan
    return cells, labels, random.random(ROWS)


def trained(batch, hyperparameters, passes=3):
    """Return the scaling of rows, and a model of what training sees of them, after some passes over them."""
    backend = backend_for("cpu")
    dataset, model = begun(batch, hyperparameters, backend)
    trainer = backend.trainer(model)
    for _ in range(passes):
        with dataset.epoch() as blocks:
            for block in blocks:
                trainer.train(block, np.arange(len(block.starts) - 1))
    return dataset.scaling, trainer.snapshot()


def scores_of(batch, scaling, model, name="cpu"):
    """Return the scores of raw rows by a model of what training sees, and by the same model folded back."""
    backend, folded = backend_for(name), unscaled(deepcopy(model), scaling)
    found = bounded(backend.score(batch, folded), label_range(folded))
    return scaling.scores(backend.score(scaling.features(batch), model)), found


COLUMNS = st.lists(
    st.tuples(st.floats(-200, 200), st.sampled_from([1e-3, 0.5, 1, 40, 1e6]), st.sampled_from([0, 0, 0.2, 0.45, 0.8])),
    max_size=4,
)


@settings(max_examples=30)
@given(st.integers(0, 2**31), COLUMNS, st.booleans(), st.sampled_from(["regressor", "binary_classifier"]))
def test_a_folded_model_gives_the_scores_of_the_trained_one(seed, columns, weighted, kind):
    cells, labels, weights = table(seed, columns)
    if kind == "binary_classifier":
        labels = labels > 0
    batch = rows_of(cells, 7 * labels + 1000 if kind == "regressor" else labels, weights if weighted else None)
    scaling, model = trained(batch, resolve(predictor_type=kind, num_factors=5, mini_batch_size=8))
    farthest = max([0, *(abs(mean) for mean, _, _ in columns)])
    for backend, lost in (("reference", 3e-8), ("cpu", 1e-7)):  # to rounded weights; and to sums in float32
        expected, found = scores_of(batch, scaling, model, backend)
        most = (1e-4 + lost * farthest**2) * max(1, expected.std())
        np.testing.assert_allclose(found, expected, atol=most, rtol=1e-6)


@pytest.mark.parametrize("given", [{"use_bias": False}, {"use_linear": False}, {"feature_scaling": "rms"}])
def test_what_is_scaled_alone_folds_back_as_well(given):
    cells, labels, weights = table(1, [(3, 40, 0.2)])
    batch = rows_of(cells, 7 * labels, weights)
    scaling, model = trained(batch, resolve(predictor_type="regressor", mini_batch_size=8, **given))
    assert scaling.mean is None
    expected, found = scores_of(batch, scaling, model)
    np.testing.assert_allclose(found, expected, atol=1e-4 * labels.std(), rtol=1e-6)


@pytest.mark.parametrize("mean", [0, 5, 200])
def test_a_folded_model_turned_into_what_training_sees_is_the_trained_one(mean):
    cells, labels, _ = table(2, [(mean, 40, 0.0), (mean, 1, 0.1)])
    scaling, model = trained(rows_of(cells, 7 * labels), resolve(predictor_type="regressor", mini_batch_size=8))
    assert scaling.mean.all()
    folded = unscaled(deepcopy(model), scaling)
    known = known_scaling(folded)
    np.testing.assert_array_equal(known.mean, scaling.mean)
    np.testing.assert_array_equal(known.scale, scaling.scale)
    assert known.label == scaling.label
    assert known.range == scaling.range
    again = rescaled(folded, scaling, folded.feature_dim)
    for name, array in model.weights.items():
        np.testing.assert_allclose(again.weights[name], array, atol=1e-4, err_msg=name)
    for name, array in model.state.items():
        np.testing.assert_allclose(again.state[name], array, rtol=1e-6, err_msg=name)


# -------------------------------------------------------------------------------------------------------- the families
SHIFTING = pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.shifts])


def random_weights(family, random, dtype=np.float64):
    h = resolve(predictor_type="regressor", num_factors=3)
    return {tensor.name: random.normal(size=tensor.shape(h, 9)).astype(dtype) for tensor in family.tensors}


@SHIFTING
@given(st.integers(0, 2**31))
def test_shifted_weights_score_shifted_rows_alike_and_shift_back(name, seed):
    family, random = FAMILIES[name], np.random.default_rng(seed)
    weights, X, by = random_weights(family, random), random.normal(size=(20, 9)), random.normal(size=9) * 5
    by[random.random(9) < 0.5] = 0
    moved = deepcopy(weights)
    family.shift(moved, by)
    np.testing.assert_allclose(family.score(csr_matrix(X), weights), family.score(csr_matrix(X - by), moved), rtol=1e-8)
    family.shift(moved, -by)
    for tensor, array in weights.items():
        np.testing.assert_allclose(moved[tensor], array, atol=1e-9)


@SHIFTING
@pytest.mark.parametrize("by", [1e-3, 1, 2.5e5])
def test_multiplied_weights_give_scores_so_many_times_as_large(name, by):
    family, random = FAMILIES[name], np.random.default_rng(4)
    weights, X = random_weights(family, random, np.float32), csr_matrix(random.normal(size=(20, 9)))
    before = family.score(X, weights)
    family.multiply(weights, by)
    np.testing.assert_allclose(family.score(X, weights), by * before, rtol=1e-4, atol=1e-4 * by)


def test_every_objective_with_labels_of_a_unit_has_a_loss_of_that_degree():
    random = np.random.default_rng(5)
    scores, labels = random.normal(size=(2, 30))
    for objective in OBJECTIVES.values():
        if objective.label_degree:
            ratio = objective.loss(np, 3 * scores, 3 * labels) / objective.loss(np, scores, labels)
            np.testing.assert_allclose(ratio, 3.0**objective.label_degree, rtol=1e-12)

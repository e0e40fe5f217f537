"""Warm starts by the recipe: what a model knows of rows, columns and labels goes with it, and no score changes by itself."""

from dataclasses import replace

import numpy as np
import pytest
from scalings import rows_of

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.model.scaling import LABEL, MEAN, NAME, RANGE
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE
from fmcore.scoring import Scorer

COUNT = 200
STILL = {"bias_lr": 0.0, "linear_lr": 0.0, "factors_lr": 0.0}


def table(seed=1, rows=COUNT, columns=4):
    """Return cells: a column of ones and tens, one in the thousands, features of few rows; and labels by these."""
    random = np.random.default_rng(seed)
    cells = random.normal(size=(rows, columns))
    labels = 30 + cells[:, 0] + cells[:, 1] * cells[:, 0] + random.normal(size=rows) / 9
    cells[:, 1] = 3000 + 40 * cells[:, 1]
    cells[:, 2:][random.random((rows, columns - 2)) < 0.7] = np.nan
    return cells, labels


def trained(batch, kind="regressor", **given):
    return api.fit(batch, resolve(predictor_type=kind, **{"num_factors": 4, "epochs": 3, "pilot": "none", **given}))


def continued(model, batch, **given):
    h, _ = api.continued(model, {"epochs": 1, **given}, {})
    return api.fit(batch, h, initial_model=model)


def scores(model, batch):
    return Scorer(model).raw(batch)


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("preset", ["native", "native-1"])
@pytest.mark.parametrize("given", [{}, {"use_bias": False}, {"use_linear": False}])
def test_a_warm_start_with_learning_rates_of_0_keeps_every_score(kind, preset, given):
    cells, labels = table()
    batch = rows_of(cells, labels if kind == "regressor" else labels > 30)
    model = api.fit(batch, resolve(preset, predictor_type=kind, num_factors=4, epochs=3, **given))
    changes = {} if preset == "native" else {"feature_scaling": "standard", "penalty": "rows"}
    if preset == "native-1" and kind == "regressor":
        changes |= {"label_scaling": "standard"}
    same = continued(model, batch, **STILL, **changes)
    expected = scores(model, batch)
    np.testing.assert_allclose(scores(same, batch), expected, atol=3e-4 * labels.std())  # both folded, one twice


@pytest.mark.parametrize("shift", [0, 5000])
def test_other_rows_do_not_change_how_known_columns_and_labels_are_seen(shift):
    cells, labels = table()
    model, (more, others) = trained(rows_of(cells, labels)), table(2)
    more[:, :2] += shift
    later = continued(model, rows_of(more, 9 * others), **STILL)
    for name in (NAME, MEAN, LABEL):
        np.testing.assert_array_equal(later.state[name], model.state[name], err_msg=name)
    np.testing.assert_allclose(scores(later, rows_of(cells)), scores(model, rows_of(cells)), atol=1e-3)
    assert later.info[RANGE][0] <= model.info[RANGE][0]
    assert later.info[RANGE][1] > model.info[RANGE][1]


def test_a_column_that_was_centred_and_not_scaled_keeps_its_mean():
    random = np.random.default_rng(3)
    model = trained(rows_of(0.5 + random.random((COUNT, 2)) * 2, random.normal(size=COUNT)))
    assert NAME not in model.state
    later = continued(model, rows_of(0.7 + random.random((COUNT, 2)), random.normal(size=COUNT)))
    np.testing.assert_array_equal(later.state[MEAN], model.state[MEAN])


def test_rows_without_the_last_columns_of_a_model_can_continue_it():
    cells, labels = table()
    model = trained(rows_of(cells[:, ::-1], labels))  # its last features are columns
    later = continued(model, rows_of(cells[:, 3:], labels), **STILL)
    assert later.feature_dim == model.feature_dim
    np.testing.assert_array_equal(later.state[MEAN], model.state[MEAN])
    np.testing.assert_allclose(
        scores(later, rows_of(cells[:, ::-1])), scores(model, rows_of(cells[:, ::-1])), atol=1e-3
    )


def test_new_features_begin_as_in_a_new_model_and_old_ones_go_on():
    cells, labels = table()
    wider, others = table(2, columns=7)
    model = trained(rows_of(cells, labels))
    later = continued(model, rows_of(wider, others), **STILL)
    assert later.feature_dim == 7
    assert (later.state[VARIANCE] > 0).all()
    assert np.abs(later.factors[4:]).min() > 0


def test_the_rows_of_all_trainings_are_counted():
    cells, labels = table()
    model = trained(rows_of(cells, labels))
    held = (~np.isnan(cells)).sum(0)
    np.testing.assert_allclose(model.state[ROWS], held)
    np.testing.assert_allclose(model.state[TOTALS], [COUNT, 1])
    weighted = rows_of(cells[:50], labels[:50], np.full(50, 4.0))
    later = continued(model, weighted)
    np.testing.assert_allclose(later.state[ROWS], held + (~np.isnan(cells[:50])).sum(0))
    np.testing.assert_allclose(later.state[TOTALS], [COUNT + 50, 4])


def outlying(cells, feature, value):
    cells = cells.copy()
    cells[0, feature] = value
    return cells


def test_features_of_far_values_have_no_factors_and_keep_those_that_they_have():
    cells, labels = table(rows=600)
    far, usual = rows_of(outlying(cells, 2, 1e4), labels), rows_of(cells, labels)
    model = trained(far)
    assert not model.factors[2].any()
    assert model.linear[2]
    assert np.abs(model.factors[[0, 1, 3]]).min() > 0
    later = continued(model, usual)
    assert not later.factors[2].any()
    assert later.linear[2] != model.linear[2]
    model = trained(usual)
    later = continued(model, far, **STILL)
    np.testing.assert_allclose(scores(later, usual), scores(model, usual), atol=1e-3)
    assert continued(model, far).factors[2].any()


def test_a_model_without_state_can_be_continued_by_the_recipe():
    cells, labels = table()
    batch = rows_of(cells, labels)
    model = trained(batch)
    model.state.clear()
    later = continued(model, batch, **STILL)
    np.testing.assert_allclose(scores(later, batch), scores(model, batch), atol=1e-3)
    assert later.state[VARIANCE].min() > 0


def test_a_warm_start_has_no_pilot():
    cells, labels = table()
    batch = rows_of(cells, labels)
    model = api.fit(batch, resolve(predictor_type="regressor", num_factors=4))
    assert "pilot" in model.info
    assert model.hyperparameters.epochs > 0
    h = replace(model.hyperparameters, pilot="auto", epochs=1)
    assert "pilot" not in api.fit(batch, h, initial_model=model).info

"""The pilot: what it chooses on rows of a known truth, what it chooses by, and where there is none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from generated import additive, interacting
from rows import random_rows
from scalings import rows_of

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.objectives import objective_of
from fmcore.rows.source import MemoryRows
from fmcore.scoring import Scorer
from fmcore.solvers import Resources, Task
from fmcore.solvers.observer import Observer
from fmcore.training import fit, pilot
from fmcore.training.fit import Fitting

KINDS = pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])


def trained(batch, kind, **given):
    return api.fit(batch, resolve(predictor_type=kind, **given))


def loss(model, batch):
    """Return the mean loss of the rows of a Batch."""
    scores = Scorer(model).raw(batch.within(model.feature_dim)[0])
    return objective_of(model.hyperparameters).loss(np, scores.astype(float), batch.labels).mean()


def halves(batch):
    middle = len(batch) // 2
    return batch.take(slice(0, middle)), batch.take(slice(middle, None))


def repeated(batch, times):
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(len(batch)), times))
    return batch.take(order)


# ------------------------------------------------------------------------------------------------- what it chooses
@pytest.mark.parametrize("seed", [0, 1])
def test_rare_features_without_interactions_are_trained_close_to_a_linear_model(seed):
    train, test = halves(additive(6000, "binary_classifier", seed))
    model = trained(train, "binary_classifier")
    record = model.info["pilot"]
    assert record["kept"] != "recipe"
    recipe = trained(train, "binary_classifier", pilot="none")
    linear = trained(train, "binary_classifier", **pilot.LINEAR, num_factors=1)
    assert loss(model, test) < 0.97 * loss(recipe, test)
    assert loss(model, test) < 1.03 * loss(linear, test)


@KINDS
def test_interactions_are_trained_by_a_recipe_with_factors(kind):
    train, test = halves(interacting(4000, kind))
    model = trained(train, kind)
    record = model.info["pilot"]
    assert record["behind"] < -2
    assert "recipe" in record["kept"]
    assert np.abs(model.factors).max() > 0.1
    assert loss(model, test) < 0.9 * loss(trained(train, kind, **pilot.LINEAR), test)
    assert loss(model, test) < 1.01 * loss(trained(train, kind, pilot="none"), test)


@pytest.mark.parametrize("seed", [0, 1])
def test_repeated_rows_are_trained_by_something_better_than_the_recipe(seed):
    few, test = additive(2000, "binary_classifier", seed), additive(2000, "binary_classifier", seed)
    few, test = few.take(slice(0, 150)), test.take(slice(150, None))
    model = trained(repeated(few, 20), "binary_classifier")
    assert model.info["pilot"]["kept"] != "recipe"
    recipe = trained(repeated(few, 20), "binary_classifier", pilot="none")
    assert loss(model, test) < 0.9 * loss(recipe, test)


@pytest.mark.parametrize(
    ("linear", "close", "kept"),
    [
        (-0.1, -0.2, "close to linear"),
        (-0.2, -0.1, "linear"),
        (0.0, -0.1, "close to linear"),
        (0.01, -0.1, "close to linear"),
        (0.0, 0.0, "recipe"),
        (0.1, None, "recipe"),
    ],
)
def test_factors_are_kept_small_where_that_is_clearly_ahead_and_a_linear_model_is_not_behind(
    linear, close, kept, monkeypatch
):
    """Decide by losses that differ from the recipe's by so much, in rows whose losses differ by chance as well."""
    ahead = {"recipe": 0, "cautious recipe": 0.1, "firm recipe": 0.1, "linear": linear, "close to linear": close}
    chance = np.random.default_rng(0).normal(size=(len(ahead), 100)) * 0.1
    losses = {name: 1 + ahead[name] + chance[at] for at, name in enumerate(ahead) if ahead[name] is not None}
    monkeypatch.setattr(pilot._Pilot, "_judge", lambda run, name, _: run._losses.setdefault(name, losses[name]))
    h = resolve(predictor_type="binary_classifier", epochs=10)
    outcome = pilot.run([additive(400, "binary_classifier")], h, 10, None)
    assert outcome.record["kept"] == kept


@KINDS
def test_the_model_is_the_one_of_the_hyperparameters_that_were_chosen_and_says_so(kind):
    batch, told = additive(300, kind, columns=4, size=20), []

    class Told(Observer):
        def piloted(self, record):
            told.append(record)

    model = api.fit(batch, resolve(predictor_type=kind), observer=Told())
    record = model.info["pilot"]
    assert told == [record] == [json.loads(json.dumps(record))]
    assert (record["rows"], record["scored"], record["epochs"]) == (300, 300, model.hyperparameters.epochs)
    assert record["kept"] in record["losses"]
    assert record["metric"] == objective_of(kind).primary[0]
    plain = api.fit(batch, replace(model.hyperparameters, pilot="none", feature_dim=None))
    assert "pilot" not in plain.info
    for name, array in plain.tensors().items():
        np.testing.assert_array_equal(model.tensors()[name], array, err_msg=name)


# ------------------------------------------------------------------------------------------------ what it depends on
@KINDS
def test_the_outcome_is_the_same_for_any_threads_and_memory(kind, monkeypatch):
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    batch, h = additive(400, kind, columns=5, size=30), resolve(predictor_type=kind)
    one, *others = (api.fit(batch, h, resources=Resources(*some)) for some in ((1,), (2,), (2, 1)))
    for other in others:
        assert other.info == one.info
        for name, array in one.tensors().items():
            np.testing.assert_array_equal(other.tensors()[name], array, err_msg=name)


def test_only_ratios_of_weights_matter_and_rows_of_weight_0_do_not():
    batch = additive(300, "regressor", columns=4, size=20)
    weights = np.random.default_rng(2).uniform(0.5, 2, 300).astype(np.float32)
    plain, quarter = (trained(replace(batch, weights=w), "regressor").info["pilot"] for w in (weights, weights / 4))
    assert quarter == plain
    weights[:250] = 0
    assert trained(replace(batch, weights=weights), "regressor").info["pilot"]["rows"] == 50


def test_of_many_rows_the_first_are_looked_at_and_some_of_them_take_part(monkeypatch):
    batch = additive(900, "regressor", columns=4, size=20)
    monkeypatch.setattr(pilot, "SAMPLE", 600)
    whole, first = (trained(some, "regressor", epochs=2, mini_batch_size=8) for some in (batch, batch.take(slice(700))))
    assert whole.info["pilot"] == first.info["pilot"]
    assert whole.info["pilot"]["rows"] == 600
    monkeypatch.setattr(pilot, "MOST", 200)
    monkeypatch.setattr(pilot, "FEW", 100)
    record = trained(batch, "regressor").info["pilot"]
    assert 200 <= record["rows"] <= 210
    assert 5 <= record["scored"] <= 40  # a tenth
    assert 500 <= trained(batch, "regressor", epochs=2).info["pilot"]["rows"] <= 510  # 5 / 2 as many


def test_features_that_no_row_has_take_no_part(monkeypatch):
    sizes, first = [], fit.initial
    monkeypatch.setattr(fit, "initial", lambda h, mean: sizes.append(h.feature_dim) or first(h, mean))
    batch = additive(200, "regressor", columns=4, size=20)
    usual, larger = (trained(batch, "regressor", feature_dim=n) for n in (None, 10_000))
    assert usual.info["pilot"] == larger.info["pilot"]
    assert [size for size in sizes if size > 80] == [10_000]


def test_rows_that_are_trained_again_have_a_pilot_of_their_own():
    fitting, rows, h = Fitting(), MemoryRows(additive(200, "regressor", columns=4, size=20)), None
    models = []
    for epochs in (2, 2, 3):
        h = resolve(predictor_type="regressor", epochs=epochs)
        models.append(fitting.fit(Task(rows, h)))
    assert models[0].info == models[1].info
    assert all("pilot" in model.info for model in models)


# --------------------------------------------------------------------------------------------------- where there is none
@pytest.mark.parametrize(
    "given",
    [
        {"pilot": "none"},
        {"linear_wd": 2.5},
        {"factors_wd": 2.5},
        {"factors_lr": 0.2},
        {"factors_variance": 0.25},
        {"factors_init_method": "uniform"},
        {"factors_init_sigma": 0.3},
        {"optimizer": "adam"},
        {"rescale_grad": 0.5},
        {"use_bias": False},
        {"use_linear": False},
    ],
    ids=lambda given: next(iter(given)),
)
def test_there_is_none_where_anything_that_it_would_choose_is_given(given):
    task = Task(MemoryRows(random_rows(60)), resolve(predictor_type="binary_classifier", **given))
    assert not pilot.wanted(task)
    assert pilot.wanted(task._replace(hyperparameters=resolve(predictor_type="binary_classifier", seed=3, epochs=2)))


def test_there_is_none_for_other_presets_early_stopping_warm_starts_and_rows_that_stream():
    rows, h = MemoryRows(random_rows(60)), resolve(predictor_type="binary_classifier", num_factors=4)
    patient, task = replace(h, early_stopping_patience=2), Task(rows, h)
    assert pilot.wanted(task)
    assert pilot.wanted(task._replace(test=rows))
    assert not pilot.wanted(Task(rows, patient, rows))
    assert not pilot.wanted(task._replace(initial_model=trained(random_rows(60), "binary_classifier")))
    for preset in ("native-1", "sagemaker"):
        assert not pilot.wanted(Task(rows, resolve(preset, predictor_type="binary_classifier")))
    rows.streaming = True
    assert not pilot.wanted(task)


@pytest.mark.parametrize(
    "cells",
    [np.eye(pilot.LEAST_ROWS - 1), np.ones((60, 1)), np.full((60, 1), np.nan)],
    ids=["few", "alike", "empty"],
)
def test_there_is_none_on_few_rows_or_rows_that_do_not_differ(cells):
    model = trained(rows_of(cells, np.arange(len(cells)) % 7), "regressor")
    assert "pilot" not in model.info
    assert model.info["rows"] == len(cells)

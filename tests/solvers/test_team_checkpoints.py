"""Teams stopped between two rounds and resumed: by as many workers to the same byte, by another number as well."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shell import libsvm_rows
from teams import After, Log, team, trained

from fmcore import api
from fmcore.errors import PausedError
from fmcore.optimizers import OPTIMIZERS
from fmcore.training import checkpoint

ROWS = 1200
SETTINGS = {
    **{optimizer: {"optimizer": optimizer} for optimizer in OPTIMIZERS},
    "native": {"preset": "native"},
    "native regressor": {"preset": "native", "predictor_type": "regressor", "on_divergence": "halve-lr"},
    "best epoch": {"early_stopping_patience": 2, "linear_lr": 0.4, "factors_lr": 0.4, "lr_schedule": "constant"},
    "halved": {
        "predictor_type": "regressor",
        "optimizer": "sgd",
        "lr_schedule": "constant",
        "linear_lr": 4.0,
        "factors_lr": 4.0,
        "on_divergence": "halve-lr",
    },
}
ALONE = api.Resources()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fmcore.rows.slices.ROWS", 100)  # for one process, so that it can be stopped within an epoch
    Path("train.svm").write_text(libsvm_rows(ROWS, 1))
    Path("test.svm").write_text(libsvm_rows(200, 2))


def saving(**options):
    return api.Saving("c", resumable=True, **options)


def paused(resources, polls, **options):
    """Train until a stop at so many polls; return the State that is saved."""
    with pytest.raises(PausedError):
        trained("x.fm", test="test.svm", resources=resources, saving=saving(), stop=After(polls), **options)
    return checkpoint.load("c")[0]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_team_resumed_after_any_number_of_stops_gives_the_same_bytes(settings):
    log = Log()
    whole = trained("whole.fm", test="test.svm", resources=team(3), observer=log, **settings)
    assert bool(log.halvings) is (settings is SETTINGS["halved"])
    rng, within, between, rows = random.Random(5), 0, 0, 0
    while True:
        log = Log()
        resources = team(3, dist_state=rng.choice(("replica", "sharded")), threads=rng.choice((1, 2)))
        try:
            trained(
                "parts.fm",
                test="test.svm",
                resources=resources,
                saving=saving(minutes=rng.choice((None, 0.0))),
                stop=After(rng.randint(0, 25)),
                observer=log,
                **settings,
            )
            break
        except PausedError:
            progress = checkpoint.load("c")[0].progress
            within, between = within + (0 < progress.rows < ROWS), between + (progress.rows in {0, ROWS})
        finally:
            rows += log.trained
    assert Path("parts.fm").read_bytes() == whole
    assert within > 1
    if settings is SETTINGS["adagrad"]:
        assert rows == 3 * ROWS  # none twice
        assert between or Path("c").exists()


def test_a_team_resumed_after_a_stop_between_epochs_or_before_a_test_gives_the_same_bytes():
    log = Log()
    whole = trained("whole.fm", test="test.svm", resources=team(3), observer=log)
    # polled before each epoch, after each round but the last, and at each piece of test rows, of which a worker has one
    rounds = log.rounds[0]["rounds"]
    for polls, rows in ((rounds, ROWS), (rounds + 3, 0)):
        Path("c").unlink(missing_ok=True)
        assert paused(team(3), polls).progress.rows == rows
        assert trained("x.fm", test="test.svm", resources=team(3), saving=saving()) == whole


@pytest.mark.parametrize("polls", [9, 23, 40])
@pytest.mark.parametrize(("was", "now"), [(8, 4), (8, 1), (8, None), (None, 4), (2, 3), (1, None), (None, 1)])
def test_resume_by_another_number_of_workers_gives_about_the_same_model(was, now, polls):
    """All epochs are trained, to as good a model as by the first number of workers without a break."""
    one, other = (ALONE if number is None else team(number) for number in (was, now))
    whole, log = Log(), Log()
    trained("whole.fm", test="test.svm", resources=one, observer=whole, mini_batch_size=8)
    state = paused(one, polls, mini_batch_size=8)
    assert state.workers == (was or 1)
    trained("x.fm", test="test.svm", resources=other, saving=saving(), observer=log, mini_batch_size=8)
    assert log.resumed_at[0] == len(state.epochs)
    assert abs(log.resumed_at[1] - state.progress.rows) < 8  # one process resumes at the nearest mini-batch
    left = 3 * ROWS - ROWS * len(state.epochs) - state.progress.rows
    assert abs(log.trained - left) < ROWS / 16 + 8 * (was or 1)  # a round's rows, or the rounding of each worker's
    expected, found = (each.epochs[-1]["test"]["logloss"] for each in (whole, log))
    assert found < 1.06 * expected
    assert len(api.load("x.fm").info["epochs"]) == 3
    assert checkpoint.load("c")[0].workers == (now or 1)


@pytest.mark.parametrize("settings", ["adagrad", "rowwise_adagrad", "adam", "best epoch"])
def test_resume_by_another_number_of_workers_converts_sums_of_squares(settings):
    state = paused(team(8), 45, **SETTINGS[settings])
    models = [state.model, *([state.best.model] if state.best else [])]
    before = [{name: array.copy() for name, array in model.tensors().items()} for model in models]
    state.convert(4)
    assert state.workers == 4
    for model, arrays in zip(models, before, strict=True):
        for name, array in model.tensors().items():
            factor = 2 if "sum_of_squares" in name else 1
            np.testing.assert_array_equal(array, factor * arrays[name])
    assert (len(models) == 2) is (settings == "best epoch")
    twice = replace(state)
    state.convert(4)
    assert twice.model is state.model


def test_resume_by_another_number_of_workers_begins_at_the_same_row():
    whole = Log()
    trained("x.fm", resources=team(4), observer=whole)
    state = paused(team(8), 25)
    assert state.epochs
    log = Log()
    trained("x.fm", test="test.svm", resources=team(4), saving=saving(), observer=log)
    first = log.rounds[0]
    done = sum(
        record["rows"]
        for record in whole.rounds
        if record["epoch"] == first["epoch"] and record["round"] < first["round"]
    )
    assert abs(done - state.progress.rows) <= max(record["rows"] for record in whole.rounds)


@pytest.mark.parametrize("halved", [False, True])
def test_resume_by_another_number_of_workers_may_still_halve_the_rates(halved):
    settings = {**SETTINGS["halved"], "linear_lr": 4.0 if halved else 0.01, "factors_lr": 4.0 if halved else 0.01}
    state = paused(team(4), 60 if halved else 30, **settings)
    assert bool(state.halved) is halved
    assert state.begun is not None or not state.progress.rows
    trained("x.fm", test="test.svm", resources=team(2), saving=saving(), **settings)
    assert len(api.load("x.fm").info["epochs"]) == 3


def test_a_stopped_team_without_a_checkpoint_returns_the_model_so_far():
    trained("x.fm", test="test.svm", resources=team(3, dist_state="sharded"), stop=After(20))
    model = api.load("x.fm")
    assert model.info["stopped"]["epoch"] == len(model.info["epochs"]) + 1
    assert 0 <= model.info["stopped"]["rows"] < ROWS

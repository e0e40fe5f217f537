"""Studies, with optuna itself: places, trials that count, runs that ended, other files, and shared rows."""

import sqlite3
from dataclasses import asdict, replace

import numpy as np
import optuna
import pytest

from fmcore.errors import UsageError
from fmcore.hyper.presets import resolve
from fmcore.rows.batch import ARRAYS, Batch
from fmcore.tuning import runs, storage
from fmcore.tuning.dimensions import Choice, Range
from fmcore.tuning.samplers import STRATEGIES
from fmcore.tuning.shared import share
from fmcore.tuning.space import search_space
from fmcore.tuning.study import open_study
from fmcore.tuning.trials import PROBLEM

NAMED = {"epochs": Range(1, 9, integer=True), "factors_lr": Range(0.01, 1.0, log=True)}
SETTINGS = {"objective": "test:rmse"}


def space_of(named=None, **fixed):
    return search_space(named or NAMED, {"predictor_type": "regressor", **fixed})


def classes():
    return search_space(NAMED, {"predictor_type": "binary_classifier"})


def opened(path, space=None, settings=SETTINGS, **options):
    return open_study(path, settings, space or space_of(), **options)


def search(study, value=lambda found: found["factors_lr"]):
    """Ask and tell to the end; return the values tried, by name."""
    seen = []
    while (trial := study.ask()) is not None:
        found = found_by(trial)
        seen.append(trial.values or {"untuned": True})
        study.tell(trial, value(found), seconds=0.0, epochs=1, found=found)
    return seen


def found_by(trial, **changes):
    """Return all hyperparameters as the training of a trial ends with them."""
    h = replace(trial.hyperparameters, **changes)
    return {**asdict(h), "epochs": h.epochs or 5, "mini_batch_size": h.mini_batch_size or 64}


@pytest.mark.parametrize("strategy", ["bayesian", "random", "grid", "hyperband"])
def test_the_same_seed_tries_the_same_values_even_if_killed(tmp_path, strategy, monkeypatch):
    with opened(tmp_path / "whole.db", strategy=strategy, trials=12) as study:
        whole = search(study)
    with opened(tmp_path / "parts.db", strategy=strategy, trials=5) as study:
        parts = search(study)
    with opened(tmp_path / "parts.db", strategy=strategy, trials=12) as study:
        assert study.ask().values == whole[5]  # and its run is killed
    monkeypatch.setattr(runs, "lives", lambda run: False)
    with opened(tmp_path / "parts.db", strategy=strategy, trials=12) as study:
        assert parts + search(study) == whole
        assert len(study.tried()) == 12


def test_another_seed_tries_other_values(tmp_path):
    found = []
    for seed in (0, 1):
        with opened(tmp_path / f"{seed}.db", space_of(seed=seed), strategy="random", trials=3) as study:
            found.append(search(study))
    assert found[0] != found[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_untuned_model_is_tried_first_and_to_its_end(tmp_path, strategy):
    space = space_of(num_factors=4)
    with opened(tmp_path / "x.db", space, strategy=strategy, trials=9) as study:
        first, second = study.ask(), study.ask()
        assert (first.untuned, second.untuned) == (True, False)
        assert first.hyperparameters == resolve("native", predictor_type="regressor", num_factors=4)
        assert (second.hyperparameters.pilot, second.hyperparameters.num_factors) == ("none", 4)
        assert not any(study.report(first, step, 9.0) for step in range(1, 9))
        study.tell(first, 9.0, found=found_by(first), seconds=0.0)
        (tried,) = study.tried()
        assert tried.untuned
        assert tried.inside
        assert tried.values == {"epochs": 5, "factors_lr": 0.3}
        study.tell(second, 9.0)
        assert [tried.untuned for tried in study.tried()] == [True, False]  # which is before its ties


@pytest.mark.parametrize("changes", [{"factors_lr": 2.0}, {"linear_wd": 10.0}])
def test_a_model_that_no_trial_can_be_teaches_nothing(tmp_path, changes):
    with opened(tmp_path / "x.db", trials=20) as study:
        first = study.ask()
        study.tell(first, 0.1, found=found_by(first, **changes), seconds=0.0)
        assert study.optuna_study.trials[0].params == {}
        (tried,) = study.tried()
        assert (tried.untuned, tried.inside) == (True, False)
        assert tried.values == {"epochs": 5, "factors_lr": changes.get("factors_lr", 0.3)}
        search(study)
        assert study.importances().keys() == NAMED.keys()


def test_values_that_do_not_go_together_are_a_trial_that_failed(tmp_path):
    with opened(tmp_path / "x.db", space_of({"penalty": Choice(("rows", "batch"))}), trials=8) as study:
        seen = search(study, lambda found: 1.0)
        failed = [tried for tried in study.tried() if tried.state == "failed"]
        assert len(seen) + len(failed) == 8
        assert failed
        for tried in failed:
            assert tried.values == {"penalty": "batch"}
            assert tried.info[PROBLEM].startswith("factors_variance is 0.5, but penalty is batch")


def test_values_of_other_seeds_are_kept(tmp_path):
    with opened(tmp_path / "x.db") as study:
        study.tell_again(3, 7, 0.5)
    with opened(tmp_path / "x.db") as study:
        assert study.again(3, 7) == 0.5
        assert study.again(3, 8) is None


def test_parallel_trials_get_different_places(tmp_path):
    with (
        opened(tmp_path / "x.db", strategy="random", trials=4) as study,
        opened(tmp_path / "x.db", strategy="random", trials=4) as other,
    ):
        asked = [study.ask(), other.ask(), study.ask(), other.ask()]
        assert [trial.untuned for trial in asked] == [True, False, False, False]
        assert len({trial.values["factors_lr"] for trial in asked[1:]}) == 3
        assert study.ask() is None
        assert other.waits()
        study.withdraw(asked[2])
        again = other.ask()
        assert again.values == asked[2].values
        for trial in [asked[0], asked[1], asked[3], again]:
            other.tell(trial, 1.0)
        assert not study.waits()
        assert [trial.user_attrs["place"] for trial in study.optuna_study.trials] == [0, 1, 2, 3, 2]
        assert len(study.tried()) == 4


def test_a_grid_search_ends_after_its_last_point(tmp_path):
    space = space_of({"use_linear": Choice((True, False)), "mini_batch_size": Choice((None, 16))})
    with opened(tmp_path / "x.db", space, strategy="grid", trials=100) as study:
        seen = search(study, lambda found: float(found["use_linear"]))
    assert len(seen) == 1 + 4
    assert {tuple(values.values()) for values in seen[1:]} == {(True, None), (False, None), (True, 16), (False, 16)}


def test_ended_trials_are_listed_best_first(tmp_path):
    with opened(tmp_path / "x.db", classes(), {"objective": "test:binary_f_beta"}, trials=4) as study:
        for value in (0.5, 0.7):
            study.tell(study.ask(), value)
        study.tell(study.ask(), pruned=True)
        study.tell(study.ask(), problem="the loss is not finite")
        assert [(t.state, t.value) for t in study.tried()] == [
            ("complete", 0.7),
            ("complete", 0.5),
            ("pruned", None),
            ("failed", None),
        ]
        assert study.ask() is None
        assert study.importances() == {}


def test_importances_name_all_searched_hyperparameters(tmp_path):
    space = space_of({**NAMED, "clip_gradient": Choice((None, 1.0)), "num_factors": Choice((4,))})
    with opened(tmp_path / "x.db", space, strategy="random", trials=20) as study:
        search(study, lambda found: found["factors_lr"] * 10 + found["epochs"] / 1000)
        found = study.importances()
    assert next(iter(found)) == "factors_lr"
    assert {"epochs", "clip_gradient"} <= set(found)


def test_bad_trials_are_pruned(tmp_path):
    with opened(tmp_path / "x.db", trials=20) as study:
        for _ in range(6):
            trial = study.ask()
            assert [study.report(trial, step, 1.0) for step in range(1, 8)] == [False] * 7
            study.tell(trial, 1.0)
        trial = study.ask()
        assert [study.report(trial, step, 9.0) for step in range(1, 6)] == [False] * 4 + [True]


def test_studies_of_another_search_are_refused(tmp_path):
    with opened(tmp_path / "x.db", settings={**SETTINGS, "--cv": 3}):
        pass
    other = {**SETTINGS, "--cv": 5}
    with (
        pytest.raises(UsageError, match="its --cv is 3, but here --cv is 5"),
        opened(tmp_path / "x.db", settings=other),
    ):
        pass


def test_files_that_are_no_studies_are_refused_and_unchanged(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cities (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not a study made by fm tune"), opened(path):
        pass
    assert path.read_bytes() == before
    other = tmp_path / "other.db"
    storage.close(optuna.create_study(storage=f"sqlite:///{other}", study_name="mine"))
    with pytest.raises(UsageError, match="not a study made by fm tune"), opened(other):
        pass
    path.write_text("a text")
    with pytest.raises(UsageError, match="not an SQLite file"), opened(path):
        pass
    path.write_bytes(storage.HEADER + bytes(200))
    with pytest.raises(UsageError, match="cannot be used as a study"), opened(path):
        pass
    for bad, problem in ((tmp_path, "Is a directory"), (tmp_path / "no/x.db", "no folder")):
        with pytest.raises(UsageError, match=problem), opened(bad):
            pass


def test_a_locked_study_is_refused_after_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE", 0.1)
    with opened(tmp_path / "x.db") as study:
        trial = study.ask()
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for used in (lambda: opened(tmp_path / "x.db").__enter__(), lambda: study.tell(trial, 1.0)):
            with pytest.raises(UsageError, match="has been locked by another program"):
                used()
        other.close()
        study.tell(trial, 1.0)


def test_special_characters_in_a_study_path_are_kept(tmp_path):
    path = tmp_path / "100% a?b=c#d.db"
    with opened(path) as study:
        study.tell(study.ask(), 1.0)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_process_is_distinguished_from_a_later_one_of_its_number():
    mark = runs.mark()
    assert runs.lives(mark)
    assert not runs.lives({**mark, "since": "1"})
    assert not runs.lives({**mark, "process": 2**22 + 1})
    assert runs.lives({**mark, "process": 2**22 + 1, "host": "elsewhere"})


@pytest.mark.parametrize(
    ("values", "weights", "fields", "groups"),
    [(None, None, None, None), ([1.5, 2], [1, 0.5, 0], [0, 7], [3, 3, 2**40])],
)
def test_shared_rows_read_back_equal(tmp_path, values, weights, fields, groups):
    batch = Batch(
        np.array([0, 2, 2, 2]),
        np.array([3, 1], np.int32),
        values and np.array(values, np.float32),
        np.array([1, 0, 1], np.float32),
        weights and np.array(weights, np.float32),
        fields=fields and np.array(fields, np.int32),
        groups=groups and np.array(groups),
    )
    shared = share([batch], tmp_path / "rows")
    (back,) = shared.batches()
    assert (shared.rows, shared.feature_dim) == (3, 4)
    for name in ARRAYS:
        mine, its = getattr(batch, name), getattr(back, name)
        assert (mine is None and its is None) or (mine.dtype == its.dtype and np.array_equal(mine, its))
    assert share([batch], tmp_path / "again").checksum == shared.checksum


def test_rows_without_features_are_shared(tmp_path):
    batch = Batch(np.zeros(3, np.int64), np.empty(0, np.int32), None, np.array([1, 0], np.float32))
    (back,) = share([batch], tmp_path / "rows").batches()
    assert len(back) == 2
    assert share([], tmp_path / "none").rows == 0

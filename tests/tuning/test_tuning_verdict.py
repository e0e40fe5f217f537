"""Which model a search publishes, what its training is given, and means over seeds."""

from dataclasses import replace

import pytest

from fmcli.tuning_log import comparison, trials_table
from fmcore.errors import DivergedError, UsageError
from fmcore.tuning import repeats, tune
from fmcore.tuning.dimensions import Choice, Range
from fmcore.tuning.repeats import FEW, Repeats, repeated
from fmcore.tuning.space import search_space
from fmcore.tuning.trials import PLACE, Tried
from fmcore.tuning.tune import Plan
from fmcore.tuning.verdict import given, require_model, verdict

RATINGS = {"predictor_type": "regressor"}
SPACE = search_space({}, RATINGS)


def tried(number, value, *, place=None, mean=None, epochs=7, **values):
    info = {PLACE: number if place is None else place, "seconds": 0.5, "epochs": epochs}
    return Tried(number, values, "complete" if value else "failed", value, info, mean=mean)


UNTUNED = tried(0, 0.84, num_factors=16, epochs=10)


def judged(*trials, space=SPACE):
    return verdict(space, sorted(trials, key=lambda one: one.score))


def test_the_best_trial_is_published_where_it_is_better():
    found = judged(UNTUNED, tried(1, 0.85, num_factors=8), tried(2, 0.798, num_factors=32))
    assert (found.best.number, found.improves, found.outside) == (2, True, {})
    assert comparison(found) == "best trial 0.798, untuned 0.84 (-5.0 %)"
    assert given(SPACE, found.best, refit=False) == {**RATINGS, "num_factors": 32, "pilot": "none"}


@pytest.mark.parametrize("others", [[], [tried(1, 0.85)], [tried(1, 0.84)]])
def test_the_untuned_model_is_published_where_none_is_better(others):
    found = judged(UNTUNED, *others)
    assert found.best is UNTUNED
    assert not found.improves
    assert comparison(found).startswith("no trial is better than the untuned model")
    assert comparison(found).endswith(": that one is published")
    assert given(SPACE, found.best, refit=False) == RATINGS


def test_an_untuned_model_outside_of_the_users_own_ranges_is_only_compared_with():
    space = search_space({"num_factors": Choice((4, 8)), "epochs": Range(1, 20, integer=True)}, RATINGS)
    found = judged(UNTUNED, tried(1, 0.85, num_factors=8, epochs=3), space=space)
    assert found.best.number == 1
    assert not found.improves
    assert found.outside == {"num_factors": 16}
    assert comparison(found).endswith("which is outside of what is searched: num_factors 16")
    assert judged(UNTUNED, space=space) is None
    with pytest.raises(DivergedError, match="none of 1 trials ended with a model"):
        require_model([UNTUNED, tried(1, None)], None)
    with pytest.raises(UsageError, match="within 3 seconds"):
        require_model([UNTUNED], 3)
    with pytest.raises(UsageError, match="give more trials"):
        require_model([UNTUNED], None)


def test_nothing_is_compared_with_an_untuned_model_that_diverged():
    found = judged(tried(1, 0.85))
    assert (found.best.number, found.improves) == (1, True)
    assert comparison(found) is None


def test_a_refit_has_the_epochs_of_the_best_trial():
    best = tried(3, 0.8, epochs=4, num_factors=8)
    assert given(SPACE, best, refit=True) == {**RATINGS, "num_factors": 8, "pilot": "none", "epochs": 4}
    stopped = search_space({}, {**RATINGS, "early_stopping_patience": 2, "epochs": 30})
    for one in (best, replace(UNTUNED, info={**UNTUNED.info, "epochs": 4})):
        values = given(stopped, one, refit=True)
        assert (values["epochs"], values["pilot"]) == (4, "none")
        assert "early_stopping_patience" not in values
    assert given(SPACE, UNTUNED, refit=True) == RATINGS  # whose pilot looks at the rows anew


class Kept:
    """A study that has ended."""

    minimize = True

    def __init__(self, *trials):
        self.trials, self.values = sorted(trials, key=lambda one: (one.value is None, one.value or 0)), {}

    def tried(self):
        return self.trials

    def again(self, number, seed):
        return self.values.get((number, seed))

    def tell_again(self, number, seed, value):
        self.values[number, seed] = value


def test_the_best_few_and_the_untuned_model_are_trained_with_other_seeds():
    trials = [tried(number, 0.7 + number / 100, num_factors=8 + number) for number in range(1, 9)]
    study = Kept(UNTUNED, *trials)
    study.tell_again(2, 8, 0.5)  # by an earlier run
    space = search_space({}, {**RATINGS, "seed": 7})
    queue = Repeats(study, space, [*trials[:FEW], UNTUNED], [8, 9])
    assert (queue.left, queue.total) == (11, 12)
    asked = []
    while (trial := queue.ask()) is not None:
        asked.append((trial.number, trial.hyperparameters.seed))
        h = space.untuned() if trial.untuned else space.hyperparameters(trials[trial.number - 1].values)
        assert trial.hyperparameters == replace(h, seed=trial.hyperparameters.seed)
        assert not queue.report(trial, 1, 9.0)
        queue.tell(trial, None if trial.number == 3 else 0.9, seconds=0.1)
    assert set(asked) == {(number, seed) for number in range(FEW + 1) for seed in (8, 9)} - {(2, 8)}
    assert queue.left == 0
    assert queue.mean(trials[1]) == pytest.approx((0.72 + 0.5 + 0.9) / 3)
    assert queue.mean(trials[2]) is None  # which diverged with another seed


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_best_mean_is_in_front(monkeypatch, seed):
    def train(queue, context, *, jobs, observer):
        while (trial := queue.ask()) is not None:
            queue.tell(trial, {0: 0.9, 1: 0.95, 2: 0.6, 3: None}[trial.number])
            observer.ended([], None)

    monkeypatch.setattr(repeats, "search", train)
    trials, seen = [UNTUNED, *(tried(number, 0.7 + number / 100, num_factors=8) for number in (1, 2, 3))], []
    space = search_space({}, {**RATINGS, "seed": seed})
    found = repeated(Kept(*trials), space, None, Plan(repeats=2), lambda *counts: seen.append(counts))
    assert [one.number for one in found] == [2, 1, 0, 3]
    assert [one.mean for one in found] == [pytest.approx(mean) for mean in (0.66, 0.83, 0.87)] + [None]
    assert seen == [(number, 4) for number in range(5)]
    table = trials_table("test:rmse", verdict(space, found), 2)
    assert table[0][:3] == ["trial", "mean of 2", "test:rmse"]
    assert [row[:3] for row in table[1:]] == [
        ["2", "0.66", "0.72"],
        ["1", "0.83", "0.71"],
        ["untuned", "0.87", "0.84"],
        ["3", "-", "0.73"],
    ]
    assert comparison(verdict(space, found)) == "best trial 0.66, untuned 0.87 (-24.1 %)"


def test_an_interruption_of_the_repeats_leaves_the_best_by_one_seed(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "search", lambda *_, **__: None)
    monkeypatch.setattr(tune, "repeated", interrupted)
    study = Kept(UNTUNED, tried(1, 0.8, num_factors=8))
    found, stopped = tune._searched(study, SPACE, None, Plan(repeats=2), tune.TuningObserver())
    assert (found.best.number, stopped) == (1, True)
    with pytest.raises(KeyboardInterrupt):
        tune._searched(Kept(), SPACE, None, Plan(repeats=2), tune.TuningObserver())


def test_the_untuned_model_is_in_the_table_wherever_it_stands():
    trials = [tried(number, 0.5 + number / 1000, num_factors=8) for number in range(1, 15)]
    table = trials_table("test:rmse", judged(UNTUNED, *trials), 1)
    assert [row[0] for row in table[1:]] == [*map(str, range(1, 11)), "untuned"]

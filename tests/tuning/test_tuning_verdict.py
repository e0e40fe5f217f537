"""Which model a search publishes, what its training is given."""

import pytest

from fmcli.tuning_log import comparison, trials_table
from fmcore.errors import DivergedError, UsageError
from fmcore.tuning.dimensions import Choice, Range
from fmcore.tuning.space import search_space
from fmcore.tuning.trials import PLACE, Tried
from fmcore.tuning.verdict import given, require_model, verdict

RATINGS = {"predictor_type": "regressor"}
SPACE = search_space({}, RATINGS)


def tried(number, value, *, place=None, epochs=7, **values):
    info = {PLACE: number if place is None else place, "seconds": 0.5, "epochs": epochs}
    return Tried(number, values, "complete" if value else "failed", value, info)


UNTUNED = tried(0, 0.84, num_factors=16, epochs=10)


def judged(*trials, space=SPACE):
    return verdict(space, sorted(trials, key=lambda one: one.value))


def test_the_best_trial_is_published_where_it_is_better():
    found = judged(UNTUNED, tried(1, 0.85, num_factors=8), tried(2, 0.798, num_factors=32))
    assert (found.best.number, found.improves, found.outside) == (2, True, {})
    assert comparison(found) == "best trial 0.798, untuned 0.84 (-5.0 %)"
    assert given(SPACE, found.best) == {**RATINGS, "num_factors": 32, "pilot": "none"}


@pytest.mark.parametrize("others", [[], [tried(1, 0.85)], [tried(1, 0.84)]])
def test_the_untuned_model_is_published_where_none_is_better(others):
    found = judged(UNTUNED, *others)
    assert found.best is UNTUNED
    assert not found.improves
    assert comparison(found).startswith("no trial is better than the untuned model")
    assert comparison(found).endswith(": that one is published")
    assert given(SPACE, found.best) == RATINGS


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


def test_the_untuned_model_is_in_the_table_wherever_it_stands():
    trials = [tried(number, 0.5 + number / 1000, num_factors=8) for number in range(1, 15)]
    table = trials_table("test:rmse", judged(UNTUNED, *trials))
    assert [row[0] for row in table[1:]] == [*map(str, range(1, 11)), "untuned"]

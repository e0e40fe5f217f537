"""Whether a study, which may come from anywhere, is one that a search of this space can have left."""

from fmcore.errors import UsageError
from fmcore.hyper.params import PARAMETERS
from fmcore.tuning import runs
from fmcore.tuning.dimensions import Range
from fmcore.tuning.trials import FOUND, PLACE, PROBLEM, RUN

AGAIN = "again "  # what attributes of a study begin with that hold the value of a trial with another seed


def is_sound(study, dimensions):
    """Return whether all that an optuna study holds is of its kind; dimensions: name -> Range or Choice."""
    try:
        expected = {name: distribution(dimension) for name, dimension in dimensions.items()}
        again = (value for name, value in study.user_attrs.items() if name.startswith(AGAIN))
        return all(isinstance(value, float) for value in again) and all(
            _is_sound_trial(trial, expected) for trial in study.get_trials(deepcopy=False)
        )
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return False  # optuna does not check the file's content


def distribution(dimension):
    """Return optuna's distribution for the values of a dimension."""
    from optuna import distributions

    if not isinstance(dimension, Range):
        return distributions.CategoricalDistribution(dimension.values)
    kind = distributions.IntDistribution if dimension.integer else distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _is_sound_trial(trial, expected):
    """Return whether a trial is one that a Study can have left; expected: name -> distribution."""
    attributes = trial.user_attrs
    return (
        runs.is_mark(attributes.get(RUN))
        and isinstance(attributes.get(PLACE, 0), int)
        and isinstance(attributes.get("seconds", 0.0), (int, float))
        and isinstance(attributes.get("epochs", 1), int)
        and isinstance(attributes.get(PROBLEM, ""), str)
        and _are_values(attributes.get(FOUND, {}), expected)
        and all(expected.get(name) == distribution for name, distribution in trial.distributions.items())
    )


def _are_values(found, names):
    """Return whether it is a dict of values of such hyperparameters."""
    try:
        return all(name in names and PARAMETERS[name].check(value) == value for name, value in found.items())
    except UsageError:
        return False

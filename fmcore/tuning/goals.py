"""The metrics that a search minimizes or maximizes, under SageMaker's names; the objectives define them."""

from typing import NamedTuple

from fmcore.errors import UsageError
from fmcore.objectives import OBJECTIVES, objective_of

STEPS = 10  # parts of a trial, at whose ends it reports the objective


class Goal(NamedTuple):
    """A metric of the test rows, and its direction, "minimize" or "maximize"."""

    name: str
    metric: str
    direction: str

    def value(self, metrics):
        """Return the goal's value, given the test metrics of an epoch; raise UsageError where the rows give none."""
        if metrics[self.metric] is None:
            raise UsageError(f"{self.name} needs test rows of both classes")
        return metrics[self.metric]


def goal_names():
    """Return the names of all goals of all objectives there are."""
    return tuple(dict.fromkeys(name for objective in OBJECTIVES.values() for name in objective.goals))


def goal_of(name, predictor_type):
    """Return the Goal of that name, or the objective's first where it is None; UsageError where the two do not fit."""
    goals = objective_of(predictor_type).goals
    if name is None:
        name = next(iter(goals))
    if name not in goals:
        raise UsageError(
            f"objective {name} does not fit predictor_type {predictor_type}; expected {' or '.join(goals)}"
        )
    return Goal(name, *goals[name])

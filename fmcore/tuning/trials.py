"""The trials of a search: one to train, and one that has ended."""

from dataclasses import dataclass, field
from typing import Any

from fmcore.hyper.params import Hyperparameters

RUN, PLACE, PROBLEM, FOUND = "run", "place", "problem", "found"  # attributes of a trial in a study
UNTUNED = 0  # the place of the model that there is without a search


@dataclass
class Trial:
    """A model to train.

    number: from 0. values: the searched hyperparameters, by name; of the untuned model none. hyperparameters: all; None
    where the values do not go together.
    """

    number: int
    values: dict[str, Any]
    hyperparameters: Hyperparameters | None = None
    untuned: bool = False
    handle: Any = field(repr=False, default=None)


@dataclass(frozen=True)
class Tried:
    """A trial that has ended: state is "complete", "pruned" or "failed", value None unless it is complete.

    values: of the untuned model those that its training ended with. inside: whether the space holds them.
    mean: of the values with several seeds, or None. info: ready for JSON.
    """

    number: int
    values: dict[str, Any]
    state: str
    value: float | None
    info: dict[str, Any]
    inside: bool = True
    mean: float | None = None

    @classmethod
    def of(cls, trial: Any) -> "Tried":
        """Return the Tried of optuna's trial."""
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        info, values = dict(trial.user_attrs), dict(trial.params)
        value = trial.value if state == "complete" else None
        return cls(trial.number, info.get(FOUND) or values, state, value, info, inside=bool(values))

    @property
    def untuned(self) -> bool:
        """Whether it is the model that there is without a search."""
        return self.info.get(PLACE) == UNTUNED

    @property
    def score(self) -> float | None:
        """Return the mean, or else the value."""
        return self.value if self.mean is None else self.mean

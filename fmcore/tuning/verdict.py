"""What a search comes to: which model is the best, how it compares with the untuned one, and how to train it."""

from dataclasses import dataclass
from typing import Any

from fmcore.errors import DivergedError, UsageError
from fmcore.tuning.space import Space
from fmcore.tuning.trials import PROBLEM, Tried

PATIENCE = "early_stopping_patience"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a search.

    trials: those with a value, the best first. best: the one to publish; the untuned model where none is better.
    untuned: None where it has no value. outside: name -> value of the untuned model that the user's own ranges do not
    hold; then it is compared with, but not published.
    """

    trials: list[Tried]
    best: Tried
    untuned: Tried | None
    outside: dict[str, Any]

    @property
    def tuned(self) -> Tried | None:
        """Return the best trial beside the untuned model, or None."""
        return next((tried for tried in self.trials if not tried.untuned), None)

    @property
    def improves(self) -> bool:
        """Whether the best is better than the untuned model."""
        return not self.best.untuned and (self.untuned is None or self.trials[0] is self.best)

    @property
    def change(self) -> float | None:
        """Return by which share of the untuned model's score the best trial's differs; None where none can be said."""
        one, other = self.tuned, self.untuned
        if one is None or other is None or (one.mean is None) != (other.mean is None) or not other.score:
            return None
        return (one.score - other.score) / abs(other.score)


def verdict(space: Space, trials: list[Tried]) -> Verdict | None:
    """Return the Verdict on trials with a value, the best first; None where there is none to publish."""
    untuned = next((tried for tried in trials if tried.untuned), None)
    named = {name: value for name, value in (untuned.values if untuned else {}).items() if name in space.named}
    outside = space.outside(named)
    best = next((tried for tried in trials if not (tried.untuned and outside)), None)
    return None if best is None else Verdict(trials, best, untuned, outside)


def require_model(tried: list[Tried], timeout: float | None) -> None:
    """Raise the error of a search that has come to nothing; tried: all trials that have ended.

    An untuned model with a value among them is one that the user's ranges do not hold.
    """
    others = [trial for trial in tried if trial.value is None]
    if not others and timeout is not None:
        raise UsageError(f"no trial has ended within {timeout:g} seconds; give more with --timeout")
    if not others:
        raise UsageError(
            "the one trial is the untuned model, which is outside of what is searched; give more trials with --trials"
        )
    problems = [trial.info[PROBLEM] for trial in others if PROBLEM in trial.info]
    raise DivergedError(
        f"none of {len(others)} trials ended with a model" + (f"; the last one: {problems[-1]}" if problems else "")
    )


def given(space: Space, best: Tried, *, refit: bool) -> dict[str, Any]:
    """Return name -> value of what its training is given beside the preset.

    refit: whether it is trained on the test rows as well, so that none are left to stop by: for as many epochs as were
    best then.
    """
    values = dict(space.fixed) if best.untuned else space.given(best.values)
    stopped = values.get(PATIENCE, space.defaults[PATIENCE]) is not None
    if refit and (stopped or not best.untuned):
        values = {**space.given(values), "epochs": best.info["epochs"]}
        values.pop(PATIENCE, None)
    return values

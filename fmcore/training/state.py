"""The state of a training, by which it can be resumed, and the control that saves it and stops training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fmcore.hyper.params import Hyperparameters
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.solvers import Placed
from fmcore.solvers.epoch import UNITS, Progress

PILOT = "pilot"  # in a model's info: what a pilot has found


@dataclass
class Best:
    """The best epoch so far by the primary test metric, and its model as it was in training."""

    epoch: int
    value: float
    model: Model


@dataclass
class State:
    """All that is needed to resume a training, apart from its rows.

    model: weights as in training, which are of scaled values (see fmcore.rows.scaling), and the optimizer's state.
    epochs: a record of each whole epoch so far. progress: the part of the next one that is trained.
    begun: the model at the beginning of that one, where training may go back to it, or None.
    halved: the epoch, from 1, at each divergence that halved the learning rates.
    best: what early stopping keeps, or None.
    workers: how many train together, on whose number the optimizer's state depends (see `converted`).
    unit: of the steps of the progress, one of UNITS: a team of one counts in another unit than a single process, and
    rounds are short where rows do not fit in memory.
    """

    model: Model
    epochs: list[dict[str, Any]] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    begun: Model | None = None
    halved: list = field(default_factory=list)
    best: Best | None = None
    workers: int = 1
    unit: str = UNITS[0]

    @property
    def epoch(self) -> int:
        """Return the number of the epoch under way, from 1."""
        return len(self.epochs) + 1

    def add(self, record: dict[str, Any], snapshot: Callable[[], Model]) -> None:
        """Add an epoch's record, and keep the model `snapshot()` where it is the best and early stopping needs it."""
        self.epochs.append(record)
        self.progress = Progress()
        h = self.model.hyperparameters
        if h.early_stopping_patience is None or "test" not in record:
            return
        metric, direction = objective_of(h).primary
        value = record["test"][metric]
        if self.best is None or (value < self.best.value if direction == "minimize" else value > self.best.value):
            self.best = Best(record["epoch"], value, snapshot())

    def ended(self) -> bool:
        """Return whether all epochs are trained, or `early_stopping_patience` of them since the best one."""
        h, patience = self.model.hyperparameters, self.model.hyperparameters.early_stopping_patience
        too_long = self.best is not None and patience is not None and len(self.epochs) - self.best.epoch >= patience
        return too_long or len(self.epochs) >= h.last_epoch

    def convert(self, workers: int) -> None:
        """Convert this to the State of another number of workers, in place."""
        models = {id(model): model for model in (self.model, self.begun, self.best and self.best.model) if model}
        for model in models.values():
            converted(model, self.workers, workers)
        self.workers = workers


def converted(model: Model, was: int, now: int) -> Model:
    """Return the model of a training by `was` workers as one of a training by `now` workers, changed in place.

    Workers merge their states by the mean, so a sum of squares grows by the mean of what each one adds: it is smaller
    than that of one worker, which adds all of it, by a factor of their number.
    """
    if was != now:
        for name, spec in model.state_table().items():
            if spec.combine == "sum" and name in model.state:
                model.state[name] = model.state[name] * spec.dtype(was / now)
    return model


class Control:
    """The control of where a training begins, whether it stops, and what is saved. This one only stops.

    stop: a function that returns whether to end with what is trained, or None for never.
    """

    resumable = False  # whether `paused` raises PausedError at any stop, so that training can be resumed later

    def __init__(self, stop: Callable[[], bool] | None = None) -> None:
        self.stop = stop or (lambda: False)

    def begin(self, model: Model, placed: Placed, *, tested: bool) -> State:  # noqa: ARG002 - for those that resume
        """Return the State to start from, given a new model, its placed rows, and whether there are test rows."""
        return State(model)

    def piloted(
        self,
        hyperparameters: Hyperparameters,  # noqa: ARG002 - for those that resume
        placed: Placed,  # noqa: ARG002
        *,
        tested: bool,  # noqa: ARG002
    ) -> tuple[Hyperparameters, dict[str, Any]] | None:
        """Return what a pilot chose, and its record, for the training to resume; None where a pilot is still to come.

        hyperparameters: as given. placed, tested: as for `begin`.
        """
        return None

    def save(self, state: Callable[[], State]) -> None:
        """Save at the end of an epoch; `state` is a function that returns the State, with a copy of all parameters."""

    def pass_by(self, state: Callable[[], State]) -> None:
        """Save within an epoch, where it is time to; state: as for `save`."""

    def kept(self) -> str | None:
        """Return the file from which this training could be resumed if it ended now; None without one."""

    def paused(self, state: Callable[[], State]) -> None:
        """Note that `stop` ended training within an epoch; state: as for `save`. May raise PausedError."""

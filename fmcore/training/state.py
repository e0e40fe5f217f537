"""What training has come to: all that is needed to go on, and who asks for it to be saved or to stop."""

from dataclasses import dataclass, field

from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.solvers.epoch import Progress

TURNS = ("mini-batches", "rounds", "short rounds")


@dataclass
class Best:
    """The best epoch so far by the primary test metric, and its model as the trainer had it."""

    epoch: int
    value: float
    model: Model


@dataclass
class State:
    """All that training needs to go on, beside its rows.

    model: weights as training has them, which is of scaled values (see fmcore.rows.scaling), and the optimizer's state.
    epochs: a record of each whole epoch so far. progress: how far the next one has come.
    begun: the model as that one began, where training may go back to it, or None.
    halved: the epoch, from 1, at each divergence that halved the learning rates.
    best: what early stopping keeps, or None.
    workers: how many train together, on whose number the optimizer's state depends (see `shared_out`).
    turns: what those of the progress are, one of TURNS: a team of one counts otherwise than one alone, and rounds are
    short where rows do not fit in memory.
    """

    model: Model
    epochs: list = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    begun: Model | None = None
    halved: list = field(default_factory=list)
    best: Best | None = None
    workers: int = 1
    turns: str = TURNS[0]

    @property
    def epoch(self):
        """The number of the epoch under way, from 1."""
        return len(self.epochs) + 1

    def add(self, record, snapshot):
        """Take in an epoch's record, and the model of `snapshot()` where it is the best and early stopping wants it."""
        self.epochs.append(record)
        self.progress = Progress()
        h = self.model.hyperparameters
        if h.early_stopping_patience is None or "test" not in record:
            return
        metric, direction = objective_of(h).primary
        value = record["test"][metric]
        if self.best is None or (value < self.best.value if direction == "minimize" else value > self.best.value):
            self.best = Best(record["epoch"], value, snapshot())

    def ended(self):
        """Whether all epochs are trained, or `early_stopping_patience` of them since the best one."""
        h = self.model.hyperparameters
        too_long = self.best is not None and len(self.epochs) - self.best.epoch >= h.early_stopping_patience
        return too_long or len(self.epochs) >= h.epochs

    def share_out(self, workers):
        """Make this the State of another number of workers, in place."""
        models = {id(model): model for model in (self.model, self.begun, self.best and self.best.model) if model}
        for model in models.values():
            shared_out(model, self.workers, workers)
        self.workers = workers


def shared_out(model, was, now):
    """Turn the model of `was` workers' training into one of `now` workers', in place.

    Workers that bring their states together by the mean let a sum of squares grow by the mean of what each one adds: it
    is as many times smaller than one worker's, who adds all of it, as there are workers.
    """
    if was != now:
        for name, spec in model.state_table().items():
            if spec.combine == "sum" and name in model.state:
                model.state[name] = model.state[name] * spec.dtype(was / now)
    return model


class Control:
    """What training asks besides: where to begin, whether to stop, and to save what it has. This one only stops.

    stop: a function that says whether to end with what is there, or None for never.
    """

    resumable = False  # whether a stop, wherever it comes, is raised by `paused` and gone on from later

    def __init__(self, stop=None):
        self.stop = stop or (lambda: False)

    def begin(self, model, dataset, *, tested):  # noqa: ARG002 - for those that go on from elsewhere
        """The State to go on from, given a new model, its loaded data, and whether there are test rows."""
        return State(model)

    def save(self, state):
        """An epoch has ended; `state` makes the State that it left, which takes a copy of all parameters."""

    def pass_by(self, state):
        """A slice of an epoch has ended; `state` as for `save`."""

    def kept(self):
        """The file that this training can be gone on with from, should it break off now; None without one."""

    def paused(self, state):
        """`stop` has ended training within an epoch; `state` as for `save`. May raise PausedError."""

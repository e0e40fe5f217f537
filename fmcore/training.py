"""The loop over epochs: train, test, tell, and stop early. It sees blocks and batches, never a file."""
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from fmcore.blocks import order
from fmcore.errors import DivergedError, StoppedError
from fmcore.metrics import metrics_for
from fmcore.model import Model
from fmcore.scaling import scaled, unscaled


class Observer:
    """What training tells while it runs; a command overrides what it wants to show."""

    def loaded(self, dataset, model, backend):
        """The training rows are read and the model has its initial values."""

    def rows(self, count):
        """So many more rows of this epoch are trained."""

    def block(self, epoch, block, turns, scores):
        """A block is trained, its mini-batches in the order `turns` (int64); epoch from 0.

        scores: raw, float32 (rows,), in the order of the block's rows, each before its own mini-batch moved anything.
        """

    def epoch(self, record):
        """An epoch has ended: epoch (from 1), train and test (metric -> value), seconds, rows_per_second."""

    def resumed(self, records):
        """Training goes on after these epochs, which another run has trained."""


@dataclass
class Best:
    """The best epoch so far by the primary test metric, and its model as the trainer had it."""

    epoch: int
    value: float
    model: Model


@dataclass
class State:
    """All that training needs to go on after an epoch, beside its rows.

    model: weights as training has them, which is of scaled values (see fmcore.scaling), and the optimizer's state.
    epochs: a record of each epoch so far. best: what early stopping keeps, or None.
    """

    model: Model
    epochs: list = field(default_factory=list)
    best: Best | None = None

    def add(self, record, trainer):
        """Take in an epoch's record, and the trainer's model where it is the best one and early stopping wants it."""
        self.epochs.append(record)
        h = self.model.hyperparameters
        if h.early_stopping_patience is None or "test" not in record:
            return
        value = record["test"][metrics_for(h.predictor_type).primary[0]]
        if self.best is None or value < self.best.value:
            self.best = Best(record["epoch"], value, trainer.snapshot())

    def ended(self):
        """Whether all epochs are trained, or `early_stopping_patience` of them since the best one."""
        h = self.model.hyperparameters
        too_long = self.best is not None and len(self.epochs) - self.best.epoch >= h.early_stopping_patience
        return too_long or len(self.epochs) >= h.epochs


class Control:
    """What training asks besides: where to begin, whether to stop, and to save what it has. This one only stops.

    stop: a function that says whether to end with what is there, or None for never.
    """

    def __init__(self, stop=None):
        self.stop = stop or (lambda: False)

    def begin(self, model, dataset, *, tested):  # noqa: ARG002 - for those that go on from elsewhere
        """The State to go on from, given a new model, its loaded data, and whether there are test rows."""
        return State(model)

    def save(self, state):
        """An epoch has ended; `state` makes the State that it left, which takes a copy of all parameters."""


def train(model, dataset, backend, *, test=None, test_each_epoch=True, observer=None, control=None):
    """Train a copy of `model` for the epochs of its hyperparameters and return it.

    dataset: a loaded Dataset. test: called for an iterator of Batches, whose primary metric decides early stopping;
    without test_each_epoch after the last epoch alone.
    control: a Control, asked to stop before each epoch and after each block within one.
    The result's info holds "epochs", one record each without timings, "best_epoch" where a test set chose one, and
    "stopped" (epoch, and rows of it that were trained) where control ended it.
    Raises DivergedError where a loss is not finite, StoppedError where control stops it before there is any result.
    """
    observer, control = observer or Observer(), control or Control()
    state = control.begin(model, dataset, tested=test is not None)
    if state.epochs:
        observer.resumed(state.epochs)
    trainer, stopped = backend.trainer(state.model), None
    while not state.ended():
        started = perf_counter()
        metrics, stopped = train_epoch(trainer, dataset, len(state.epochs), model.hyperparameters, observer, control)
        if stopped:
            break
        seconds = perf_counter() - started
        record = {"epoch": len(state.epochs) + 1, "train": metrics}
        if test is not None and (test_each_epoch or record["epoch"] == model.hyperparameters.epochs):
            with suppress(StoppedError):  # which ends a wait for the test rows
                record["test"] = evaluate(lambda batch: trainer.score(scaled(batch, dataset.scale)), test(),
                                          model.hyperparameters.predictor_type)
        state.add(record, trainer)
        observer.epoch({**record, "seconds": seconds, "rows_per_second": dataset.rows / seconds})
        control.save(lambda: replace(state, model=trainer.snapshot()))
    return result(state, trainer, dataset, stopped)


def result(state, trainer, dataset, stopped):
    """The model that training leaves, of raw values, with what there is to know about it in its info."""
    if stopped and not stopped["rows"] and not state.epochs:
        raise StoppedError("stopped before the first mini-batch was trained; there is no model to save")
    model = unscaled(state.best.model if state.best else trainer.snapshot(), dataset.scale)
    model.info.update(epochs=state.epochs, rows=dataset.rows, mini_batch_size=dataset.mini_batch_size)
    if state.best:
        model.info["best_epoch"] = state.best.epoch
    if stopped:
        model.info["stopped"] = stopped
    return model


def train_epoch(trainer, dataset, epoch, hyperparameters, observer, control):
    """One pass over the data: (metrics, None), or where control stopped it, (None, {"epoch", "rows"}).

    The metrics are the primary one alone, of the loss of each row as it was before its own mini-batch.
    """
    loss = weight = rows = 0
    lr = lr_factor(hyperparameters, epoch)
    if control.stop():
        return None, {"epoch": epoch + 1, "rows": 0}
    with dataset.epoch() as blocks, suppress(StoppedError):  # which ends a wait for further blocks
        for number, block in enumerate(blocks):
            turns = order(block, number, epoch, hyperparameters)
            scores, losses = trainer.train(block, turns, lr)
            total = np.sum(losses, dtype=np.float64)
            if not np.isfinite(total):
                raise diverged(block, turns, scores, losses, epoch)
            loss += total
            weight += len(losses) if block.batch.weights is None else np.sum(block.batch.weights, dtype=np.float64)
            rows += len(losses)
            observer.rows(len(losses))
            observer.block(epoch, block, turns, scores)
            if rows != dataset.rows and control.stop():  # a whole epoch is tested and saved first
                break
        else:
            mean = float(loss / weight) if weight else 0.0
            return {"rmse": mean**0.5} if hyperparameters.predictor_type == "regressor" else {"logloss": mean}, None
    return None, {"epoch": epoch + 1, "rows": rows}


def lr_factor(hyperparameters, epoch):
    """What the learning rates are multiplied by in an epoch (from 0)."""
    return 1 - epoch / hyperparameters.epochs if hyperparameters.lr_schedule == "linear" else 1.0


def diverged(block, turns, scores, losses, epoch):
    """The DivergedError for a block whose losses are not finite: where it began, and the last finite score."""
    def rows(m):
        return slice(block.starts[m], block.starts[m + 1])

    turn = next(turn for turn, m in enumerate(turns) if not np.isfinite(losses[rows(m)]).all())
    trained = np.concatenate([scores[rows(m)] for m in turns[:turn + 1]])
    largest = np.max(np.abs(trained[np.isfinite(trained)]), initial=0)
    return DivergedError(
        f"the loss is not finite in epoch {epoch + 1}, mini-batch {turn + 1} of {len(turns)}; the largest score before "
        f"was {largest:.3g}; nothing was saved. Lower the learning rates, scale the features, or set clip_gradient")


def evaluate(score, batches, predictor_type):
    """All metrics of the rows of `batches`, given a function from a Batch to raw scores."""
    metrics = metrics_for(predictor_type)
    for batch in batches:
        metrics.update(score(batch), batch.labels, batch.weights)
    return metrics.result()

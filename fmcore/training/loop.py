"""The loop over epochs: train, test, tell, and stop early. It sees blocks and batches, never a file."""

from dataclasses import replace
from time import perf_counter

from fmcore.errors import DivergedError, StoppedError
from fmcore.model.scaling import unscaled
from fmcore.objectives import objective_of
from fmcore.rows.scaling import scaled
from fmcore.solvers.epoch import Epoch, Progress, lr_factor, place, train_epoch
from fmcore.training.state import TURNS, Control, shared_out

HALVINGS = 10  # of the learning rates, after which a training that diverges is given up


class Observer:
    """What training tells while it runs; a command overrides what it wants to show."""

    def loaded(self, dataset, model, backend):
        """The training rows are read and the model has its initial values."""

    def rows(self, count):
        """So many more rows of this epoch are trained."""

    def round(self, record):
        """Several workers have trained a round and brought together what it moved; record: see fmcore.distributed."""

    def block(self, epoch, block, turns, scores):
        """A block is trained, its mini-batches in the order `turns` (int64); epoch from 0.

        scores: raw, float32 (rows,), in the order of the block's rows, each before its own mini-batch moved anything;
        those of mini-batches that are not in `turns`, which another run has trained, are arbitrary.
        """

    def epoch(self, record):
        """An epoch has ended: epoch (from 1), train and test (metric -> value), seconds, rows_per_second."""

    def lost(self, workers, why):
        """Workers of these numbers (from 0) died, and others have taken their places to do again what they missed.

        why: what the engine says, a line. Without any number it was a message that got lost.
        """

    def resumed(self, records, rows):
        """Training goes on after these epochs and so many rows of the next, which another run has trained."""

    def anew(self, why):
        """Training that was to be gone on with begins anew; why: a clause."""

    def halved(self, error, epoch, factor):
        """Epoch (from 1) begins again with learning rates of `factor` times those given; error: the DivergedError."""


def train(model, dataset, backend, *, test=None, test_each_epoch=True, observer=None, control=None):
    """Train a copy of `model` for the epochs of its hyperparameters and return it.

    dataset: a loaded Dataset. test: called for an iterator of Batches, whose primary metric decides early stopping;
    without test_each_epoch after the last epoch alone.
    control: a Control, asked to stop before each epoch and after each slice within one.
    The result's info holds "epochs", one record each without timings, "trained_epochs", those of earlier trainings
    included, "best_epoch" where a test set chose one, "halved", the epochs in which the learning rates were, and
    "stopped" (epoch, and rows of it that were trained) where control ended it.
    Raises DivergedError where a loss or a weight is not finite, StoppedError where control stops it before there is any
    result.
    """
    run = Run(model, dataset, backend, observer or Observer(), control or Control())
    return run.train(test, each_epoch=test_each_epoch)


def evaluate(score, batches, objective):
    """Return all metrics of an Objective for the rows of `batches`, given a function from a Batch to raw scores."""
    return evaluated(((score(batch), batch.labels, batch.weights) for batch in batches), objective)


def evaluated(judged, objective):
    """Return all metrics of an Objective for rows as (raw scores, labels, weights or None), piece after piece."""
    metrics = objective.metrics()
    for scores, labels, weights in judged:
        metrics.update(scores, labels, weights)
    return metrics.result()


class Run:
    """A training under way; where it goes on is for a subclass to choose (see fmcore.distributed).

    workers: how many train together; a State of another number is changed into one of theirs, and back in the end.
    turns: see State.
    """

    workers, turns = 1, TURNS[0]

    def __init__(self, model, dataset, backend, observer, control):
        self._control = control
        self._model, self._dataset, self._backend, self._observer = model, dataset, backend, observer
        self._hyperparameters = model.hyperparameters
        self._halves = model.hyperparameters.on_divergence == "halve-lr"

    def train(self, test=None, *, each_epoch=True):
        """The model that comes of it; see `train` above."""
        self._begin(tested=test is not None)
        stopped = False
        while not (stopped or self.state.ended()):
            due = each_epoch or self.state.epoch == self._hyperparameters.epochs
            try:
                stopped = not self._epoch(test if due else None)
            except DivergedError as error:
                self._go_back(error)
        if stopped:
            self._control.paused(self._now)
        return self._result(stopped=stopped)

    def _pass(self, epoch):
        """Train what is left of an epoch; False where control stopped it."""
        return train_epoch(self._trainer, self._dataset, epoch, self.state.progress, self._observer, self._go_on)

    def _judged(self, batches):
        """(raw scores, labels, weights) of some test rows after the others, as they are trained so far."""
        for batch in batches:
            if self._control.resumable and self._control.stop():
                raise StoppedError
            yield self._trainer.score(scaled(batch, self._dataset.scale)), batch.labels, batch.weights

    def _position(self, rows):
        """The Progress, without sums, that is nearest to so many rows of an epoch."""
        return place(rows, self._dataset.block_rows, self._dataset.mini_batch_size)

    def _begin(self, *, tested):
        """Find out where to begin."""
        self.state = state = self._control.begin(self._model, self._dataset, tested=tested)
        if (state.workers, state.turns) != (self.workers, self.turns):
            there, state.turns = state.progress, self.turns
            state.share_out(self.workers)
            state.progress = replace(self._position(there.rows), loss=there.loss, weight=there.weight)
        if state.epochs or state.progress.rows:
            self._observer.resumed(state.epochs, state.progress.rows)
        if self._halves and state.begun is None:
            state.begun = state.model
        self._trainer = self._backend.trainer(state.model)

    def _now(self):
        """The State as it is, with a copy of the model."""
        return replace(self.state, model=self._snapshot(), progress=replace(self.state.progress))

    def _epoch(self, test):
        """Train the epoch under way to its end, and test it; False where control stopped it."""
        state, h, started, before = self.state, self._hyperparameters, perf_counter(), self.state.progress.rows
        epoch = Epoch(len(state.epochs), trained_epochs(self._model), self._lr(), h)
        if self._control.stop() or not self._pass(epoch):
            return False
        seconds, rows = perf_counter() - started, state.progress.rows - before
        record = {"epoch": state.epoch, "train": state.progress.metrics(objective_of(h))}
        if test is not None and not self._test(test, record):
            return False
        if self._halves:
            state.begun = self._snapshot()
        state.add(record, self._snapshot)
        self._observer.epoch({**record, "seconds": seconds, "rows_per_second": rows / seconds})
        self._control.save(self._now)
        return True

    def _go_back(self, error):
        """To the beginning of the epoch under way, with half the learning rates, where that is wished and may help."""
        state = self.state
        if not self._halves:
            raise error
        if len(state.halved) == HALVINGS:
            raise DivergedError(f"{error.what}; the learning rates were halved {HALVINGS} times before") from error
        state.halved.append(state.epoch)
        state.progress = Progress()
        self._trainer = None  # its memory is free before the next one takes as much
        self._trainer = self._backend.trainer(state.begun)
        self._observer.halved(error, state.epoch, self._halving())

    def _result(self, *, stopped):
        """The model that training leaves, of raw values, with what there is to know about it in its info."""
        state, rows = self.state, self.state.progress.rows
        if stopped and not rows and not state.epochs:
            raise StoppedError("stopped before the first mini-batch was trained; there is no model to save")
        model = state.best.model if state.best else self._snapshot()
        model = unscaled(shared_out(model, state.workers, 1), self._dataset.scale)
        kept = state.best.epoch if state.best else len(state.epochs)
        model.info.update(
            epochs=state.epochs,
            rows=self._dataset.rows,
            mini_batch_size=self._dataset.mini_batch_size,
            trained_epochs=trained_epochs(self._model) + kept,
        )
        if state.best:
            model.info["best_epoch"] = kept
        if state.halved:
            model.info["halved"] = state.halved
        if stopped:
            model.info["stopped"] = {"epoch": state.epoch, "rows": rows}
        return model

    def _halving(self):
        return 0.5 ** len(self.state.halved)

    def _lr(self):
        return lr_factor(self._hyperparameters, len(self.state.epochs)) * self._halving()

    def _go_on(self):
        self._control.pass_by(self._now)
        return not self._control.stop()

    def _test(self, test, record):
        """Put the metrics of the test rows into the record; False where control wants to stop and go on here later."""
        try:
            record["test"] = evaluated(self._judged(test()), objective_of(self._hyperparameters))
        except DivergedError as error:
            raise error.within(self.state.epoch) from None
        except StoppedError:  # which also ends a wait for the test rows
            return not self._control.resumable
        return True

    def _snapshot(self):
        """A copy of the model as it is, which holds finite numbers only."""
        model, state = self._trainer.snapshot(), self.state
        try:
            model.check_finite()
        except DivergedError as error:
            raise error.within(state.epoch if state.progress.rows else len(state.epochs)) from None
        return model


def trained_epochs(model):
    """How many epochs a model was trained, in all trainings that it comes from."""
    return model.info.get("trained_epochs", 0)

"""The loop over epochs: train, test, tell, and stop early. It sees blocks and batches, never a file."""
from time import perf_counter

import numpy as np

from fmcore.blocks import order
from fmcore.errors import DivergedError
from fmcore.metrics import metrics_for
from fmcore.scaling import scaled, unscaled


class Observer:
    """What training tells while it runs; a command overrides what it wants to show."""

    def loaded(self, dataset, model, backend):
        """The training rows are read and the model has its initial values."""

    def rows(self, count):
        """So many more rows of this epoch are trained."""

    def epoch(self, record):
        """An epoch has ended: epoch (from 1), train and test (metric -> value), seconds, rows_per_second."""


def train(model, dataset, backend, *, test=None, test_each_epoch=True, observer=None):
    """Train a copy of `model` for the epochs of its hyperparameters and return it.

    dataset: a loaded Dataset. test: called for an iterator of Batches, whose primary metric decides early stopping;
    without test_each_epoch after the last epoch alone.
    The result's info holds "epochs", one record each without timings, and "best_epoch" where a test set chose one.
    Raises DivergedError where a loss is not finite.
    """
    observer = observer or Observer()
    trainer, h = backend.trainer(model), model.hyperparameters
    best = Best(metrics_for(h.predictor_type).primary[0], h.early_stopping_patience)
    history = []
    for epoch in range(h.epochs):
        started = perf_counter()
        record = {"epoch": epoch + 1, "train": train_epoch(trainer, dataset, epoch, h, observer)}
        seconds = perf_counter() - started
        if test is not None and (test_each_epoch or epoch + 1 == h.epochs):
            record["test"] = evaluate(
                lambda batch: trainer.score(scaled(batch, dataset.scale)), test(), h.predictor_type)
        history.append(record)
        observer.epoch({**record, "seconds": seconds, "rows_per_second": dataset.rows / seconds})
        if best.worse_for_too_long(record, trainer):
            break
    result = unscaled(best.model or trainer.snapshot(), dataset.scale)
    result.info.update(epochs=history, rows=dataset.rows, mini_batch_size=dataset.mini_batch_size)
    if best.model is not None:
        result.info["best_epoch"] = best.epoch
    return result


def train_epoch(trainer, dataset, epoch, hyperparameters, observer):
    """One pass over the data; the loss of each row as it was before its own mini-batch, as the primary metric."""
    loss = weight = 0.0
    lr = lr_factor(hyperparameters, epoch)
    with dataset.epoch() as blocks:
        for number, block in enumerate(blocks):
            turns = order(block, number, epoch, hyperparameters)
            scores, losses = trainer.train(block, turns, lr)
            total = np.sum(losses, dtype=np.float64)
            if not np.isfinite(total):
                raise diverged(block, turns, scores, losses, epoch)
            loss += total
            weight += len(losses) if block.batch.weights is None else np.sum(block.batch.weights, dtype=np.float64)
            observer.rows(len(losses))
    mean = float(loss / weight) if weight else 0.0
    return {"rmse": mean**0.5} if hyperparameters.predictor_type == "regressor" else {"logloss": mean}


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


class Best:
    """The model of the best epoch by a test metric to minimise; without patience nothing is kept."""

    def __init__(self, metric, patience):
        self._metric, self._patience = metric, patience
        self._value = None
        self.model = self.epoch = None

    def worse_for_too_long(self, record, trainer):
        """Take in an epoch's record; whether `patience` epochs have passed since the best one."""
        if self._patience is None or "test" not in record:
            return False
        value = record["test"][self._metric]
        if self._value is None or value < self._value:
            self._value, self.epoch, self.model = value, record["epoch"], trainer.snapshot()
        return record["epoch"] - self.epoch >= self._patience

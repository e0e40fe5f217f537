"""One epoch: a pass over the training rows, in slices between which it can be saved, stopped and resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fmcore.errors import DivergedError, StoppedError
from fmcore.hyper.params import Hyperparameters
from fmcore.kernels import Trainer
from fmcore.objectives import Objective, objective_of
from fmcore.rows.blocks import Block, mini_batch_order
from fmcore.rows.dataset import Dataset
from fmcore.rows.scaling import Scaling
from fmcore.rows.slices import rows_of, slices
from fmcore.solvers.observer import Observer

UNITS = ("mini-batches", "rounds", "short rounds")  # the unit of a Progress' steps; short where rows are streamed


class Epoch(NamedTuple):
    """One epoch of a training.

    number: within this training, from 0. before: how many epochs the model had been trained before this training.
    lr: what all learning rates are multiplied by, before their schedule.
    """

    number: int
    before: int
    lr: float
    hyperparameters: Hyperparameters

    def rates(self, first: float, last: float) -> tuple[float, float]:
        """Return the factor of the learning rates, and by how much it falls, between two shares of the epoch's rows."""
        begin, end = (self.lr * lr_factor(self.hyperparameters, self.number, share) for share in (first, last))
        return begin, begin - end


@dataclass
class Progress:
    """The part of an epoch that is trained.

    blocks: how many are trained. steps: how many mini-batches of the next one, in the order of this epoch.
    rows: how many are trained in all. loss, weight: sums over these rows, each slice summed by itself, so that a pause
    between two slices does not change a bit.
    """

    blocks: int = 0
    steps: int = 0
    rows: int = 0
    loss: float = 0.0
    weight: float = 0.0

    def metrics(self, objective: Objective) -> dict[str, float]:
        """Return the one metric that an Objective makes of the mean loss; each row's is from before its mini-batch."""
        return objective.epoch_metrics(self.loss / self.weight if self.weight else 0.0)


class Whole(NamedTuple):
    """The rows of an epoch, all of them, or all of a worker.

    rows: how many, or None while that is not known; learning rates then do not fall within the epoch. scaling: of rows
    as training sees them. objective: of their losses. before: how many are trained where Progress begins.
    """

    rows: int | None
    scaling: Scaling
    objective: Objective
    before: int = 0

    def share(self, rows: int) -> float:
        """Return which share of all are trained, given the rows that Progress counts; 0 where that is not known.

        It is at most 1, also where a later pipe brings more rows than the first.
        """
        return min(1.0, (self.before + rows) / self.rows) if self.rows else 0.0

    def loss(self, loss: float) -> float:
        """Return a sum of losses as training sees them as one of raw labels."""
        label = self.scaling.label
        return loss if label is None else loss * label.deviation**self.objective.label_degree

    def raw(self, block: Block) -> Block:
        """Return a block with raw labels."""
        label = self.scaling.label
        if label is None:
            return block
        return replace(block, batch=replace(block.batch, labels=label.raw(block.batch.labels)))


def lr_factor(hyperparameters: Hyperparameters, epoch: int, share: float = 0.0) -> float:
    """Return the factor of the learning rates when a share of an epoch (from 0) is trained."""
    if hyperparameters.lr_schedule == "constant":
        return 1.0
    if hyperparameters.lr_schedule == "linear":
        return 1 - epoch / hyperparameters.last_epoch
    # Loshchilov, Hutter 2017, SGDR: stochastic gradient descent with warm restarts, equation 5, without restarts
    return 0.5 + 0.5 * math.cos(math.pi * (epoch + share) / hyperparameters.last_epoch)


def train_epoch(
    trainer: Trainer,
    dataset: Dataset,
    epoch: Epoch,
    progress: Progress,
    observer: Observer,
    pause: Callable[[], bool],
) -> bool:
    """Train what is left of an epoch and update `progress`; return whether the end of the epoch was reached.

    pause: a function that is called after each slice but the last one of a whole epoch; True ends the sweep.
    Raises DivergedError where a loss is not finite.
    """
    if dataset.complete and progress.rows == dataset.rows:
        return True
    whole = Whole(dataset.known_rows, dataset.scaling, objective_of(epoch.hyperparameters))
    with dataset.epoch(progress.blocks) as blocks, suppress(StoppedError):  # raised to end a wait for further blocks
        for number, block in enumerate(blocks, progress.blocks):
            order = order_of(block, number, epoch)
            if block.counts is not None:
                trainer.count(block.counts)
            for rows in slices_trained(trainer, block, order, epoch, progress, whole, observer):
                observer.rows(rows)
                if progress.rows != dataset.rows and pause():
                    return False
        return True
    return False


def order_of(block: Block, number: int, epoch: Epoch) -> np.ndarray:
    """Return the order of the mini-batches of block `number` (from 0) in an epoch, int64."""
    return mini_batch_order(block, number, epoch.before + epoch.number, epoch.hyperparameters)


def position(rows: int, block_rows: Iterable[int], mini_batch_size: int) -> Progress:
    """Return the Progress, without sums, of the last mini-batch that begins after at most so many rows of an epoch.

    block_rows: of each block.
    """
    reached = Progress()
    for size in block_rows:
        if reached.rows + size > rows:
            reached.steps = (rows - reached.rows) // mini_batch_size
            reached.rows += reached.steps * mini_batch_size
            break
        reached.blocks, reached.rows = reached.blocks + 1, reached.rows + size
    return reached


def slices_trained(
    trainer: Trainer,
    block: Block,
    order: np.ndarray,
    epoch: Epoch,
    progress: Progress,
    whole: Whole,
    observer: Observer,
) -> Iterator[int]:
    """Train what is left of a block, a slice at a time; yield the number of rows of each slice.

    order: the block's mini-batches in the order of the epoch; those before progress.steps are trained already.
    whole: what the block is a part of.
    Updates `progress`. Raises DivergedError where a loss is not finite.
    """
    scores, first = np.zeros(len(block.batch), np.float32), progress.steps
    for trained, part in slices(order, block.slice_size, first):
        rows = rows_of(block, part)
        lr, fall = epoch.rates(whole.share(progress.rows), whole.share(progress.rows + len(rows)))
        raw, losses = trainer.train(block, part, lr, fall)
        scores[rows] = raw[rows]
        loss = whole.loss(float(np.sum(losses[rows], dtype=np.float64)))
        if not np.isfinite(loss):
            step = trained - len(part) + _first_bad(block, part, losses)
            raise _diverged(block, step, scores[rows_of(block, order[first : step + 1])], epoch)
        weights = block.batch.weights
        progress.loss += loss
        progress.weight += len(rows) if weights is None else float(np.sum(weights[rows], dtype=np.float64))
        progress.rows += len(rows)
        progress.steps = trained
        if trained == len(order):
            progress.blocks, progress.steps = progress.blocks + 1, 0
            observer.block(epoch.number, whole.raw(block), order[first:], whole.scaling.scores(scores))
        yield len(rows)


def _first_bad(block: Block, order: np.ndarray, losses: np.ndarray) -> int:
    """Return the position of the first of these mini-batches with a loss that is not finite."""
    return next(n for n in range(len(order)) if not np.isfinite(losses[rows_of(block, order[n : n + 1])]).all())


def _diverged(block: Block, step: int, scores: np.ndarray, epoch: Epoch) -> DivergedError:
    """Return the DivergedError of a block's mini-batch; scores: of the rows trained before and of its own."""
    largest = np.max(np.abs(scores), initial=0, where=np.isfinite(scores))
    return DivergedError(
        f"the loss is not finite in epoch {epoch.number + 1}, mini-batch {step + 1} of "
        f"{len(block.starts) - 1}; the largest score before was {largest:.3g}",
        DivergedError.LOWER,
    )

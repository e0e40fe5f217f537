"""One epoch: a pass over the training rows, in slices between which it can be saved, stopped and gone on with."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fmcore.errors import DivergedError, StoppedError
from fmcore.hyper.params import Hyperparameters
from fmcore.rows.blocks import order
from fmcore.rows.slices import rows_of, slices


class Epoch(NamedTuple):
    """Which epoch it is.

    number: within this training, from 0. before: how many the model had been trained before this training.
    lr: what the learning rates are multiplied by.
    """

    number: int
    before: int
    lr: float
    hyperparameters: Hyperparameters


@dataclass
class Progress:
    """How far an epoch has come.

    blocks: how many are trained. turns: how many mini-batches of the next one, in the order of this epoch.
    rows: how many are trained in all. loss, weight: sums over these rows, each slice summed by itself, so that a break
    between two slices does not change a bit.
    """

    blocks: int = 0
    turns: int = 0
    rows: int = 0
    loss: float = 0.0
    weight: float = 0.0

    def metrics(self, objective):
        """Return the one metric that an Objective makes of the mean loss, each row's as before its own mini-batch."""
        return objective.epoch_metrics(self.loss / self.weight if self.weight else 0.0)


def lr_factor(hyperparameters, epoch):
    """What the learning rates are multiplied by in an epoch (from 0)."""
    return 1 - epoch / hyperparameters.epochs if hyperparameters.lr_schedule == "linear" else 1.0


def train_epoch(trainer, dataset, epoch, progress, observer, go_on):
    """Train what is left of an epoch and move `progress` along; whether its end was reached.

    go_on: asked after each slice but the last one of a whole epoch; False ends the pass there.
    Raises DivergedError where a loss is not finite.
    """
    if dataset.complete and progress.rows == dataset.rows:
        return True
    with dataset.epoch(progress.blocks) as blocks, suppress(StoppedError):  # which ends a wait for further blocks
        for number, block in enumerate(blocks, progress.blocks):
            turns = turns_of(block, number, epoch)
            for rows in slices_trained(trainer, block, turns, epoch, progress, observer):
                observer.rows(rows)
                if progress.rows != dataset.rows and not go_on():
                    return False
        return True
    return False


def turns_of(block, number, epoch):
    """The order of the mini-batches of block `number` (from 0) in an epoch, int64."""
    return order(block, number, epoch.before + epoch.number, epoch.hyperparameters)


def place(rows, block_rows, mini_batch_size):
    """The Progress, without sums, of the mini-batch that begins after so many rows of an epoch at the most.

    block_rows: of each block.
    """
    there = Progress()
    for size in block_rows:
        if there.rows + size > rows:
            there.turns = (rows - there.rows) // mini_batch_size
            there.rows += there.turns * mini_batch_size
            break
        there.blocks, there.rows = there.blocks + 1, there.rows + size
    return there


def slices_trained(trainer, block, turns, epoch, progress, observer):
    """Train what is left of a block, a slice each time; yields the slice's number of rows.

    turns: the block's mini-batches, those before progress.turns excepted. progress is moved along.
    Raises DivergedError where a loss is not finite.
    """
    scores, first = np.empty(len(block.batch), np.float32), progress.turns
    for trained, part in slices(turns, block.slice_size, first):
        told, losses = trainer.train(block, part, epoch.lr)
        rows = rows_of(block, part)
        scores[rows] = told[rows]
        loss = float(np.sum(losses[rows], dtype=np.float64))
        if not np.isfinite(loss):
            turn = trained - len(part) + _first_bad(block, part, losses)
            raise _diverged(block, turn, scores[rows_of(block, turns[first : turn + 1])], epoch)
        weights = block.batch.weights
        progress.loss += loss
        progress.weight += len(rows) if weights is None else float(np.sum(weights[rows], dtype=np.float64))
        progress.rows += len(rows)
        progress.turns = trained
        if trained == len(turns):
            progress.blocks, progress.turns = progress.blocks + 1, 0
            observer.block(epoch.number, block, turns[first:], scores)
        yield len(rows)


def _first_bad(block, turns, losses):
    """Which of these mini-batches is the first with a loss that is not finite."""
    return next(n for n in range(len(turns)) if not np.isfinite(losses[rows_of(block, turns[n : n + 1])]).all())


def _diverged(block, turn, scores, epoch):
    """The DivergedError of a block's mini-batch; scores: of the rows trained before and of its own."""
    largest = np.max(np.abs(scores), initial=0, where=np.isfinite(scores))
    return DivergedError(
        f"the loss is not finite in epoch {epoch.number + 1}, mini-batch {turn + 1} of "
        f"{len(block.starts) - 1}; the largest score before was {largest:.3g}",
        DivergedError.LOWER,
    )

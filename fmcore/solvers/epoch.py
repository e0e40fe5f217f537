"""One epoch: a pass over the training rows, in slices between which it can be saved, stopped and resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fmcore.errors import DivergedError, StoppedError
from fmcore.hyper.params import Hyperparameters
from fmcore.kernels import Trainer
from fmcore.objectives import Objective
from fmcore.rows.blocks import Block, mini_batch_order
from fmcore.rows.dataset import Dataset
from fmcore.rows.slices import rows_of, slices
from fmcore.solvers.observer import Observer

UNITS = ("mini-batches", "rounds", "short rounds")  # the unit of a Progress' steps; short where rows are streamed


class Epoch(NamedTuple):
    """One epoch of a training.

    number: within this training, from 0. before: how many epochs the model had been trained before this training.
    lr: the factor of the learning rates.
    """

    number: int
    before: int
    lr: float
    hyperparameters: Hyperparameters


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


def lr_factor(hyperparameters: Hyperparameters, epoch: int) -> float:
    """Return the factor of the learning rates in an epoch (from 0)."""
    return 1 - epoch / hyperparameters.epochs if hyperparameters.lr_schedule == "linear" else 1.0


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
    with dataset.epoch(progress.blocks) as blocks, suppress(StoppedError):  # raised to end a wait for further blocks
        for number, block in enumerate(blocks, progress.blocks):
            order = order_of(block, number, epoch)
            for rows in slices_trained(trainer, block, order, epoch, progress, observer):
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
    trainer: Trainer, block: Block, order: np.ndarray, epoch: Epoch, progress: Progress, observer: Observer
) -> Iterator[int]:
    """Train what is left of a block, a slice at a time; yield the number of rows of each slice.

    order: the block's mini-batches in the order of the epoch; those before progress.steps are trained already.
    Updates `progress`. Raises DivergedError where a loss is not finite.
    """
    scores, first = np.empty(len(block.batch), np.float32), progress.steps
    for trained, part in slices(order, block.slice_size, first):
        raw, losses = trainer.train(block, part, epoch.lr)
        rows = rows_of(block, part)
        scores[rows] = raw[rows]
        loss = float(np.sum(losses[rows], dtype=np.float64))
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
            observer.block(epoch.number, block, order[first:], scores)
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

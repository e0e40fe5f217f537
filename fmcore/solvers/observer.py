"""Events that training reports while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from fmcore.errors import DivergedError
    from fmcore.model.model import Model
    from fmcore.rows.blocks import Block
    from fmcore.solvers import Placed, Solver


class Observer:
    """A receiver of training's events; a command overrides the methods of those that it shows."""

    def loaded(self, placed: Placed, model: Model, solver: Solver) -> None:
        """Note that the training rows are read and the model has its initial values."""

    def piloted(self, record: dict[str, Any]) -> None:
        """Note what a pilot has found; record: see fmcore.training.pilot.Outcome."""

    def rows(self, count: int) -> None:
        """Note that so many more rows of this epoch are trained."""

    def round(self, record: dict[str, Any]) -> None:
        """Note that several workers trained a round and merged its changes; record: see fmcore.solvers.team."""

    def block(self, epoch: int, block: Block, order: np.ndarray, scores: np.ndarray) -> None:
        """Note that a block is trained.

        epoch: from 0. order: int64, the mini-batches trained, in their order; those of an epoch that was resumed
        within the block are missing.
        scores: raw, float32 (rows,), in the order of the block's rows, each from before the step of its own mini-batch;
        those of mini-batches that are not in `order` are arbitrary.
        """

    def epoch(self, record: dict[str, Any]) -> None:
        """Note that an epoch ended: epoch (from 1), train and test (metric -> value), seconds, rows_per_second."""

    def lost(self, workers: list[int], why: str) -> None:
        """Note that workers of these numbers (from 0) died and were replaced; what they missed is trained again.

        why: the engine's reason, a line. No numbers: a message was lost.
        """

    def resumed(self, records: list[dict[str, Any]], rows: int) -> None:
        """Note that training resumes after these epochs and so many rows of the next, trained by an earlier run."""

    def restarted(self, why: str) -> None:
        """Note that training starts from the beginning though it was to be resumed; why: a clause."""

    def halved(self, error: DivergedError, epoch: int, factor: float) -> None:
        """Note that epoch (from 1) starts again with learning rates times `factor`; error: what diverged."""

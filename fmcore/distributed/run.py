"""The loop over epochs where a team trains them, round by round."""

from time import perf_counter

import numpy as np

from fmcore.distributed import rounds
from fmcore.errors import StoppedError
from fmcore.objectives import objective_of
from fmcore.solvers.epoch import Progress
from fmcore.training.loop import Run, trained_epochs
from fmcore.training.state import TURNS


class TeamRun(Run):
    """A training that a Team does.

    The mean of what S workers do moves a weight as far as one of them, and AdaGrad's sums of squares grow S times more
    slowly by it. With sqrt(S) times the learning rate the two together are the steps of one who trains all rows; sgd
    and adam come nearest to that with it, too.

    What an observer's `round` is told: epoch and round (from 1), rounds of the epoch, rows, rows_per_second, the
    primary metric of the round's rows, bytes_sent by all workers together, and workers.
    """

    def __init__(self, team, model, observer, control):
        super().__init__(model, team.data, team, observer, control)
        self._team, self.workers, self.turns = team, team.workers, TURNS[1 if team.data.in_memory else 2]
        self._rows = -(-team.data.rows // team.workers)  # of a worker, on average

    def _bounds(self):
        new = not self.state.epochs and not trained_epochs(self._model)
        return rounds.bounds(
            self._rows, self._dataset.mini_batch_size, first_epoch=new, in_memory=self._dataset.in_memory
        )

    def _position(self, rows):
        there = rows * self._rows / self._dataset.rows
        return Progress(turns=int(np.argmin(np.abs(self._bounds() - there))), rows=rows)

    def _pass(self, epoch):
        bounds, epoch = self._bounds(), epoch._replace(lr=epoch.lr * self.workers**0.5)
        while (number := self.state.progress.turns) < len(bounds) - 1:
            begun = perf_counter()
            trained, sent = self._team.round(epoch, bounds[number], bounds[number + 1], self._rows)
            here = self._add(trained)
            self._observer.rows(here.rows)
            self._observer.round(
                {
                    "epoch": self.state.epoch,
                    "round": number + 1,
                    "rounds": len(bounds) - 1,
                    "rows": here.rows,
                    "rows_per_second": here.rows / (perf_counter() - begun),
                    **here.metrics(objective_of(self._hyperparameters)),
                    "bytes_sent": sent,
                    "workers": self.workers,
                }
            )
            if number + 1 < len(bounds) - 1 and not self._go_on():
                return False
        return True

    def _add(self, trained):
        """Move the progress by what all workers' Trained say, in worker order; gives a Progress of them alone."""
        here, progress = Progress(), self.state.progress
        for each in trained:
            for name in ("rows", "loss", "weight"):
                setattr(here, name, getattr(here, name) + getattr(each, name))
        progress.turns, progress.rows = progress.turns + 1, progress.rows + here.rows
        progress.loss, progress.weight = progress.loss + here.loss, progress.weight + here.weight
        return here

    def _judged(self, pieces):
        if self._control.resumable and self._control.stop():
            raise StoppedError
        yield from pieces

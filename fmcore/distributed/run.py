"""The loop over epochs where a team trains them, round by round."""
from time import perf_counter

import numpy as np

from fmcore.distributed import rounds
from fmcore.epoch import Progress
from fmcore.errors import StoppedError
from fmcore.training import Run, trained_epochs

PLAIN = ("sgd",)  # optimizers whose steps do not become shorter the more they keep of earlier gradients


class TeamRun(Run):
    """A training that a Team does. In its State's progress, turns are rounds.

    What an observer's `round` is told: epoch and round (from 1), rounds of the epoch, rows, rows_per_second, the
    primary metric of the round's rows, bytes_sent by all workers together, and workers.
    """

    def __init__(self, team, model, observer, control):
        super().__init__(model, team.data, team, observer, control)
        self._team, self.workers = team, team.workers
        self._rows = -(-team.data.rows // team.workers)  # of a worker, on average

    def _bounds(self):
        new = not self.state.epochs and not trained_epochs(self._model)
        return rounds.bounds(self._rows, first_epoch=new)

    def _position(self, rows):
        there = rows * self._rows / self._dataset.rows
        return Progress(turns=int(np.argmin(np.abs(self._bounds() - there))), rows=rows)

    def _pass(self, epoch):
        bounds, optimizer = self._bounds(), self._hyperparameters.optimizer
        epoch = epoch._replace(lr=epoch.lr * rate_factor(optimizer, self.workers))
        while (number := self.state.progress.turns) < len(bounds) - 1:
            begun = perf_counter()
            trained, sent = self._team.round(epoch, bounds[number], bounds[number + 1], self._rows)
            rows = self._add(trained)
            self._observer.rows(rows.rows)
            self._observer.round({
                "epoch": self.state.epoch, "round": number + 1, "rounds": len(bounds) - 1, "rows": rows.rows,
                "rows_per_second": rows.rows / (perf_counter() - begun),
                **rows.metrics(self._hyperparameters.predictor_type), "bytes_sent": sent, "workers": self.workers})
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


def rate_factor(optimizer, workers):
    """What a team's learning rates are multiplied by.

    The mean of what S workers do moves a weight as far as one of them. AdaGrad's steps are one over the root of a sum
    of squares, which the mean lets grow S times more slowly: with sqrt(S) the two together are the steps of one worker
    who trains all rows.
    """
    return 1.0 if optimizer in PLAIN else workers**0.5

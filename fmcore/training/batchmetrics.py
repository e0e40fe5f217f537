"""Metrics while an epoch runs: of all of its rows so far, reported every so many mini-batches."""

import numpy as np


class BatchMetrics:
    """Metrics of an epoch, exact, each row as it was scored just before the step of its own mini-batch.

    metrics: empty ones (see fmcore.objectives.metrics).
    interval: mini-batches from one result to the next; the first is due after the epoch's first mini-batch.
    """

    def __init__(self, metrics, interval):
        self._metrics, self._interval = metrics, interval
        self._batches, self._weight = 0, 0.0

    def add(self, block, order, scores):
        """Add a block whose mini-batches were trained in this order; return the results that came due, a list of pairs.

        scores: raw, float32 (rows,), in the order of the block's rows.
        A pair is the number of the mini-batch within the epoch (from 0) and the metrics up to its last row.
        """
        due, first = [], 0
        while first < len(order):
            last = min(len(order), first + 1 - self._batches % -self._interval)
            self._update(block, order[first:last], scores)
            self._batches += last - first
            first = last
            if (self._batches - 1) % self._interval == 0:
                due.append((self._batches - 1, self.result()))
        return due

    def result(self):
        """Return the metrics of all rows so far, name -> float; empty before there is a row of positive weight."""
        return self._metrics.result() if self._weight else {}

    def _update(self, block, order, scores):
        rows = np.concatenate([np.arange(block.starts[m], block.starts[m + 1]) for m in order])
        weights = None if block.batch.weights is None else block.batch.weights[rows]
        self._weight += len(rows) if weights is None else float(weights.sum(dtype=np.float64))
        self._metrics.update(scores[rows], block.batch.labels[rows], weights)

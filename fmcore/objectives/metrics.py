"""Metrics of a model's scores: exact and weighted, over any number of rows, summed in float64.

Early stopping decides by these numbers, so they must not depend on how the rows were cut into batches. Rows are
therefore regrouped into blocks of exactly BLOCK rows (the last one excepted): losses are computed and summed block by
block, then the blocks' sums are added in order. The same rows in the same order give the same bits.
"""

import numpy as np

from fmcore.errors import DataError, DivergedError

BLOCK = 1 << 13  # rows; a block's arrays stay in the processor's cache


class Metrics:
    """Metrics of rows regrouped into blocks; a subclass sums a block and computes metrics from the totals.

    `_sums(scores, labels, weights)` takes float32 (rows,) arrays and returns a float64 array, the sum of the weights
    first; `_metrics(*totals)` takes the sums of all blocks and returns metrics, name -> float.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._scores = np.empty(BLOCK, np.float32)
        self._labels = np.empty(BLOCK, np.float32)
        self._weights = np.empty(BLOCK, np.float32)
        self._totals = 0.0

    def update(self, raw_scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add rows: raw_scores, labels and weights (None: all 1), each float32 (rows,).

        Raises DivergedError for a score and DataError for a label or weight that is not finite, or a negative weight;
        rows are counted from 1 since the beginning.
        """
        self._check(raw_scores, labels, weights)
        start = 0
        while start < len(labels):
            at = self.rows % BLOCK
            stop = min(start + BLOCK - at, len(labels))
            here, rows = slice(at, at + stop - start), slice(start, stop)
            self._scores[here], self._labels[here] = raw_scores[rows], labels[rows]
            self._weights[here] = 1 if weights is None else weights[rows]
            self.rows += stop - start
            start = stop
            if self.rows % BLOCK == 0:
                self._totals = self._totals + self._sums(*self._block(BLOCK))
                self._keep(*self._block(BLOCK))

    def result(self) -> dict[str, float | None]:
        """Return the metrics of all rows so far, name -> float (or None); more rows may follow.

        Raises DataError without rows.
        """
        if self.rows == 0:
            raise DataError("no rows")
        totals = self._totals + self._sums(*self._rest())
        if totals[0] == 0:
            raise DataError("all rows have weight 0; metrics need a positive one")
        return self._metrics(*totals.tolist())

    def _rest(self):
        """Return the rows since the last full block."""
        return self._block(self.rows % BLOCK)

    def _block(self, rows):
        return self._scores[:rows], self._labels[:rows], self._weights[:rows]

    def _sums(self, scores, labels, weights):
        raise NotImplementedError

    def _metrics(self, *totals):
        raise NotImplementedError

    def _keep(self, scores, labels, weights):
        """Keep what a metric needs of each row; most need nothing."""

    def _check(self, scores, labels, weights):
        row = _first_bad(np.isfinite(scores))
        if row is not None:
            raise DivergedError(
                f"the score of row {self.rows + row + 1} is {scores[row]}",
                "lower the learning rates, or look for extreme values in the data",
            )
        row = _first_bad(np.isfinite(labels))
        if row is not None:
            raise self._refusal(row, "has no label" if np.isnan(labels[row]) else f"has label {labels[row]}")
        row = None if weights is None else _first_bad(np.isfinite(weights) & (weights >= 0))
        if row is not None:
            raise self._refusal(row, f"has weight {weights[row]}; expected a finite one of at least 0")

    def _refusal(self, row, problem):
        return DataError(f"{problem}; metrics compare scores with labels", unit="row", number=self.rows + row + 1)


class Ranking:
    """Area under the ROC curve: how often a row labelled 1 scores above one labelled 0, a tie counting half."""

    def __init__(self):
        self._blocks = {True: [], False: []}  # label is 1 -> [(scores, weights or None where all are 1)]

    def add(self, scores, labels, weights):
        """Keep a block of rows; arrays as in `Metrics.update`, weights always given."""
        for label, blocks in self._blocks.items():
            blocks.append(_of_label(label, scores, labels, weights))

    def auc(self, rest):
        """Return the area with the rows of one more block, which is not kept; None where a class is missing."""
        ones, ones_weights = self._all(True, rest)
        zeros, zeros_weights = self._all(False, rest)
        order = np.argsort(zeros, kind="stable")
        zeros = zeros[order]
        below = np.concatenate([[0.0], np.cumsum(zeros_weights[order], dtype=np.float64)])
        total = sum_of(ones_weights) * below[-1]
        if total == 0:
            return None
        lower, upper = (below[np.searchsorted(zeros, ones, side)] for side in ("left", "right"))
        return float(np.sum(ones_weights * (lower + upper)) / (2 * total))

    def _all(self, label, rest):
        """Return scores and weights, each float32, of all rows with that label."""
        blocks = [*self._blocks[label], _of_label(label, *rest)]
        weights = [np.ones(len(scores), np.float32) if w is None else w for scores, w in blocks]
        return np.concatenate([scores for scores, _ in blocks]), np.concatenate(weights)


def _of_label(label, scores, labels, weights):
    mine = (labels > 0.5) == label
    weights = weights[mine]
    return scores[mine], None if (weights == 1).all() else weights


def sum_of(numbers: np.ndarray) -> np.float64:
    """Return the sum in float64."""
    return np.sum(numbers, dtype=np.float64)


def _first_bad(good):
    """Return the index of the first False in a bool array, or None."""
    return None if good.all() else int(good.argmin())

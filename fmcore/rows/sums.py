"""Sums over the rows of a data set, of the labels and of each feature's values, from which training learns its scales.

They are sums in float64 in the order of the rows, so several workers can add theirs up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fmcore.rows._rows import add_counts, add_sums
from fmcore.rows.batch import Batch

FEW = 32  # different labels that are kept
BEYOND = 0.1  # of the range of labels
NOTHING = np.array([0, 0, 0, np.inf, -np.inf])  # the sums of a feature that no row has
ENDS = (np.minimum, np.maximum)  # how the last two of them are put together


class LabelSums:
    """Sums over rows: weight, label and squared label, the last two times the weight; and the number of rows.

    totals: float64 (4,), rows, weights, labels, squared labels. different: float32, the different labels, of which
    FEW + 1 are kept at most, the least and the largest among them.
    """

    def __init__(self, totals: np.ndarray | None = None, different: np.ndarray | None = None) -> None:
        self.totals = np.zeros(4) if totals is None else totals
        self.different = np.zeros(0, np.float32) if different is None else different

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        labels = batch.labels.astype(np.float64)
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(np.float64)
        self.totals += [len(batch), weights.sum(), weights @ labels, weights @ labels**2]
        self.different = different_of(self.different, batch.labels)

    @classmethod
    def merged(cls, parts: Sequence[LabelSums]) -> LabelSums:
        """Return those of several data sets together."""
        different = different_of(*(part.different for part in parts))
        return cls(np.sum([part.totals for part in parts], axis=0), different)

    def range(self) -> tuple[float, float]:
        """Return between which numbers labels are to be expected: a tenth of their range beyond those seen.

        Labels of a few different values, such as ratings, are a scale with ends, which are not passed.
        """
        least, largest = float(self.different.min(initial=np.inf)), float(self.different.max(initial=-np.inf))
        beyond = 0.0 if len(self.different) <= FEW else BEYOND * (largest - least)
        return least - beyond, largest + beyond

    @property
    def weight(self) -> float:
        """Return the sum of the weights."""
        return float(self.totals[1])

    @property
    def mean_weight(self) -> float:
        """Return the mean weight of a row; 1 without rows or weights."""
        rows, weight = self.totals[:2]
        return float(weight / rows) if weight else 1.0

    @property
    def mean(self) -> float:
        """Return the weighted mean label; 0 without any weight."""
        return float(self.totals[2] / self.totals[1]) if self.totals[1] else 0.0

    def deviation(self, mean: float) -> float:
        """Return the root of the weighted mean of (label - mean)^2; 1 where all labels are equal to it."""
        _, weight, labels, squares = self.totals
        if not weight:
            return 1.0
        variance = squares / weight - 2 * mean * labels / weight + mean**2
        return float(np.sqrt(variance)) if variance > 1e-12 * squares / weight else 1.0


class FeatureTotals(NamedTuple):
    """Sums over the rows of each feature, float64 (features,): of the rows' weights where its value x is not 0, and of
    these times x and x^2; and the least and the largest x other than 0, or 0 where there is none.
    """

    weights: np.ndarray
    values: np.ndarray
    squares: np.ndarray
    least: np.ndarray
    largest: np.ndarray


class FeatureSums:
    """Sums of which FeatureTotals are made, batch by batch.

    every: whether batches whose values are all 1 count; they raise no scale, and counting them takes time.
    fields: whether any non-zero had a field.
    ones: float64 (features so far,), weights of batches whose values are all 1. sums: float64 (features so far, 5), the
    totals of others, the last two of which are infinite where there are none.
    """

    def __init__(self, *, every: bool = True) -> None:
        self.every, self.fields = every, False
        self.ones = np.zeros(0)
        self.sums = np.zeros((0, len(FeatureTotals._fields)))

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        self.fields |= batch.fields is not None
        if not len(batch.indices) or (batch.values is None and not self.every):
            return
        if batch.values is None:
            self.ones = longer(self.ones, batch.feature_dim)
            add_counts(batch.indptr, batch.indices, batch.weights, self.ones)
        else:
            self.sums = longer(self.sums, batch.feature_dim, NOTHING)
            add_sums(batch.indptr, batch.indices, batch.values, batch.weights, self.sums)

    def result(self, feature_dim: int) -> FeatureTotals:
        """Return the totals of feature_dim features, or of as many as there are if more."""
        size = max(feature_dim, len(self.ones), len(self.sums))
        ones, (weights, values, squares, *ends) = longer(self.ones, size), longer(self.sums, size, NOTHING).T
        least, largest = (np.where(ones > 0, end(seen, 1), seen) for end, seen in zip(ENDS, ends, strict=True))
        some = least <= largest
        least, largest = np.where(some, least, 0), np.where(some, largest, 0)
        return FeatureTotals(ones + weights, ones + values, ones + squares, least, largest)

    def split(self, owners: int) -> list[FeatureSums]:
        """Return those of each owner's features: feature i belongs to owner i mod owners, at place i // owners."""
        parts = []
        for owner in range(owners):
            part = FeatureSums(every=self.every)
            part.take_in(self.fields, self.ones[owner::owners], self.sums[owner::owners])
            parts.append(part)
        return parts

    @classmethod
    def merged(cls, parts: Iterable[FeatureSums]) -> FeatureSums:
        """Return those of the same features over several data sets."""
        total = cls()
        for part in parts:
            total.take_in(part.fields, part.ones, part.sums)
        return total

    def take_in(self, fields: bool, ones: np.ndarray, sums: np.ndarray) -> None:
        """Add what another has of the same features."""
        self.fields |= fields
        size = max(len(self.sums), len(sums))
        self.ones, mine, theirs = added(self.ones, ones), *(longer(each, size, NOTHING) for each in (self.sums, sums))
        self.sums = mine.copy()
        self.sums[:, :3] += theirs[:, :3]
        for column, end in enumerate(ENDS, 3):
            self.sums[:, column] = end(mine[:, column], theirs[:, column])


def different_of(*labels: np.ndarray) -> np.ndarray:
    """Return the different labels, float32, rising; of more than FEW + 1 the least ones and the largest."""
    found = np.unique(np.concatenate(labels))
    return found if len(found) <= FEW else np.append(found[:FEW], found[-1:])


def longer(array: np.ndarray, size: int, rest: np.ndarray | float = 0) -> np.ndarray:
    """Return the array, with `rest` up to that size along its first axis where it is shorter."""
    if len(array) >= size:
        return array
    return np.concatenate([array, np.full((size - len(array), *array.shape[1:]), rest, array.dtype)])


def added(some: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Return the sum of two arrays, of which one may be shorter along the first axis."""
    size = max(len(some), len(more))
    return longer(some, size) + longer(more, size)

"""Rows as training sees them: features of large values scaled down, columns centred, labels standardised.

A column of seconds beside a column of ones makes the products x_i x_j of the score huge and its gradient wild. Training
therefore sees (x_i - m_i) / s_i in place of x_i.

A column is a feature that more than half of the rows have with a value other than 0, and with more values than one. Its
m_i is the mean over all rows, of which those without it have 0, and its s_i the power of two nearest to the standard
deviation where that is above 1 or below 0.1, else 1; s_i is at least |m_i| / FARTHEST, for a score is a sum of float32.
For all other features m_i is 0 and s_i the power of two nearest to the root mean square of their values (zeros apart)
if that is above 1, else 1: rows of ones are left as they are. Rows count by their weight.

The labels y of regressors become (y - mean) / deviation. fmcore.model.scaling turns the model that comes out into one
of raw values and labels, with the same scores. By a power of two nothing is rounded, so where nothing is centred,
training that continues from such a model gives the same numbers as if it had never been scaled back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fmcore.rows.batch import Batch
from fmcore.rows.sums import ENDS, FeatureSums, FeatureTotals, LabelSums

FARTHEST = 256  # deviations between 0 and the mean of a column, in what training sees of it
FAR = 10.0  # deviations from the mean of a column, or times the root mean square of another feature's values
ABSENT = 1e-9  # share of the rows, by weight, below which none are without a feature: what sums may be rounded by
SPREAD = 1e-9  # variance by mean square of a feature's values, below which they are all the same


class LabelScale(NamedTuple):
    """The mean and the deviation of labels."""

    mean: float
    deviation: float

    def scaled(self, labels: np.ndarray) -> np.ndarray:
        """Return labels, float32, as training sees them."""
        return ((labels.astype(np.float64) - self.mean) / self.deviation).astype(np.float32)

    def raw(self, numbers: np.ndarray) -> np.ndarray:
        """Return scores or labels that training sees, float32, as raw ones, which may be infinite."""
        with np.errstate(over="ignore"):
            return (numbers.astype(np.float64) * self.deviation + self.mean).astype(np.float32)


class Known(NamedTuple):
    """The scaling that a model was trained with, which a training that starts from it keeps for its features.

    scale: float32 (features,), s_i, or at least that of features which are not columns. mean: likewise, m_i. label: of
    the labels. range: of the labels, likewise.
    """

    scale: np.ndarray | None = None
    mean: np.ndarray | None = None
    label: LabelScale | None = None
    range: tuple[float, float] | None = None

    def of_owner(self, owner: int, owners: int) -> Known:
        """Return that of each `owners`th feature from number `owner` on."""
        scale, mean = (None if array is None else array[owner::owners] for array in (self.scale, self.mean))
        return Known(scale, mean, self.label, self.range)


@dataclass(frozen=True)
class Scaling:
    """Numbers that are subtracted, and divided by.

    scale: float32 (feature_dim,), s_i, or None where all are 1. mean: float32 likewise, m_i, or None where all are 0.
    label: of the labels, or None where they stay as they are. range: the least and the largest score, or None.
    far: int64, rising, the features with values that are FAR from the others: the square of such a number is all that
    a product of two would be about, so they have a linear weight and no factors.
    """

    scale: np.ndarray | None = None
    mean: np.ndarray | None = None
    label: LabelScale | None = None
    range: tuple[float, float] | None = None
    far: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def rows(self, batch: Batch) -> Batch:
        """Return a batch as training sees it."""
        batch = self.features(batch)
        return batch if self.label is None else replace(batch, labels=self.label.scaled(batch.labels))

    def features(self, batch: Batch) -> Batch:
        """Return a batch with scaled and centred values and raw labels."""
        if self.mean is not None:
            return centred(batch, self, self._columns, self._places)
        return scaled(batch, self.scale)

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Return raw scores, float32 (rows,), for those that training computes."""
        return bounded(scores if self.label is None else self.label.raw(scores), self.range)

    def widened(self, feature_dim: int) -> Scaling:
        """Return the scaling of more features, which are left as they are."""
        scale, mean = self.scale, self.mean
        return replace(
            self,
            scale=None if scale is None else np.append(scale, np.ones(feature_dim - len(scale), np.float32)),
            mean=None if mean is None else np.append(mean, np.zeros(feature_dim - len(mean), np.float32)),
        )

    @cached_property
    def _columns(self) -> np.ndarray:
        """Return the features that are centred, int32, rising."""
        return np.flatnonzero(self.mean).astype(np.int32)  # type: ignore[arg-type]

    @cached_property
    def _places(self) -> np.ndarray:
        """Return the place of each feature among those, int32 (feature_dim,); -1 for others."""
        places = np.full(len(self.mean), -1, np.int32)  # type: ignore[arg-type]
        places[self._columns] = np.arange(len(self._columns))
        return places


def scaling_of(labels: LabelSums, features: FeatureSums, feature_dim: int, h: Any, known: Known) -> Scaling:
    """Return the Scaling that was learned of all rows; h: Hyperparameters."""
    label, ends = _of_labels(labels, h, known)
    if h.feature_scaling == "none":
        return Scaling(label=label, range=ends)
    totals = features.result(feature_dim)
    deviations = np.sqrt(np.maximum(_mean_squares(totals), 1e-60))
    scale = nearest_power_of_two(np.maximum(deviations, 1)).astype(np.float32)
    mean = np.zeros(len(scale), np.float32)
    if centres(h) and not features.fields:
        _centre(scale, mean, labels.weight, totals, deviations)
    linear = h.feature_scaling == "standard" and h.uses("linear") and h.shifts
    far = np.flatnonzero(_farthest(totals, labels.weight, mean) > FAR * deviations) if linear else np.zeros(0, np.int64)
    scale, mean = _with_known(scale, mean, known)
    return Scaling(scale if (scale != 1).any() else None, mean if mean.any() else None, label, ends, far)


def _of_labels(labels: LabelSums, h: Any, known: Known) -> tuple[LabelScale | None, tuple[float, float] | None]:
    """Return the scale of the labels and the range of the scores, where there are such."""
    label, ends = None, None
    if h.label_scaling == "standard" and h.shifts:
        middle = labels.mean if h.uses("bias") else 0.0
        label = known.label or LabelScale(middle, labels.deviation(middle))
    if h.label_range == "training":
        least, largest = labels.range()
        ends = (min(least, known.range[0]), max(largest, known.range[1])) if known.range else (least, largest)
    return label, ends


def bounded(scores: np.ndarray, ends: tuple[float, float] | None) -> np.ndarray:
    """Return scores, float32 (rows,), within a range, or as they are where it is None; NaN stays NaN."""
    return scores if ends is None else np.clip(scores, np.float32(ends[0]), np.float32(ends[1]))


def centres(h: Any) -> bool:
    """Return whether columns are centred: where a bias and linear weights can take up what is subtracted."""
    return h.feature_scaling == "standard" and h.uses("bias") and h.uses("linear") and h.shifts


def _mean_squares(totals: FeatureTotals) -> np.ndarray:
    """Return the mean square of each feature's values, zeros apart; 1 without any."""
    return np.divide(totals.squares, totals.weights, out=np.ones_like(totals.squares), where=totals.weights > 0)


def _centre(scale: np.ndarray, mean: np.ndarray, total: float, of: FeatureTotals, deviations: np.ndarray) -> None:
    """Write m_i, s_i and the deviation of all columns; total: the weight of all rows."""
    often = np.flatnonzero(of.weights > 0.5 * total)
    squares = of.squares[often] * of.weights[often]
    columns = often[squares - of.values[often] ** 2 > SPREAD * squares]
    means = of.values[columns] / total
    own = np.sqrt(np.maximum(of.squares[columns] / total - means**2, 1e-60))
    scales = np.where((own > 1) | (own < 0.1), nearest_power_of_two(own), 1)
    mean[columns], deviations[columns] = means, own
    scale[columns] = np.maximum(scales, nearest_power_of_two(np.maximum(np.abs(means) / FARTHEST, 1e-30)))


def _farthest(of: FeatureTotals, total: float, mean: np.ndarray) -> np.ndarray:
    """Return how far from its mean the farthest value of each feature is; rows without it have 0."""
    absent = of.weights < (1 - ABSENT) * total
    least, largest = (np.where(absent, end(ends, 0), ends) for end, ends in zip(ENDS, of[3:], strict=True))
    return np.maximum(largest - mean, mean - least)


def _with_known(scale: np.ndarray, mean: np.ndarray, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and mean, those of known features as they were; what was not centred may grow in scale."""
    kept, centre = known.scale, known.mean
    if kept is None and centre is not None:
        kept = np.ones(len(centre), np.float32)
    if kept is not None:
        if len(kept) > len(scale):
            scale = np.append(scale, np.ones(len(kept) - len(scale), np.float32))
            mean = np.append(mean, np.zeros(len(kept) - len(mean), np.float32))
        scale[: len(kept)] = np.maximum(scale[: len(kept)], kept)
    if centre is not None and kept is not None:
        columns = np.flatnonzero(centre)
        mean[: len(centre)], scale[columns] = centre, kept[columns]
    return scale, mean


def nearest_power_of_two(numbers: np.ndarray) -> np.ndarray:
    """Return the powers of two, of those in float32, whose logarithms are nearest to those of positive numbers."""
    fractions, exponents = np.frexp(numbers)  # fractions from 1/2 up
    return np.ldexp(1.0, np.clip(exponents - (fractions < np.sqrt(0.5)), -126, 127))


def scaled(batch: Batch, scale: np.ndarray | None) -> Batch:
    """Return the batch with every value divided by its feature's scale (None: as it is)."""
    if scale is None:
        return batch
    values = np.float32(1) if batch.values is None else batch.values
    return replace(batch, values=values / scale[batch.indices])


def centred(batch: Batch, scaling: Scaling, columns: np.ndarray, places: np.ndarray) -> Batch:
    """Return the batch scaled and with its columns centred: every row then has all of them, behind its other features.

    columns: the features that are, int32 (count,). places: int32 (feature_dim,), the place of each in it; -1 of others.
    """
    rows, count = len(batch), len(columns)
    place = places[batch.indices]
    other = place < 0
    row = np.repeat(np.arange(rows), np.diff(batch.indptr))[~other]
    values = np.ones(len(batch.indices), np.float32) if batch.values is None else batch.values
    scale = np.ones(len(places), np.float32) if scaling.scale is None else scaling.scale
    mean = scaling.mean[columns].astype(np.float64)  # type: ignore[index]
    cells = np.bincount(row * count + place[~other], values[~other], rows * count).reshape(rows, count)
    cells = ((cells - mean) / scale[columns]).astype(np.float32)
    indptr = np.zeros(rows + 1, np.int64)
    np.cumsum(np.diff(batch.indptr) - np.bincount(row, minlength=rows) + count, out=indptr[1:])
    ours = np.zeros(indptr[-1], bool)
    ours[((indptr[1:] - count)[:, None] + np.arange(count)).ravel()] = True
    indices, new = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    indices[ours], new[ours] = np.tile(columns, rows), cells.ravel()
    indices[~ours], new[~ours] = batch.indices[other], values[other] / scale[batch.indices[other]]
    return replace(batch, indptr=indptr, indices=indices, values=new)

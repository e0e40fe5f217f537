"""Features of large values scaled down while training, so that one learning rate serves all of them.

A column of seconds beside a column of ones makes the products x_i x_j of the score huge and its gradient wild. Training
therefore sees x_i / s_i, where s_i is the power of two nearest to the root mean square of feature i's values (zeros
apart, rows by their weight) if that is above 1, else 1; rows of ones are left as they are. The model that comes out is
one of the raw values again: w_i = w'_i / s_i and v_i = v'_i / s_i give the same scores.

By a power of two nothing is rounded, so training that continues from a model of raw values gives the same numbers as if
the model had never been scaled back.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from fmcore.rows.batch import Batch


class FeatureScale:
    """The scales s_i, learned from the batches of a data set.

    least: float32, what s_i of the first features is at least, or None.
    squares, counts: float64, of each feature so far, the weighted sums of its squares and of its non-zeros.
    """

    def __init__(self, least: np.ndarray | None = None) -> None:
        self.squares = np.zeros(0)
        self.counts = np.zeros(0)
        self._least = np.ones(0, np.float32) if least is None else least

    def add(self, batch: Batch) -> None:
        """Add a batch; one whose every value is 1 cannot raise any s_i above 1 and is passed over."""
        if batch.values is None or not len(batch.indices):
            return
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(np.float64)
        weights = np.repeat(weights, np.diff(batch.indptr))
        squares = np.bincount(batch.indices, weights * np.square(batch.values, dtype=np.float64), len(self.squares))
        counts = np.bincount(batch.indices, weights, len(self.counts))
        self.add_sums(squares, counts)

    def add_sums(self, squares: np.ndarray, counts: np.ndarray) -> None:
        """Add such sums, which are no longer the caller's."""
        for name, more in (("squares", squares), ("counts", counts)):
            short, long = sorted((getattr(self, name), more), key=len)
            long[: len(short)] += short
            setattr(self, name, long)

    def split(self, owners: int) -> list["FeatureScale"]:
        """Return what was learned of each owner's features.

        Feature i belongs to owner i mod owners, at place i // owners.
        """
        parts = [FeatureScale() for _ in range(owners)]
        for owner, part in enumerate(parts):
            part.squares, part.counts = self.squares[owner::owners], self.counts[owner::owners]
        return parts

    @classmethod
    def merged(cls, parts: "Iterable[FeatureScale]") -> "FeatureScale":
        """Return what several have learned of the same features."""
        scale = cls()
        for part in parts:
            scale.add_sums(part.squares.copy(), part.counts.copy())
        return scale

    def above_1(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the features whose scale is above 1, int64, and those scales."""
        scale = self.result(len(self.squares))
        features = np.empty(0, np.int64) if scale is None else np.flatnonzero(scale > 1)
        return features, np.empty(0, np.float32) if scale is None else scale[features]

    def result(self, feature_dim: int) -> np.ndarray | None:
        """Return the scale, float32 (feature_dim,), longer where the least scale is; None where every s_i is 1."""
        scale = np.ones(max(feature_dim, len(self._least)), np.float32)
        mean = np.divide(self.squares, self.counts, out=np.ones_like(self.squares), where=self.counts > 0)
        known = min(len(mean), len(scale))
        scale[:known] = nearest_power_of_two(np.sqrt(np.maximum(mean[:known], 1)))
        scale[: len(self._least)] = np.maximum(scale[: len(self._least)], self._least)
        return scale if (scale > 1).any() else None


def nearest_power_of_two(numbers: np.ndarray) -> np.ndarray:
    """Return the powers of two, of those in float32, whose logarithms are nearest to those of positive numbers."""
    fractions, exponents = np.frexp(numbers)  # fractions from 1/2 up
    return np.ldexp(1.0, np.minimum(exponents - (fractions < np.sqrt(0.5)), 127))


def scaled(batch: Batch, scale: np.ndarray | None) -> Batch:
    """Return the batch with every value divided by its feature's scale (None: as it is)."""
    if scale is None:
        return batch
    values = np.float32(1) if batch.values is None else batch.values
    return replace(batch, values=values / scale[batch.indices])

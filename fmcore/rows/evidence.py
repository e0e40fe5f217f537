"""How many rows each feature has and what they can tell, as penalties by rows need it (kernels/row_rule.h).

A row counts by its weight divided by the mean weight, so that only the weights' ratios matter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fmcore.rows.scaling import Scaling
from fmcore.rows.sums import FeatureSums, LabelSums


class Evidence(NamedTuple):
    """Facts about the rows to train on, as training sees them.

    rows: float32 (feature_dim,), how many hold each feature. squares: float32 likewise, the sum of its squared values.
    total: how many rows there are. mean_weight: of a row. far: as in Scaling.
    """

    rows: np.ndarray
    squares: np.ndarray
    total: float
    mean_weight: float
    far: np.ndarray

    @classmethod
    def of(cls, labels: LabelSums, features: FeatureSums, feature_dim: int, scaling: Scaling) -> Evidence:
        """Return the facts, given the sums of raw values and how they are scaled."""
        size = feature_dim if scaling.mean is None else max(feature_dim, len(scaling.mean))
        counts, sums, squares = (array / labels.mean_weight for array in features.result(size)[:3])
        total = labels.weight / labels.mean_weight
        if scaling.mean is not None:
            columns = np.flatnonzero(scaling.mean)
            mean = scaling.mean[columns].astype(np.float64)
            squares[columns] += mean * (total * mean - 2 * sums[columns])
            counts[columns] = total
        if scaling.scale is not None:
            squares[: len(scaling.scale)] /= scaling.scale.astype(np.float64)[: len(squares)] ** 2
        return cls(counts.astype(np.float32), squares.astype(np.float32), total, labels.mean_weight, scaling.far)

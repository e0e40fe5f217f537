"""Features of large values brought to size while training, so that one learning rate serves all of them.

A column of seconds beside a column of ones makes the products x_i x_j of the score huge and its gradient wild. Training
therefore sees x_i / s_i, where s_i is the root mean square of feature i's values (zeros apart, rows by
their weight) if above 1, else 1; rows
of ones are left as they are. The model that comes out is one of the raw values again: w_i = w'_i / s_i and
v_i = v'_i / s_i give the same scores.
"""
from dataclasses import replace

import numpy as np


class FeatureScale:
    """Learns s_i from the batches of a data set."""

    def __init__(self):
        self._squares = np.zeros(0)
        self._counts = np.zeros(0)

    def add(self, batch):
        """Take in a batch; one whose every value is 1 cannot raise any s_i above 1 and is passed over."""
        if batch.values is None or not len(batch.indices):
            return
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(np.float64)
        weights = np.repeat(weights, np.diff(batch.indptr))
        squares = np.bincount(batch.indices, weights * np.square(batch.values, dtype=np.float64), len(self._squares))
        counts = np.bincount(batch.indices, weights, len(self._counts))
        squares[:len(self._squares)] += self._squares
        counts[:len(self._counts)] += self._counts
        self._squares, self._counts = squares, counts

    def result(self, feature_dim):
        """float32 (feature_dim,), or None where every s_i is 1."""
        if not len(self._squares):
            return None
        scale = np.ones(feature_dim, np.float32)
        mean = np.divide(self._squares, self._counts, out=np.ones_like(self._squares), where=self._counts > 0)
        scale[:len(mean)] = np.sqrt(np.maximum(mean[:feature_dim], 1))
        return scale if (scale > 1).any() else None


def scaled(batch, scale):
    """The batch with every value divided by its feature's scale (None: as it is)."""
    if scale is None:
        return batch
    values = np.float32(1) if batch.values is None else batch.values
    return replace(batch, values=values / scale[batch.indices])


def unscaled(model, scale):
    """Turn a model of scaled values into one of raw values, in place; the scale stays with the optimizer's state."""
    if scale is not None:
        model.linear /= scale
        model.factors /= scale[:, None]
        model.state["feature_scale"] = scale
    return model

"""What a round has moved, as it travels: split by owner, and brought together by the mean over all workers.

Every number of every array, weights and what the optimizer keeps of them alike, becomes the mean over the workers; one
that has not touched a feature counts with a change of 0. Feature i belongs to worker i mod workers, its owner.
"""
from typing import NamedTuple

import numpy as np


class Delta(NamedTuple):
    """How parameters differ from what they were.

    features: int32 (n,), rising. rows: float32 (n, size), as fmcore.backends.cpu.Table has them. bias: float32 (1 +
    slots,). updates: mini-batches trained.
    """

    features: np.ndarray
    rows: np.ndarray
    bias: np.ndarray
    updates: int = 0

    @property
    def nbytes(self):
        """Bytes on the wire, but for what frames them."""
        return self.features.nbytes + self.rows.nbytes + self.bias.nbytes


def split(features, rows, owners):
    """(features, rows) of each owner, of features in rising order and an array of a row for each (None: None)."""
    owner = features % owners
    picked = [np.flatnonzero(owner == number) for number in range(owners)]
    return [(features[pick], None if rows is None else rows[pick]) for pick in picked]


def split_delta(delta, owners):
    """The Delta of each owner's features; each has all of the bias."""
    return [Delta(*part, delta.bias, delta.updates) for part in split(delta.features, delta.rows, owners)]


def mean(deltas):
    """The mean of all workers' Deltas (list, in worker order) as a Delta over all features that any of them has.

    Sums are taken in worker order, in float32; updates are rounded up.
    """
    features = np.unique(np.concatenate([delta.features for delta in deltas]))
    rows = np.zeros((len(features), deltas[0].rows.shape[1]), np.float32)
    bias = np.zeros_like(deltas[0].bias)
    for delta in deltas:
        rows[np.searchsorted(features, delta.features)] += delta.rows
        bias += delta.bias
    rows /= np.float32(len(deltas))
    bias /= np.float32(len(deltas))
    return Delta(features, rows, bias, -(-sum(delta.updates for delta in deltas) // len(deltas)))


def joined(parts):
    """(features, rows) of several owners as one, features in rising order: the opposite of `split`."""
    features = np.concatenate([features for features, _ in parts])
    order = np.argsort(features, kind="stable")
    return features[order], np.concatenate([rows for _, rows in parts])[order]

"""What a round has moved, as it travels: split by owner, and brought together by the mean over all workers.

Every number of every array, weights and what the optimizer keeps of them alike, becomes the mean over the workers; one
that has not touched a feature counts with a change of 0. Feature i belongs to worker i mod workers, its owner.
"""

from typing import NamedTuple

import numpy as np

from fmcore.kernels._exchange import move

NO_FACTORS = np.empty((1, 0), np.float32)


class Delta(NamedTuple):
    """How parameters differ from what they were.

    features: int32 (n,), rising. rows: float32 (n, size), as fmcore.kernels.cpu.Table has them. bias: float32 (1 +
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


def by_owner(features, owners):
    """The features (int32, rising) of each owner, in rising order."""
    owner = (features % owners).astype(np.uint16)
    order = np.argsort(owner, kind="stable")
    return np.split(features[order], np.cumsum(np.bincount(owner, minlength=owners))[:-1])


def mean(deltas, threads=1):
    """The mean of all workers' Deltas (list, in worker order) as a Delta over all features that any of them has.

    Sums are taken in worker order, in float32; updates are rounded up.
    """
    features = np.sort(np.concatenate([delta.features for delta in deltas]), kind="stable")  # which merges sorted runs
    features = features[np.append(True, features[1:] != features[:-1])[: len(features)]]
    rows = np.zeros((len(features), deltas[0].rows.shape[1]), np.float32)
    bias = np.zeros_like(deltas[0].bias)
    for delta in deltas:
        add_rows(rows, np.searchsorted(features, delta.features).astype(np.int32), delta.rows, threads)
        bias += delta.bias
    rows /= np.float32(len(deltas))
    bias /= np.float32(len(deltas))
    return Delta(features, rows, bias, -(-sum(delta.updates for delta in deltas) // len(deltas)))


def add_rows(rows, places, more, threads):
    """Add float32 rows to some rows of others, at places (int32) of which each comes once."""
    move("add", places, more, rows, NO_FACTORS, width=1, k=0, threads=threads)

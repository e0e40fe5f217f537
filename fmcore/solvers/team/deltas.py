"""The changes of a round, as they are sent: split by owner, and merged by the mean over all workers.

Every number of every array, weights and what the optimizer keeps of them alike, becomes the mean over the workers; one
that has not touched a feature counts with a change of 0. Feature i belongs to worker i mod workers, its owner.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fmcore.kernels import add_rows


class Delta(NamedTuple):
    """The change of some parameters.

    features: int32 (n,), rising. rows: float32 (n, size), as fmcore.kernels.SharedTrainer has them. bias: float32 (m,),
    likewise. updates: mini-batches trained.
    """

    features: np.ndarray
    rows: np.ndarray
    bias: np.ndarray
    updates: int = 0

    @property
    def nbytes(self) -> int:
        """Return the bytes on the wire, but for what frames them."""
        return self.features.nbytes + self.rows.nbytes + self.bias.nbytes


def by_owner(features: np.ndarray, owners: int) -> list[np.ndarray]:
    """Return the features (int32, rising) of each owner, in rising order."""
    owner = (features % owners).astype(np.uint16)
    order = np.argsort(owner, kind="stable")
    return np.split(features[order], np.cumsum(np.bincount(owner, minlength=owners))[:-1])


def mean(deltas: Sequence[Delta], threads: int = 1) -> Delta:
    """Return the mean of all workers' Deltas, in worker order, as a Delta over all features that any of them has.

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

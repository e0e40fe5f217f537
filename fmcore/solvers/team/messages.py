"""Messages between the leader of a team and its workers: orders, and reports of what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fmcore.hyper.params import Hyperparameters
from fmcore.io.options import Report
from fmcore.rows.scaling import Known, LabelScale, Scaling
from fmcore.rows.sums import LabelSums
from fmcore.solvers.team.reports import Parts
from fmcore.system.memory import Budget


@dataclass(frozen=True)
class Orders:
    """All that a worker has to know before it reads.

    parts, tests: of the training and test rows. encoder: of tables; complete.
    budget: of memory, for one worker. known: how many features the initial model has, or None.
    scaling: of the initial model; see fmcore.rows.dataset.Dataset.
    """

    workers: int
    parts: Parts
    tests: Parts
    encoder: Any
    hyperparameters: Hyperparameters
    threads: int
    budget: Budget
    dist_state: str
    known: int | None = None
    scaling: Known = Known()  # noqa: RUF009 - a tuple


class Learned(NamedTuple):
    """Facts about a worker's rows. labels: their sums. nbytes: of the blocks to come."""

    rows: int
    non_zeros: int
    feature_dim: int
    labels: LabelSums
    nbytes: int
    in_memory: bool
    report: Report


class Found(NamedTuple):
    """The scaling of the features that one worker owns, where it changes any (see fmcore.rows.scaling.Scaling).

    features: int64 (n,). scale, mean: float32 (n,) each. far: bool likewise. label, range: of the labels, or None.
    """

    features: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    far: np.ndarray
    label: LabelScale | None
    range: tuple[float, float] | None


class Sizes(NamedTuple):
    """Facts about the rows of all workers, by which each makes its blocks."""

    feature_dim: int
    mini_batch_size: int
    sharded: bool


class Ready(NamedTuple):
    """The report of a worker that can begin.

    scaling: of all features, of the first worker alone. rows, squares: as in Evidence, of the features owned; or None.
    test_report: of its test rows. tests: whether there are any.
    """

    scaling: Scaling | None
    rows: np.ndarray | None
    squares: np.ndarray | None
    test_report: Report
    tests: bool


class Trained(NamedTuple):
    """The result of a worker's round: rows, and sums of their losses and weights, each before it changed anything."""

    rows: int
    loss: float
    weight: float

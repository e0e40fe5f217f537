"""Messages between the leader of a team and its workers: orders, and reports of what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fmcore.hyper.params import Hyperparameters
from fmcore.io.options import Report
from fmcore.solvers.team.reports import Parts
from fmcore.system.memory import Budget


@dataclass(frozen=True)
class Orders:
    """All that a worker has to know before it reads.

    parts, tests: of the training and test rows. encoder: of tables; complete.
    budget: of memory, for one worker. known: how many features the initial model has, or None.
    least_scale: see fmcore.rows.dataset.Dataset.
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
    least_scale: np.ndarray | None = None


class Learned(NamedTuple):
    """Facts about a worker's rows. weighted: sums of labels and weights. nbytes: of the blocks to come."""

    rows: int
    non_zeros: int
    feature_dim: int
    weighted: np.ndarray
    nbytes: int
    in_memory: bool
    report: Report


class Sizes(NamedTuple):
    """Facts about the rows of all workers, by which each makes its blocks."""

    feature_dim: int
    mean_label: float
    mini_batch_size: int
    sharded: bool


class Ready(NamedTuple):
    """The report of a worker that can begin. scale: of all features (see fmcore.rows.scaling), of the first alone.

    test_report: of its test rows. tests: whether there are any.
    """

    scale: np.ndarray | None
    test_report: Report
    tests: bool


class Trained(NamedTuple):
    """The result of a worker's round: rows, and sums of their losses and weights, each before it changed anything."""

    rows: int
    loss: float
    weight: float

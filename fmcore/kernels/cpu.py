"""The fast backend: kernels over parameters laid out so that one memory access fetches everything of a feature."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from fmcore.errors import UsageError
from fmcore.kernels import blas
from fmcore.kernels._exchange import mark, move, renumber
from fmcore.kernels._features import level_3
from fmcore.kernels.pace import Pace
from fmcore.kernels.prepared import Cells, aligned_zeros, prepared
from fmcore.kernels.row_rule import row_rule
from fmcore.kernels.settings import Rates, settings
from fmcore.model.model import Model
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import ROWS, TOTALS, VARIANCE, slot_name, updates_in, updates_state
from fmcore.rows.batch import Batch
from fmcore.rows.blocks import Block, Counts

LANES = 8  # as in lanes.h: factors are padded to a multiple of it while training
BUILDS = ("v3", "baseline")  # best first
EVIDENCE = (ROWS, VARIANCE)  # in a model's state, in the order of row_rule.h
TEAM_WORK = 2000  # multiplications of a mini-batch; with fewer, a second thread is not worth a trial


def choose_build() -> str:
    """Return the best build that this processor runs, or the one that FMKIT_KERNELS names; UsageError for others."""
    wanted = os.environ.get("FMKIT_KERNELS")
    runs = [build for build in BUILDS if build == "baseline" or level_3()]
    if wanted and wanted not in runs:
        raise UsageError(f"FMKIT_KERNELS is {wanted!r}; this processor runs {' and '.join(runs)}")
    return wanted or runs[0]


class CpuBackend:
    """A SharedBackend over the compiled kernels; the same bits for any number of threads. See fmcore.kernels."""

    note: str | None = None

    def __init__(self, threads: int = 1) -> None:
        self.build = choose_build()
        self.name = f"cpu ({self.build})"
        self.kernels: Any = import_module(f"fmcore.kernels._kernels_{self.build}")
        self.threads = threads if self.kernels.openmp() else 1

    def prepare(self, block: Block) -> Block:
        """Return the Block grouped by feature, or as a matrix; see fmcore.kernels.prepared."""
        return prepared(block, self.kernels, self.threads)

    def score(self, batch: Batch, model: Model) -> np.ndarray:
        """Return raw scores straight from the model's arrays, which may be mapped from a file; see Backend."""
        return self.kernels.score(
            batch, model.bias, model.linear.reshape(-1, 1), model.factors, model.num_factors, self.threads
        )

    def trainer(self, model: Model, workers: int = 1) -> CpuTrainer:
        """See SharedBackend."""
        return CpuTrainer(self, model, workers)

    def mark(self, block: Block, order: np.ndarray, seen: np.ndarray) -> None:
        """See SharedBackend; of a matrix all columns are marked."""
        if isinstance(block.groups, Cells):
            seen[: block.groups.columns] = 1
        else:
            mark(block.batch.indptr, block.batch.indices, block.starts, order, seen, self.threads)

    def renumbered(self, block: Block, order: np.ndarray, places: np.ndarray) -> Block:
        """See SharedBackend; a matrix stays as it is, for its columns are the first features, all of them marked."""
        if isinstance(block.groups, Cells):
            return block
        batch, groups = block.batch, block.groups
        indices = renumber(batch.indptr[block.starts], order, batch.indices, places, self.threads)
        features = renumber(groups.bounds, order, groups.features, places, self.threads)
        return replace(block, batch=replace(batch, indices=indices), groups=groups._replace(features=features))


class CpuTrainer:
    """A SharedTrainer over the compiled kernels.

    table: a Table of the parameters, which may be changed between two passes. updates: mini-batches trained so far.
    """

    def __init__(self, backend: CpuBackend, model: Model, workers: int = 1) -> None:
        self._backend, self._model = backend, model
        self._optimizer = optimizer_of(model.hyperparameters)
        self.table = Table(model, backend.threads)
        self._rule = row_rule(model, workers)
        self._settings = settings(model.hyperparameters, backend.kernels.cases(), self._rule)
        self.updates = updates_in(self._optimizer, model.state)
        self._pace = Pace(backend.threads)

    def train(
        self, block: Block, order: np.ndarray, lr: float = 1.0, fall: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """See Trainer."""
        begun, fall_of_a_step = self.updates, fall / max(1, len(order))
        rows, work = len(block.batch), block.groups.size * self.table.width / (len(block.starts) - 1)
        results = np.empty(rows, np.float32), np.empty(rows, np.float32)
        dense = isinstance(block.groups, Cells)

        def train(part: np.ndarray, threads: int) -> None:
            self._backend.kernels.train(
                block,
                part,
                self.table,
                self._settings(Rates(lr, fall_of_a_step, self.updates - begun), self.updates),
                threads,
                results,
                blas.sgemm() if dense else None,
            )
            self.updates += len(part)

        with blas.one_thread() if dense else nullcontext():
            if work > TEAM_WORK:
                self._pace.train(train, order)
            else:
                train(order, 1)
        return results

    def count(self, counts: Counts) -> None:
        """See Trainer."""
        if self._rule is not None:
            self.table.linear[counts.features, -len(EVIDENCE)] += counts.rows
            self._rule = self._rule._replace(rows=self._rule.rows + counts.total)
            self._settings = settings(self._model.hyperparameters, self._backend.kernels.cases(), self._rule)

    def score(self, batch: Batch) -> np.ndarray:
        """Return the same bits as `CpuBackend.score` of the snapshot; see Trainer."""
        table = self.table
        return self._backend.kernels.score(
            batch, table.bias, table.linear, table.factors, self._model.num_factors, self._backend.threads
        )

    def snapshot(self) -> Model:
        """See Trainer."""
        model = self.table.model(self._model)
        if self._rule is not None:
            model.state[TOTALS] = self._rule.totals()
        model.state.update(updates_state(self._optimizer, self.updates))
        return model

    @property
    def bias(self) -> np.ndarray:
        """See SharedTrainer."""
        return self.table.bias

    @bias.setter
    def bias(self, numbers: np.ndarray) -> None:
        self.table.bias[:] = numbers

    def take(self, features: np.ndarray) -> np.ndarray:
        """See SharedTrainer."""
        return self.table.take(features)

    def put(self, features: np.ndarray, rows: np.ndarray) -> None:
        """See SharedTrainer."""
        self.table.put(features, rows)

    def add(self, features: np.ndarray, rows: np.ndarray) -> None:
        """See SharedTrainer."""
        self.table.add(features, rows)

    def difference(self, features: np.ndarray, before: np.ndarray) -> np.ndarray:
        """See SharedTrainer."""
        return self.table.difference(features, before)


class Table:
    """Weights of a model of family fm, each followed by its optimizer state.

    bias: float32 (1 + slots,). linear: float32 (d, 1 + slots). factors: float32 (d, (1 + slots) width), on cache lines,
    where width is num_factors rounded up to LANES; the padding starts and stays 0. An optimizer that keeps a slot once
    for all factors has it in another column of linear, and none in factors. The last `evidence` columns of linear are
    the rows and the variance of each feature, where penalties go by rows. threads: for take, put, add and difference.
    """

    def __init__(self, model: Model, threads: int = 1) -> None:
        self._num_factors, self._threads = model.num_factors, threads
        self._slots = optimizer_of(model.hyperparameters).slots
        self._rowwise = any(slot.per_row for slot in self._slots)
        parts = 1 + len(self._slots)
        self.width = -(-model.num_factors // LANES) * LANES
        self.bias = np.zeros(parts, np.float32)
        self.evidence = len(EVIDENCE) if model.hyperparameters.penalty == "rows" else 0
        columns = (2 * parts - 1 if self._rowwise else parts) + self.evidence
        self.linear = np.zeros((model.feature_dim, columns), np.float32)
        self.factors = aligned_zeros(model.feature_dim, self.width if self._rowwise else parts * self.width)
        self._exchange(model, np.copyto)

    def take(self, features: np.ndarray) -> np.ndarray:
        """Return all that belongs to some features (int32): float32 (features, row size), without padding."""
        parts = self.factors.shape[1] // self.width
        rows = np.empty((len(features), self.linear.shape[1] + parts * self._num_factors), np.float32)
        self._move("take", features, rows)
        return rows

    def put(self, features: np.ndarray, rows: np.ndarray) -> None:
        """Replace the rows of some features, each named once, by such as `take` returns."""
        self._move("put", features, rows)

    def add(self, features: np.ndarray, rows: np.ndarray) -> None:
        """Add such rows to those of some features, each named once."""
        self._move("add", features, rows)

    def difference(self, features: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return what `take` returns, less such rows."""
        rows = np.empty_like(before)
        self._move("less", features, rows, before)
        return rows

    def _move(self, how: str, features: np.ndarray, rows: np.ndarray, before: np.ndarray | None = None) -> None:
        move(
            how,
            features,
            rows,
            self.linear,
            self.factors,
            width=self.width,
            k=self._num_factors,
            threads=self._threads,
            before=before,
        )

    def model(self, like: Model) -> Model:
        """Return a Model with copies of what is here, otherwise like the given one."""
        state: dict[str, np.ndarray] = {
            name: np.empty(spec.shape, spec.dtype) for name, spec in like.state_table().items()
        }
        weights = {name: np.empty_like(array) for name, array in like.weights.items()}
        model = Model(like.hyperparameters, weights, state, dict(like.info))
        self._exchange(model, lambda mine, theirs: np.copyto(theirs, mine))
        return model

    def _exchange(self, model: Model, copy: Callable[[np.ndarray, np.ndarray], None]) -> None:
        """Call copy(mine, theirs) for each array of the model and the view of this table that holds it."""
        for part, slot in enumerate((None, *self._slots)):
            views = {
                "bias": self.bias[part : part + 1],
                "linear": self.linear[:, part],
                "factors": self._factors(part, model.num_factors),
            }
            for group, mine in views.items():
                theirs = model.weights[group] if slot is None else model.state.get(slot_name(slot, group))
                if theirs is not None:  # a model without state starts with none
                    copy(mine, theirs)
        for column, name in enumerate(EVIDENCE[: self.evidence], self.linear.shape[1] - self.evidence):
            if (theirs := model.state.get(name)) is not None:
                copy(self.linear[:, column], theirs)

    def _factors(self, part: int, num_factors: int) -> np.ndarray:
        """Return the factors, which are part 0, or the slot of their state that is part 1 or 2."""
        if part and self._rowwise:
            column = len(self._slots) + part
            return self.linear[:, column : column + 1]
        return self.factors[:, part * self.width : part * self.width + num_factors]

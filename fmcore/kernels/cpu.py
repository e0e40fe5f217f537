"""The fast backend: kernels over parameters laid out so that one memory access fetches everything of a feature."""

import os
from contextlib import nullcontext
from importlib import import_module
from types import SimpleNamespace

import numpy as np

from fmcore.errors import UsageError
from fmcore.hyper.params import GROUPS
from fmcore.kernels import blas
from fmcore.kernels._exchange import move
from fmcore.kernels._features import level_3
from fmcore.kernels.pace import Pace
from fmcore.kernels.prepared import Cells, aligned_zeros, prepared
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import slot_name, updates_in, updates_state

LANES = 8  # as in lanes.h: factors are padded to a multiple of it while training
BUILDS = ("v3", "baseline")  # best first
FIXED = 0  # as in optimizers.h: the number that stands for an optimizer that changes no weight
TEAM_WORK = 2000  # multiplications of a mini-batch; with fewer, a second thread is not worth a trial


def choose_build():
    """Return the best build that this processor runs, or the one that FMKIT_KERNELS names.

    Raises UsageError where FMKIT_KERNELS names a build that this processor does not run.
    """
    wanted = os.environ.get("FMKIT_KERNELS")
    runs = [build for build in BUILDS if build == "baseline" or level_3()]
    if wanted and wanted not in runs:
        raise UsageError(f"FMKIT_KERNELS is {wanted!r}; this processor runs {' and '.join(runs)}")
    return wanted or runs[0]


class CpuBackend:
    """The contract of fmcore.kernels over the compiled kernels; the same bits for any number of threads."""

    note = None

    def __init__(self, threads=1):
        self.build = choose_build()
        self.name = f"cpu ({self.build})"
        self.kernels = import_module(f"fmcore.kernels._kernels_{self.build}")
        self.threads = threads if self.kernels.openmp() else 1

    def prepare(self, block):
        """Return the block in the form that the kernels train on; see fmcore.kernels.prepared."""
        return prepared(block, self.kernels, self.threads)

    def score(self, batch, model):
        """Return raw scores, computed directly from the model's arrays, which may be mapped from a file."""
        return self.kernels.score(
            batch, model.bias, model.linear.reshape(-1, 1), model.factors, model.num_factors, self.threads
        )

    def trainer(self, model):
        """Return a trainer that starts from a copy of the model."""
        return CpuTrainer(self, model)


class CpuTrainer:
    """Parameters in training.

    table: a Table of them, which may be changed between two passes. updates: mini-batches trained so far.
    """

    def __init__(self, backend, model):
        self._backend, self._model = backend, model
        self._optimizer = optimizer_of(model.hyperparameters)
        self.table = Table(model, backend.threads)
        self._settings, self.updates = settings(model.hyperparameters), updates_in(self._optimizer, model.state)
        self._pace = Pace(backend.threads)

    def train(self, block, order, lr=1.0):
        """Train on a block's mini-batches once; see fmcore.kernels."""
        rows, work = len(block.batch), block.groups.size * self.table.width / (len(block.starts) - 1)
        outputs = np.empty(rows, np.float32), np.empty(rows, np.float32)  # raw scores, weighted losses
        dense = isinstance(block.groups, Cells)

        def train(part, threads):
            self._backend.kernels.train(
                block,
                part,
                self.table,
                self._settings(lr, self.updates),
                threads,
                outputs,
                blas.sgemm() if dense else None,
            )
            self.updates += len(part)

        with blas.one_thread() if dense else nullcontext():
            if work > TEAM_WORK:
                self._pace.train(train, order)
            else:
                train(order, 1)
        return outputs

    def score(self, batch):
        """Return raw scores, to the bit those of `CpuBackend.score` for the snapshot; see fmcore.kernels."""
        table = self.table
        return self._backend.kernels.score(
            batch, table.bias, table.linear, table.factors, self._model.num_factors, self._backend.threads
        )

    def snapshot(self):
        """Return a copy of the model as it is; see fmcore.kernels."""
        model = self.table.model(self._model)
        model.state.update(updates_state(self._optimizer, self.updates))
        return model


class Table:
    """Weights of a model of family fm, each followed by its optimizer state.

    bias: float32 (1 + slots,). linear: float32 (d, 1 + slots). factors: float32 (d, (1 + slots) width), on cache lines,
    where width is num_factors rounded up to LANES; the padding starts and stays 0. An optimizer that keeps a slot once
    for all factors has it in another column of linear, and none in factors. threads: for take, put, add and less.
    """

    def __init__(self, model, threads=1):
        self._num_factors, self._threads = model.num_factors, threads
        self._slots = optimizer_of(model.hyperparameters).slots
        self._rowwise = any(slot.per_row for slot in self._slots)
        parts = 1 + len(self._slots)
        self.width = -(-model.num_factors // LANES) * LANES
        self.bias = np.zeros(parts, np.float32)
        self.linear = np.zeros((model.feature_dim, 2 * parts - 1 if self._rowwise else parts), np.float32)
        self.factors = aligned_zeros(model.feature_dim, self.width if self._rowwise else parts * self.width)
        self._exchange(model, np.copyto)

    def take(self, features):
        """Return everything of some features (int32 array): float32 (features, row size), without their padding."""
        parts = self.factors.shape[1] // self.width
        rows = np.empty((len(features), self.linear.shape[1] + parts * self._num_factors), np.float32)
        self._move("take", features, rows)
        return rows

    def put(self, features, rows):
        """Set some features, each named once, to rows that `take` has returned."""
        self._move("put", features, rows)

    def add(self, features, rows):
        """Add rows of that form to some features, each named once."""
        self._move("add", features, rows)

    def less(self, features, before):
        """Return what `take` returns minus rows of that form."""
        rows = np.empty_like(before)
        self._move("less", features, rows, before)
        return rows

    def _move(self, how, features, rows, before=None):
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

    def model(self, like):
        """Return a Model with copies of these weights and state, otherwise like the given one."""
        state = {name: np.empty(spec.shape, spec.dtype) for name, spec in like.state_table().items()}
        weights = {name: np.empty_like(array) for name, array in like.weights.items()}
        model = Model(like.hyperparameters, weights, state, dict(like.info))
        self._exchange(model, lambda mine, theirs: np.copyto(theirs, mine))
        return model

    def _exchange(self, model, copy):
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

    def _factors(self, part, num_factors):
        """Return the factors, which are part 0, or the slot of their state that is part 1 or 2."""
        if part and self._rowwise:
            column = len(self._slots) + part
            return self.linear[:, column : column + 1]
        return self.factors[:, part * self.width : part * self.width + num_factors]


def settings(hyperparameters):
    """Return a function from the learning rates' factor and the updates so far to the settings that the kernels read.

    Raises ValueError where the kernels have no case for these hyperparameters; see fmcore.kernels.backend_of.
    """
    h, optimizer, objective = hyperparameters, optimizer_of(hyperparameters), objective_of(hyperparameters).kernel
    if objective is None or optimizer.kernel is None:
        raise ValueError(f"the kernels have no case for predictor_type {h.predictor_type} with {h.optimizer}")
    kernels = dict.fromkeys(GROUPS, optimizer.kernel)
    kernels["factors"] = optimizer.factors_kernel or optimizer.kernel

    def at(lr, updates):
        rules = {g: kernels[g] if h.uses(g) else FIXED for g in GROUPS}
        groups = {g: (rule, lr * getattr(h, f"{g}_lr"), getattr(h, f"{g}_wd")) for g, rule in rules.items()}
        return SimpleNamespace(
            **groups,
            clip=np.inf if h.clip_gradient is None else h.clip_gradient,
            eps=h.eps,
            share=1 / h.num_factors,
            rescale=h.rescale_grad or 0,
            objective=objective,
            updates=updates,
        )

    return at

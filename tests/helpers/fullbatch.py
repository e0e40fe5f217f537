"""A solver that a program may register: descent with momentum over all rows at once, which it holds by column as well.

It differs from gradient descent over mini-batches: one step a sweep, rows kept as a whole, a state of its own, and no
learning rate per group, feature scaling or mini-batches.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from fmcore.errors import DataError
from fmcore.hyper.solvers import SOLVERS, SolverEntry
from fmcore.kernels.reference import matrix
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.optimizers.state import Spec
from fmcore.rows.batch import concatenate
from fmcore.rows.held import HeldRows
from fmcore.rows.scaling import Scaling
from fmcore.rows.sums import LabelSums
from fmcore.solvers.epoch import Progress

MOMENTUM = 0.9


def state(hyperparameters, family, feature_dim):
    """Return the table of its state: a velocity for each tensor, and how many sweeps were made."""
    table = {
        f"velocity.{tensor.name}": Spec(
            tensor.shape(hyperparameters, feature_dim), np.float32, per_feature=tensor.per_feature
        )
        for tensor in family.tensors
    }
    return {**table, "sweeps": Spec((1,), np.int64, least=0)}


class FullBatch:
    """Full-batch descent; see fmcore.solvers.Solver."""

    name, note, threads, workers, unit = "all rows at once", "one step a sweep", 1, 1, "mini-batches"

    def __init__(self, task, batch, feature_dim):
        self._h, self._objective, self._batch = task.hyperparameters, objective_of(task.hyperparameters), batch
        labels = LabelSums()
        labels.add(batch)
        self.placed = SimpleNamespace(
            rows=len(batch),
            non_zeros=len(batch.indices),
            feature_dim=feature_dim,
            mean_label=labels.mean,
            mini_batch_size=len(batch),
            scaling=Scaling(),
            evidence=None,
            take_sample=list,
            in_memory=True,
            complete=True,
            memory=2 * batch.nbytes,
        )
        self._columns = matrix(batch, feature_dim).tocsc()
        self.tested = task.test is not None
        self._test = HeldRows(task.test, self._objective, feature_dim, 1 << 30) if self.tested else None

    @classmethod
    @contextmanager
    def place(cls, task, resources, observer, *, previous=None, checkpoint=None):
        with task.rows.named():
            h, known = task.hyperparameters, task.initial_model and task.initial_model.feature_dim
            batch = concatenate(list(task.rows.read(objective_of(h), h.feature_dim)))
            if not len(batch):
                raise DataError("no rows to train on")
            yield cls(task, batch, task.rows.complete(batch.feature_dim, h.feature_dim, known))

    def fits(self, task):
        return False

    def begin(self, model):
        self._like = model
        self._weights = {name: array.astype(float) for name, array in model.weights.items()}
        self._velocity = {
            name: np.array(model.state.get(f"velocity.{name}", np.zeros(array.shape)), float)
            for name, array in model.weights.items()
        }
        self._sweeps = int(model.state.get("sweeps", [0])[0])

    def position(self, epoch, rows):
        return Progress()

    def sweep(self, epoch, progress, pause):
        batch, family, X = self._batch, self._like.family, self._columns.tocsr()
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(float)
        scores = family.score(X, self._weights)
        outer = weights * self._objective.gradient(np, scores, batch.labels.astype(float)) / weights.sum()
        for name, gradient in family.gradient(X, self._weights, outer).items():
            self._velocity[name] = MOMENTUM * self._velocity[name] - epoch.lr * self._h.linear_lr * gradient
            self._weights[name] += self._velocity[name]
        progress.rows, progress.weight = len(batch), weights.sum()
        progress.loss = float(weights @ self._objective.loss(np, scores, batch.labels.astype(float)))
        self._sweeps += 1
        return True

    def score(self, batch):
        return self._like.family.score(matrix(batch, self.placed.feature_dim), self._weights).astype(np.float32)

    def judge(self):
        return ((self.score(batch), batch.labels, batch.weights) for batch in self._test.batches())

    def snapshot(self):
        kept = {f"velocity.{name}": array.astype(np.float32) for name, array in self._velocity.items()}
        kept["sweeps"] = np.array([self._sweeps], np.int64)
        weights = {name: array.astype(np.float32) for name, array in self._weights.items()}
        return Model(self._like.hyperparameters, weights, state=kept, info=dict(self._like.info))

    @staticmethod
    def memory(hyperparameters, feature_dim):
        return 16 * feature_dim * (1 + hyperparameters.num_factors)


def register():
    """Make this solver a choice of the hyperparameter `solver` in this process."""
    SOLVERS["full"] = SolverEntry(FullBatch, state)

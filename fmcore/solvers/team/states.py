"""The parameters of one worker: a replica of all, or a shard of them and what a round needs of the others' shards.

Both let a round train with `trainer`, on blocks and batches as `block` and `batch` make them, and then give the
`deltas` of it.
"""

from dataclasses import replace

import numpy as np

from fmcore.families.contract import per_feature
from fmcore.kernels._exchange import renumber
from fmcore.kernels.prepared import Cells
from fmcore.model.model import Model
from fmcore.solvers.team import deltas
from fmcore.solvers.team.deltas import Delta


class Replica:
    """All parameters, and those that the round under way may move as they were before.

    workers: how many there are, who own the features in turn.
    """

    def __init__(self, backend, model, workers):
        self.trainer, self._workers = backend.trainer(model), workers
        self._features = None

    def begin(self, features):
        """Begin a round that moves no other features (int32, rising) than these."""
        table = self.trainer.table
        self._features = deltas.by_owner(features, self._workers)
        self._rows = [table.take(own) for own in self._features]
        self._bias, self._updates = table.bias.copy(), self.trainer.updates

    def deltas(self):
        """What the round has moved so far, a Delta of each owner's features."""
        table, updates = self.trainer.table, self.trainer.updates - self._updates
        return [
            Delta(own, table.less(own, rows), table.bias - self._bias, updates)
            for own, rows in zip(self._features, self._rows, strict=True)
        ]

    def rewind(self):
        """Undo the round, bit by bit, if one is under way."""
        if self._features is not None:
            for own, rows in zip(self._features, self._rows, strict=True):
                self.trainer.table.put(own, rows)
            self.trainer.table.bias[:] = self._bias
            self.trainer.updates = self._updates
            self._features = None

    def take_in(self, merged):
        """As an owner: nothing, for all workers apply what is brought together."""

    def apply(self, merged):
        """Move all features by what the owners have brought together (list of Delta) in place of what was trained."""
        self.rewind()
        table = self.trainer.table
        for delta in merged:
            table.add(delta.features, delta.rows)
        table.bias += merged[0].bias
        self.trainer.updates += merged[0].updates

    def batch(self, batch):
        """A Batch as the trainer wants it."""
        return batch

    def block(self, part):
        """The prepared Block of a Part as the trainer wants it."""
        return part.block

    def model(self):
        """A Model of what is held."""
        return self.trainer.snapshot()


class Shard:
    """The features that this worker owns, and in a round a small model of those that its mini-batches hold.

    model: of the owned features alone, in their order. worker, workers: this one's number, and how many there are.
    """

    def __init__(self, backend, model, workers, feature_dim):
        self._backend, self._like, self._workers = backend, model, workers
        self._own = backend.trainer(model)
        self._places = np.zeros(feature_dim, np.int32)  # of each feature in the small model
        self.trainer = self._features = None

    def ask(self, features):
        """The features of each owner whose rows this worker needs, of all that it needs (int32, rising)."""
        self._places[features] = np.arange(len(features), dtype=np.int32)
        self._features = deltas.by_owner(features, self._workers)
        return self._features

    def answer(self, asked):
        """The rows of the owned features that each worker has asked for."""
        return [self._own.table.take(features // self._workers) for features in asked]

    def take(self, answers):
        """Make the small model of what all owners have answered."""
        self._rows, self.trainer = answers, None  # whose memory is free before the next one takes as much
        own, count, like = self._own, sum(map(len, answers)), self._like
        h, tensors = like.hyperparameters, like.family.tensors
        zeros = {tensor.name: np.zeros(tensor.shape(h, count), tensor.dtype) for tensor in tensors}
        self.trainer = self._backend.trainer(Model(h, zeros))
        for features, rows in zip(self._features, answers, strict=True):
            self.trainer.table.put(self._places[features], rows)
        self.trainer.table.bias[:] = own.table.bias
        self.trainer.updates = own.updates

    def begin(self, features):
        """See Replica; the features are those that were asked for."""

    def deltas(self):
        """See Replica."""
        table, own = self.trainer.table, self._own
        bias, updates = table.bias - own.table.bias, self.trainer.updates - own.updates
        return [
            Delta(features, table.less(self._places[features], rows), bias, updates)
            for features, rows in zip(self._features, self._rows, strict=True)
        ]

    def rewind(self):
        """See Replica: what is owned moves at a round's end alone."""

    def take_in(self, merged):
        """As an owner: move what is owned."""
        self._own.table.add(merged.features // self._workers, merged.rows)
        self._own.table.bias += merged.bias
        self._own.updates += merged.updates

    def apply(self, merged):  # noqa: ARG002 - the owners have taken it in
        """See Replica."""
        self.trainer = self._rows = None

    def batch(self, batch):
        """The batch with its features numbered as in the small model, which keeps their order."""
        return replace(batch, indices=self._places[batch.indices])

    def block(self, part):
        """Likewise the mini-batches of a Part; a matrix' columns are the first features, all of them in the model."""
        block, order = part.block, part.order[part.first :]
        if isinstance(block.groups, Cells):
            return block
        threads, batch, groups = self._backend.threads, block.batch, block.groups
        indices = renumber(batch.indptr[block.starts], order, batch.indices, self._places, threads)
        features = renumber(groups.bounds, order, groups.features, self._places, threads)
        return replace(block, batch=replace(batch, indices=indices), groups=groups._replace(features=features))

    def model(self):
        """See Replica."""
        return self._own.snapshot()


def owned(model, worker, workers):
    """The Model of the features that a worker owns."""
    mine = slice(worker, None, workers)
    split = _per_feature(model)
    weights, state = (
        {name: array[mine] if name in split else array for name, array in arrays.items()}
        for arrays in (model.weights, model.state)
    )
    return Model(model.hyperparameters, weights, state, model.info)


def own(model):
    """The Model with arrays that can be written to, which what an engine brings may not be."""
    weights, state = (
        {name: np.require(array, None, "W") for name, array in arrays.items()}
        for arrays in (model.weights, model.state)
    )
    return Model(model.hyperparameters, weights, state, model.info)


def whole(models, feature_dim):
    """The Model of all features, given those that the workers own, in worker order."""
    first = models[0]
    split = _per_feature(first)

    def join(name, arrays):
        if name not in split:
            return arrays[0].copy()
        joint = np.empty((feature_dim, *arrays[0].shape[1:]), arrays[0].dtype)
        for worker, array in enumerate(arrays):
            joint[worker :: len(arrays)] = array
        return joint

    weights = {name: join(name, [model.weights[name] for model in models]) for name in first.weights}
    state = {name: join(name, [model.state[name] for model in models]) for name in first.state}
    return Model(first.hyperparameters, weights, state, first.info)


def _per_feature(model):
    """Names of the arrays of weights and state that have a row per feature."""
    names = {tensor.name for tensor in per_feature(model.family)}
    return names | {name for name, spec in model.state_table().items() if spec.per_feature}

"""The contract of fmcore.kernels over PyTorch: dense rows as matrices, on one device."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np

from fmcore.families import require_fm
from fmcore.kernels.prepared import without_features
from fmcore.kernels.pytorch import graphs, places
from fmcore.kernels.pytorch.host import host_rows
from fmcore.kernels.pytorch.library import full_precision, out_of_memory, torch
from fmcore.kernels.pytorch.rows import Fed, require_dense, sparse
from fmcore.kernels.pytorch.steps import Steps, rate_factors, raw_scores
from fmcore.kernels.pytorch.table import FLOAT, DeviceTable, require_memory, width
from fmcore.kernels.row_rule import row_rule
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import TOTALS, updates_in, updates_state


class TorchBackend:
    """Training and scoring on one device; equal to the other backends within the rounding of float32."""

    note: str | None = None

    def __init__(self, name, threads=1):
        self.device, self._name, self.threads = places.found(name), name, threads
        self.name = places.title(self.device)
        if self.device.type == "cpu":
            torch.set_num_threads(threads)

    def refusal(self, rows, columns, non_zeros):
        """Return why it does not train such rows, as a clause; None where it does."""
        return sparse(rows, columns, non_zeros)

    def prepare(self, block, whole_block=None):
        """Return the block with its rows ready for the device; see fmcore.kernels.

        whole_block: the WholeBlock where the block is a part of a larger one.
        """
        if whole_block is None:
            require_dense(block.batch, self._name)
        fed = Fed(self._name, host_rows(block, whole_block))
        whole = len(block.starts) - 1 if self.device.type == "cuda" else block.slice_size
        return replace(block, batch=without_features(block.batch), groups=fed, slice_size=whole)

    def score(self, batch, model):
        """Return raw scores; see fmcore.kernels."""
        return TorchTrainer(self, model).score(batch)

    def trainer(self, model):
        """Return a trainer that starts from a copy of the model."""
        return TorchTrainer(self, model)


class TorchTrainer:
    """Parameters in training. peers: the DeviceProcess that reaches the others that train them; None for one alone."""

    def __init__(self, backend, model, peers=None):
        self._device, self._h, self._peers = backend.device, model.hyperparameters, peers
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._rule = row_rule(model)
        require_fm(self._h, "devices of PyTorch")
        require_memory(model, self._device)
        with self._at_work():
            self._table = DeviceTable(model, self._device)
            self._steps = Steps(self._table, self._h, self._rule, peers and peers.add)
            self._graphs = graphs.Graphs(self._steps) if self._stream and peers is None else None
        self._updates, self._fit = updates_in(optimizer_of(self._h), model.state), set()

    def train(self, block, order, lr=1.0, fall=0.0):
        """Train on a block's mini-batches once; see fmcore.kernels. Waits for the device once, at the end."""
        with self._at_work():
            matrix = block.groups.fetch()
            self._require_room(matrix)
            if self._peers is not None:
                self._peers.complete(matrix)
            elif matrix.columns < self._table.rows:  # the padding columns may be features that other blocks hold
                matrix.mark()
            by_row = matrix.by_row(self._steps.rescale, canonical=self._steps.canonical)
            outputs = torch.zeros(2, len(matrix.labels), device=self._device)  # raw scores, weighted losses
            factors = rate_factors(self._h, self._updates, matrix.sizes[order], lr, fall)
            if self._graphs is not None and graphs.most(matrix):
                self._train_runs(matrix, by_row, order, factors, outputs[0])
            else:
                for step in range(len(order)):
                    self._train_one(matrix, by_row, order, factors, outputs[0], step)
            self._updates += len(order)
            outputs[1] = objective_of(self._h).loss(torch, outputs[0], matrix.labels).mul_(matrix.weights)
            return tuple(outputs.cpu().numpy())

    def count(self, counts):
        """Add rows to those that are known of each feature; see fmcore.kernels."""
        if self._rule is not None:
            self._rule = self._rule._replace(rows=self._rule.rows + counts.total)
            with self._at_work():
                self._table.count(counts, self._rule.rows)

    def score(self, batch):
        """Return raw scores; see fmcore.kernels."""
        with self._at_work():
            return raw_scores(self._table, batch, self._device).cpu().numpy()

    def snapshot(self):
        """Return a copy of the model as it is, on the host; see fmcore.kernels."""
        with self._at_work():
            model = self._table.model()
        if self._rule is not None:
            model.state[TOTALS] = self._rule.totals()
        model.state.update(updates_state(optimizer_of(self._h), self._updates))
        return model

    def _require_room(self, matrix):
        """Raise ResourceError where mini-batches of a new shape do not fit on the device beside everything else."""
        rows, columns = shape = matrix.size, matrix.cells.shape[1]
        if shape not in self._fit:
            kept = 2 * graphs.most(matrix) if self._graphs is not None else 0
            more = 1 if self._rule is None else 3
            needed = FLOAT * rows * ((kept + more) * columns + (2 + more) * width(self._h.num_factors))
            places.require(
                self._device,
                needed,
                f"a mini-batch of {rows:,} rows",
                "take a smaller --mini-batch-size, or --device cpu",
            )
            self._fit.add(shape)

    def _train_one(self, matrix, by_row, order, factors, scores, step):
        mini_batch, rows = matrix.mini_batch(int(order[step]), by_row)
        self._steps(mini_batch, float(factors[step]), scores[rows])

    def _train_runs(self, matrix, by_row, order, factors, scores):
        """Train the mini-batches of full size by graphs; the smaller one, where it is among them, by itself."""
        device_order = torch.tensor(order, device=self._device)
        device_factors = torch.tensor(factors, device=self._device)
        for begin, end in spans(order, matrix.full):
            if order[begin] >= matrix.full:
                self._train_one(matrix, by_row, order, factors, scores, begin)
            else:
                self._graphs.train(matrix, by_row, device_order[begin:end], device_factors[begin:end], scores)

    @contextmanager
    def _at_work(self):
        stream = torch.cuda.stream(self._stream) if self._stream else nullcontext()
        with torch.no_grad(), full_precision(), out_of_memory(self._device), stream:
            yield


def spans(order, full):
    """Return the (begin, end) of pieces that make up `order`: each number that is `full` or more is a piece by itself.

    Others are together where they stand side by side.
    """
    cuts = np.flatnonzero(order >= full)
    edges = np.unique(np.concatenate([[0], cuts, cuts + 1, [len(order)]]))
    return zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)

"""CUDA graphs for small mini-batches: the many short kernels of a step take longer to launch than to compute."""

from fmcore.kernels.pytorch.library import torch
from fmcore.kernels.pytorch.steps import MiniBatch

CELLS = 1 << 24  # most in the mini-batches of a run; where one alone has more, its kernels are not short
MOST = 32  # mini-batches in a run


def most(matrix):
    """Return how many mini-batches of a Matrix a run may have; 0 where they are large."""
    return min(MOST, CELLS // max(1, matrix.size * matrix.cells.shape[1]))


class Graphs:
    """Training of mini-batches by `steps` (a Steps), a run at a time, each run copied to the same fixed memory.

    Each position in a run has a graph of its own, so any number of mini-batches can be a run.
    """

    def __init__(self, steps):
        self._steps, self._kinds = steps, {}

    def train(self, matrix, by_row, order, factors, scores):
        """Train mini-batches of one size; order: int64 (n,) and factors: float32 (n,), on the device.

        by_row: targets and shares, as in MiniBatch, of all rows. factors: as Steps takes them. scores: float32 (rows,),
        is written.
        """
        kind = (matrix.size, matrix.cells.shape[1], matrix.present is None)
        if kind not in self._kinds:
            self._kinds[kind] = Places(matrix, most(matrix))
        kept, whole = self._kinds[kind], matrix.full * matrix.size
        views = [
            array[:whole].view(matrix.full, matrix.size, *array.shape[1:]) for array in (matrix.cells, *by_row, scores)
        ]
        for begin in range(0, len(order), kept.most):
            chosen = order[begin : begin + kept.most]
            kept.fill(views[:3], matrix.present, chosen)
            kept.factors[: len(chosen)].copy_(factors[begin : begin + kept.most])
            for place in range(len(chosen)):
                self._train_at(kept, place, kept.factors[place])
            views[3].index_copy_(0, chosen, kept.scores[: len(chosen)])

    def _train_at(self, kept, place, factor):
        """Train the mini-batch at a position of the run.

        The very first one is trained without a graph, which initializes the library; others by a graph, captured once.
        """
        arguments = kept.mini_batch(place), factor, kept.scores[place]
        if not kept.ready:
            kept.ready = True
            self._steps(*arguments)
            return
        if place not in kept.graphs:
            kept.graphs[place] = graph = torch.cuda.CUDAGraph()
            graph.capture_begin(kept.pool, capture_error_mode="thread_local")
            self._steps(*arguments)
            graph.capture_end()
            kept.pool = graph.pool()
        kept.graphs[place].replay()


class Places:
    """The memory that graphs over mini-batches of one shape read and write, and the graphs by their position in it."""

    def __init__(self, matrix, number):
        rows, columns, device = matrix.size, matrix.cells.shape[1], matrix.cells.device
        self.most, self.graphs, self.pool, self.ready = number, {}, None, False
        self.factors = torch.empty(number, device=device)
        self.scores, self._targets, self._shares = (torch.empty(number, rows, device=device) for _ in range(3))
        self._cells, self._squares = (torch.empty(number, rows, columns, device=device) for _ in range(2))
        self._present = None if matrix.present is None else torch.empty(number, columns, device=device)

    def fill(self, views, present, order):
        """Copy the mini-batches of `order` here; views: of cells, targets and shares by mini-batch."""
        count = len(order)
        for view, kept in zip(views, (self._cells, self._targets, self._shares), strict=True):
            torch.index_select(view, 0, order, out=kept[:count])
        torch.square(self._cells[:count], out=self._squares[:count])
        if present is not None:
            torch.index_select(present, 0, order, out=self._present[:count])

    def mini_batch(self, place):
        """Return the MiniBatch at a position."""
        present = None if self._present is None else self._present[place][:, None]
        return MiniBatch(self._cells[place], self._squares[place], self._targets[place], self._shares[place], present)

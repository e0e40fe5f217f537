"""Runs of small mini-batches as CUDA graphs: a step's twenty short kernels take longer to launch than to compute."""
from fmcore.backends.pytorch.library import torch
from fmcore.backends.pytorch.steps import Run

CELLS = 1 << 24  # of the mini-batches of a run; where one alone has more, its kernels are not short
MOST = 32  # mini-batches of a run


def most(matrix):
    """How many mini-batches of a Matrix one graph is to train, a power of two; 0 where they are large."""
    runs = min(MOST, CELLS // max(1, matrix.size * matrix.cells.shape[1]))
    return 1 << runs.bit_length() - 1 if runs else 0


def pieces(count, largest):
    """`count` as a sum of powers of two up to the largest one: so few graphs serve any number of mini-batches."""
    while count:
        largest = min(largest, 1 << count.bit_length() - 1)
        yield largest
        count -= largest


class Graphs:
    """Trains runs by `steps` (a Steps), over memory that stays where it is. All in one stream."""

    def __init__(self, steps):
        self._steps, self._kinds, self._pool = steps, {}, None

    def train(self, matrix, shares, turns, factors, scores):
        """Train mini-batches of one size; turns: int64 (n,) and factors: float32 (n,) on the device.

        scores: float32 (rows,), is written.
        """
        kind = (matrix.size, matrix.columns, matrix.cells.shape[1], matrix.present is None)
        if kind not in self._kinds:
            self._kinds[kind] = Kind(matrix, most(matrix))
        kept, whole = self._kinds[kind], matrix.full * matrix.size
        sources = (matrix.cells, matrix.labels, shares)
        views = [array[:whole].view(matrix.full, matrix.size, *array.shape[1:]) for array in sources]
        begin = 0
        for count in pieces(len(turns), kept.most):
            chosen = turns[begin:begin + count]
            kept.fill(views, matrix.present, chosen)
            kept.factors[:count].copy_(factors[begin:begin + count])
            self._run(kept, count)
            scores[:whole].view(matrix.full, matrix.size).index_copy_(0, chosen, kept.scores[:count])
            begin += count

    def _run(self, kept, count):
        """The first run of its length is trained plainly, which also gets the library ready; the next is captured."""
        arguments = kept.run(count), kept.factors[:count], kept.scores[:count]
        if count not in kept.graphs:
            kept.graphs[count] = None
            self._steps(*arguments)
            return
        if kept.graphs[count] is None:
            graph = torch.cuda.CUDAGraph()
            stream = torch.cuda.current_stream()
            with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
                self._steps(*arguments)
            kept.graphs[count], self._pool = graph, graph.pool()
        kept.graphs[count].replay()


class Kind:
    """The memory that graphs over mini-batches of one shape read and write, and the graphs by their length."""

    def __init__(self, matrix, largest):
        rows, device = matrix.size, matrix.cells.device
        self.most, self.graphs, self._columns = largest, {}, matrix.columns
        self.factors = torch.empty(largest, device=device)
        self.scores, self._labels, self._shares = (torch.empty(largest, rows, device=device) for _ in range(3))
        shape = (largest, rows, matrix.cells.shape[1])
        self._cells, self._squares = torch.empty(shape, device=device), torch.empty(shape, device=device)
        self._present = None if matrix.present is None else torch.empty(largest, matrix.columns, device=device)

    def fill(self, views, present, turns):
        """Bring the chosen mini-batches here; views: of cells, labels and shares by mini-batch."""
        count = len(turns)
        for view, kept in zip(views, (self._cells, self._labels, self._shares), strict=True):
            torch.index_select(view, 0, turns, out=kept[:count])
        torch.square(self._cells[:count], out=self._squares[:count])
        if present is not None:
            torch.index_select(present, 0, turns, out=self._present[:count])

    def run(self, count):
        """The Run of the first so many."""
        return Run(self._cells[:count, :, :self._columns], self._squares[:count, :, :self._columns],
                   self._labels[:count], self._shares[:count], None if self._present is None else self._present[:count])

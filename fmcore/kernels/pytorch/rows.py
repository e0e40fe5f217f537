"""A block's rows as a matrix on a device, and how they get onto it: from pinned memory, prefetched while training."""

from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary, ref

import numpy as np

from fmcore.errors import UsageError
from fmcore.kernels.pytorch import places
from fmcore.kernels.pytorch.library import out_of_memory, torch
from fmcore.kernels.pytorch.steps import MiniBatch
from fmcore.kernels.pytorch.table import padded

SPARE = 0.25  # share of a device's memory that blocks that stay on it leave free
SPARSE = 16  # at least one of so many cells must be a non-zero
ADVICE = "use fewer columns, or --device cpu"


@dataclass
class Matrix:
    """A block's rows on a device.

    cells: float32 (rows, stride), the first column 1 for the bias, then the columns, then zeros. columns: how many
    these are, the first one included. labels, weights, means: float32 (rows,). present: float32 (mini-batches, stride),
    1 where a mini-batch holds what a column stands for, else 0; None where all hold all columns.
    ready: the event after which all of it is on the device, None where it is already. starts, sizes: as in Host.
    complete: whether `present` is of whole mini-batches, where the rows are parts of them.
    """

    cells: torch.Tensor
    columns: int
    labels: torch.Tensor
    weights: torch.Tensor
    means: torch.Tensor
    present: torch.Tensor | None
    starts: np.ndarray
    sizes: np.ndarray
    ready: object = None
    complete: bool = False

    @property
    def size(self):
        """Return the number of rows of each mini-batch but the last, which may have fewer."""
        return int(self.starts[1])

    @property
    def full(self):
        """Return how many of the first mini-batches have `size` rows."""
        count = len(self.starts) - 1
        return count - (int(self.starts[-1] - self.starts[-2]) != self.size)

    def by_row(self, rescale, *, canonical):
        """Return targets and shares, as in MiniBatch, of all rows; rescale, canonical: as in Steps."""
        shares = self.weights * (rescale or self.means)
        return -shares * self.labels if canonical else self.labels, shares

    def mark(self):
        """Write out `present` where it is None because all mini-batches hold all columns."""
        if self.present is None:
            self.present = torch.zeros(len(self.starts) - 1, self.cells.shape[1], device=self.cells.device)
            self.present[:, : self.columns] = 1

    def mini_batch(self, number, by_row):
        """Return a MiniBatch and its rows (a slice), given `by_row`."""
        rows = slice(int(self.starts[number]), int(self.starts[number + 1]))
        cells, present = self.cells[rows], None if self.present is None else self.present[number][:, None]
        return MiniBatch(cells, cells.square(), *(array[rows] for array in by_row), present), rows


def sparse(rows, columns, non_zeros):
    """Return a clause to report that rows have too few non-zeros for a matrix; None where they have enough."""
    if SPARSE * non_zeros >= rows * columns:
        return None
    return (
        f"the rows are sparse: {non_zeros / rows / columns:.2%} of {rows:,} rows x {columns:,} columns are "
        f"non-zeros, fewer than {1 / SPARSE:.2%}"
    )


def require_dense(batch, name):
    """Raise UsageError where a Batch is sparse."""
    if why := sparse(len(batch), batch.feature_dim, len(batch.indices)):
        raise UsageError(f"device {name} cannot be used, because {why}; train them with --device cpu")


class Fed:
    """A prepared block's `groups`: its rows on the host, and on the device once they are fetched or where they stay.

    A pickle of it holds the rows alone; they are copied to the device again where it is loaded.
    """

    def __init__(self, name, host):
        self._name, self._feeder = name, feeder(name)
        self.host, self.matrix = self._feeder.pinned(host), None
        self._feeder.admit(self)

    def __reduce__(self):
        return Fed, (self._name, self.host)

    def fetch(self):
        """Return the Matrix; the device, not the caller, waits for a copy that was prefetched."""
        matrix = self.matrix or self._feeder.fetch(self)
        if matrix.ready is not None:
            torch.cuda.current_stream(matrix.cells.device).wait_event(matrix.ready)
        return matrix


class Feeder:
    """A copier of rows to a device, in a stream of its own, usable from any thread.

    A block that leaves SPARE of the device's memory free stays on the device. Further blocks are copied each time they
    are trained, the next one while one is trained.
    """

    def __init__(self, device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._beyond, self._here = [], WeakKeyDictionary()

    def pinned(self, host):
        """Return the same rows in memory that a GPU copies from while the processor continues."""
        if self._stream is None:
            return host
        return host._replace(
            **{
                name: torch.from_numpy(array).pin_memory().numpy()
                for name, array in host._asdict().items()
                if isinstance(array, np.ndarray) and name not in ("starts", "sizes") and array.size
            }
        )

    def admit(self, fed):
        """Admit a new block: begin to copy it where it may stay on the device, else note that it is copied later."""
        if self._stays(fed.host):
            fed.matrix = self._copied(fed.host)
        else:
            self._beyond = [*(kept for kept in self._beyond if kept() is not None), ref(fed)]

    def fetch(self, fed):
        """Return the Matrix of a block that does not stay, and begin to copy the one after it."""
        blocks = [kept() for kept in self._beyond]
        following = blocks[(blocks.index(fed) + 1) % len(blocks)] or fed
        self._here = WeakKeyDictionary({block: self._here[block] for block in (fed, following) if block in self._here})
        for block in (fed, following):
            fits = block is fed or block.host.device_bytes <= places.free(self._device)
            if block not in self._here and fits:
                self._here[block] = self._copied(block.host)
        return self._here[fed]

    def _stays(self, host):
        total = torch.cuda.get_device_properties(self._device).total_memory if self._stream else 0
        return host.device_bytes <= places.free(self._device) - SPARE * total

    def _copied(self, host):
        places.require(self._device, host.device_bytes, f"a block of {len(host.labels):,} rows", ADVICE)
        with out_of_memory(self._device), torch.cuda.stream(self._stream):
            matrix = matrix_of(host, self._device)
            if self._stream is not None:
                matrix.ready = self._stream.record_event()
        return matrix


@cache
def feeder(name):
    """Return the one Feeder of a device."""
    return Feeder(places.found(name))


def matrix_of(host, device):
    """Return the Matrix of a block.

    Raises UsageError where a row holds an index twice, which a matrix cannot keep apart.
    """

    def on_device(array):
        return torch.from_numpy(array).to(device, non_blocking=True)

    rows, columns = len(host.labels), 1 + host.columns
    cells, present = torch.zeros(rows, padded(columns), device=device), None
    if host.indices is None:
        cells[:, 1:columns] = 1 if host.values is None else on_device(host.values).view(rows, host.columns)
    else:
        first = torch.arange(rows, device=device) * cells.shape[1] + 1
        at = torch.repeat_interleave(first, on_device(host.lengths), output_size=len(host.indices))
        at = at + on_device(host.indices)
        cells.view(-1)[at] = 1.0 if host.values is None else on_device(host.values)
        held = torch.zeros(cells.shape, dtype=torch.bool, device=device)
        held.view(-1)[at] = True
        if int(held.sum()) != len(host.indices):
            raise UsageError(
                "a row holds an index twice, which a matrix on a device cannot keep apart; train such "
                "rows with --device cpu"
            )
        held[:, 0] = True
        present = _present(held, host.starts)
    cells[:, 0] = 1
    weights = torch.ones(rows, device=device) if host.weights is None else on_device(host.weights)
    labels, means = on_device(host.labels), on_device(host.means)
    return Matrix(cells, columns, labels, weights, means, present, host.starts, host.sizes)


def _present(held, starts):
    """Return which columns each mini-batch holds, float32 (mini-batches, stride), given those of each row."""
    size, count = int(starts[1]), len(starts) - 1
    whole = held[: size * (count - 1)].view(count - 1, size, held.shape[1]).any(1)
    return torch.cat([whole, held[size * (count - 1) :].any(0, keepdim=True)]).float()

"""Several devices: a process for each, to which this one sends requests without ever waiting for a dead one.

Each process holds all parameters and a part of the rows of each mini-batch. They sum their gradients and take the same
step, so the model is that of one device within rounding. This process trains nothing itself: it notices at once where
one of them has died, and ends the others, even while they wait for each other.
"""

import itertools
import multiprocessing
import signal
import tempfile
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from weakref import finalize

import numpy as np

from fmcore.errors import FMError
from fmcore.kernels.prepared import without_features
from fmcore.kernels.pytorch import places, worker
from fmcore.kernels.pytorch.host import WholeBlock
from fmcore.kernels.pytorch.rows import require_dense
from fmcore.rows.slices import rows_of

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)  # which this process handles, and ends the others
NOTICE = 2.0  # seconds within which the end of a process is seen, after others have failed because of it


class SeveralBackend:
    """The contract of fmcore.kernels by one process for each device."""

    note: str | None = None

    def __init__(self, names, threads=1):
        for name in names:
            places.found(name)
        self._names, self.threads = names, threads
        self._processes = Processes(names, max(1, threads // len(names)))
        self.name = " + ".join(self._processes.titles)

    def prepare(self, block):
        """Return the block with its mini-batches in as many parts as there are devices; see fmcore.kernels."""
        require_dense(block.batch, self._names[0])
        parts = [part_of(block, number, len(self._names)) for number in range(len(self._names))]
        groups = BlockParts(parts, WholeBlock(np.diff(block.starts), block.batch.feature_dim))
        return replace(block, batch=without_features(block.batch), groups=groups, slice_size=len(block.starts) - 1)

    def score(self, batch, model):
        """Return raw scores; see fmcore.kernels."""
        return self.trainer(model).score(batch)

    def trainer(self, model):
        """Return a trainer that starts from a copy of the model; only one may be in use at a time."""
        return SeveralTrainer(self._processes, model)


class SeveralTrainer:
    """Parameters in training, the same in each process."""

    def __init__(self, processes, model):
        self._processes = processes
        processes.ask_all("model", replace(model, origin=None))

    def train(self, block, order, lr=1.0, fall=0.0):
        """Train on a block's mini-batches once; see fmcore.kernels."""
        parts, outputs = block.groups, np.zeros((2, len(block.batch)), np.float32)  # raw scores, weighted losses
        self._processes.send(parts)
        replies = self._processes.ask_all("train", parts.key, order, lr, fall)
        for (rows, _), reply in zip(parts.parts, replies, strict=True):
            outputs[:, rows] = reply
        return tuple(outputs)

    def count(self, counts):
        """Add rows to those that are known of each feature; see fmcore.kernels."""
        self._processes.ask_all("count", counts)

    def score(self, batch):
        """Return raw scores; each process scores some of the rows. See fmcore.kernels."""
        size = len(self._processes.titles)
        cuts = [len(batch) * number // size for number in range(size + 1)]
        return np.concatenate(
            self._processes.ask(
                [
                    ("score", replace(batch.take(slice(begin, end)), origin=None))
                    for begin, end in itertools.pairwise(cuts)
                ]
            )
        )

    def snapshot(self):
        """Return a copy of the model as it is; see fmcore.kernels."""
        return self._processes.ask([("snapshot",)])[0]


class BlockParts:
    """A prepared block's `groups`: for each process (int64 rows of the block, a Block of them), and the WholeBlock."""

    _keys = itertools.count()

    def __init__(self, parts, whole_block):
        self.parts, self.whole_block, self.key = parts, whole_block, next(self._keys)

    def __reduce__(self):
        return BlockParts, (self.parts, self.whole_block)


def part_of(block, number, size):
    """Return (rows, Block) of part `number` of `size`: about the same number of rows of each mini-batch for each."""
    lengths = np.diff(block.starts)
    begins, ends = (block.starts[:-1] + lengths * n // size for n in (number, number + 1))
    edges = np.ravel(np.column_stack([begins, ends]))
    rows = (
        rows_of(replace(block, starts=edges), np.arange(0, len(edges), 2))
        if (ends > begins).any()
        else np.empty(0, np.int64)
    )
    starts = np.concatenate([[0], np.cumsum(ends - begins)]).astype(np.int64)
    return rows, replace(block, batch=replace(block.batch.take(rows), ids=None, origin=None), starts=starts)


class Processes:
    """The processes, by their connections. titles: of their devices, as each reports it."""

    def __init__(self, names, threads):
        self._names, self._known, self._forgotten = names, set(), []
        folder = tempfile.TemporaryDirectory(prefix="fmkit-devices-")  # where the processes meet
        context, self._members = multiprocessing.get_context("spawn"), []
        self._end = Finalize(self, _end, (self._members, folder), exitpriority=10)
        resource_tracker.ensure_running()  # which unblocks signals when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # child processes inherit that
        try:
            for rank in range(len(names)):
                mine, its = context.Pipe()
                place = worker.Place(names, rank, f"{folder.name}/meeting", threads)
                process = context.Process(target=worker.work, args=(place, its), daemon=True)
                process.start()
                its.close()
                self._members.append((process, mine))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.titles = self._replies(len(names))

    def send(self, parts):
        """Send the BlockParts of a block where they have not been sent, and have those dropped that are gone."""
        while self._forgotten:
            self.ask_all("forget", self._forgotten.pop())
        if parts.key not in self._known:
            self._known.add(parts.key)
            finalize(parts, self._forgotten.append, parts.key)
            self.ask([("block", parts.key, block, parts.whole_block) for _, block in parts.parts])

    def ask_all(self, *request):
        """Send one request to all processes; return their replies."""
        return self.ask([request] * len(self._members))

    def ask(self, requests):
        """Send a request each to the first so many processes; return their replies."""
        try:
            for (_, connection), request in zip(self._members, requests, strict=False):
                connection.send(request)
        except OSError:
            raise self._dead() from None
        return self._replies(len(requests))

    def _replies(self, count):
        waiting = {connection: rank for rank, (_, connection) in enumerate(self._members[:count])}
        replies = [None] * count
        while waiting:
            for ready in wait([*waiting, *(process.sentinel for process, _ in self._members)]):
                try:
                    kind, value = ready.recv() if ready in waiting else (worker.DIED, None)
                except (EOFError, OSError):
                    kind = worker.DIED
                if kind == worker.DIED:
                    raise self._dead()
                if kind == worker.FAILED:
                    raise self._failed(waiting[ready], value)
                replies[waiting.pop(ready)] = value
        return replies

    def _dead(self):
        """Return the error to raise where a process has ended; end all others."""
        gone = wait([process.sentinel for process, _ in self._members], NOTICE)
        for process, _ in self._members:
            if process.sentinel in gone:
                process.join(NOTICE)
        ended = [
            (name, process.exitcode)
            for name, (process, _) in zip(self._names, self._members, strict=False)
            if process.exitcode is not None
        ]
        self._end()
        name, code = ended[0] if ended else ("a device", None)
        how = f", killed by {signal.Signals(-code).name}" if code and code < 0 else ""
        return FMError(
            f"the process that trains on {name} has ended{how}; no model was written. With --checkpoint "
            "FILE the same command with --resume continues from what was last saved"
        )

    def _failed(self, rank, error):
        """Return the error to raise where a process has failed, which may be because another one has ended."""
        if isinstance(error, FMError):
            self._end()
            return error
        if wait([process.sentinel for process, _ in self._members], NOTICE):
            return self._dead()
        self._end()
        return FMError(f"the process that trains on {self._names[rank]} has failed: {error}")


def _end(members, folder):
    """End processes, whatever they are doing, and remove the folder where they met."""
    for process, _ in members:
        process.kill()
    for process, connection in members:
        process.join()
        connection.close()
    folder.cleanup()

"""Several devices: a process for each, which this one tells what to do and never waits for in vain.

Each process holds all parameters and a part of the rows of each mini-batch. They sum their gradients and take the same
step, so the model is that of one device within rounding. This process trains nothing itself: it hears at once where
one of them has died, and ends the others, in whatever wait for each other they are.
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
from fmcore.kernels.pytorch.rows import Share, require_dense
from fmcore.rows.slices import rows_of

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)  # are for this process, which ends the others
NOTICE = 2.0  # seconds in which the end of a process shows, after others have met with it


class SeveralBackend:
    """The contract of fmcore.kernels by one process for each device."""

    note: str | None = None

    def __init__(self, names, threads=1):
        for name in names:
            places.found(name)
        self._names, self.threads = names, threads
        self._team = Processes(names, max(1, threads // len(names)))
        self.name = " + ".join(self._team.titles)

    def prepare(self, block):
        """See fmcore.kernels: the block's mini-batches in as many parts as there are devices."""
        require_dense(block.batch, self._names[0])
        parts = [part_of(block, number, len(self._names)) for number in range(len(self._names))]
        share = Share(np.diff(block.starts), block.batch.feature_dim)
        return replace(
            block, batch=without_features(block.batch), groups=Parts(parts, share), slice_size=len(block.starts) - 1
        )

    def score(self, batch, model):
        """See fmcore.kernels."""
        return self.trainer(model).score(batch)

    def trainer(self, model):
        """A trainer that starts from a copy of the model; one at a time."""
        return SeveralTrainer(self._team, model)


class SeveralTrainer:
    """Parameters being trained, the same in each process."""

    def __init__(self, team, model):
        self._team = team
        team.ask_all("model", replace(model, origin=None))

    def train(self, block, order, lr=1.0):
        """See fmcore.kernels."""
        parts, told = block.groups, np.zeros((2, len(block.batch)), np.float32)
        self._team.take(parts)
        for (rows, _), here in zip(parts.parts, self._team.ask_all("train", parts.key, order, lr), strict=True):
            told[:, rows] = here
        return tuple(told)

    def score(self, batch):
        """See fmcore.kernels: each process scores some of the rows."""
        size = len(self._team.titles)
        cuts = [len(batch) * number // size for number in range(size + 1)]
        return np.concatenate(
            self._team.ask(
                [
                    ("score", replace(batch.take(slice(begin, end)), origin=None))
                    for begin, end in itertools.pairwise(cuts)
                ]
            )
        )

    def snapshot(self):
        """See fmcore.kernels."""
        return self._team.ask([("snapshot",)])[0]


class Parts:
    """A prepared block's `groups`: for each process (int64 rows of the block, a Block of them), and their Share."""

    _keys = itertools.count()

    def __init__(self, parts, share):
        self.parts, self.share, self.key = parts, share, next(self._keys)

    def __reduce__(self):
        return Parts, (self.parts, self.share)


def part_of(block, number, size):
    """(rows, Block) of part `number` of `size`: as many rows of each mini-batch as go to it."""
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
    """The processes, by their connections. titles: what each says that its device is."""

    def __init__(self, names, threads):
        self._names, self._known, self._forgotten = names, set(), []
        folder = tempfile.TemporaryDirectory(prefix="fmkit-devices-")  # where the processes meet
        context, self._members = multiprocessing.get_context("spawn"), []
        self._end = Finalize(self, _end, (self._members, folder), exitpriority=10)
        resource_tracker.ensure_running()  # which lets signals through again when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # what is started inherits that
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

    def take(self, parts):
        """Send the Parts of a block, where they have not been sent; and say which are no more."""
        while self._forgotten:
            self.ask_all("forget", self._forgotten.pop())
        if parts.key not in self._known:
            self._known.add(parts.key)
            finalize(parts, self._forgotten.append, parts.key)
            self.ask([("block", parts.key, block, parts.share) for _, block in parts.parts])

    def ask_all(self, *request):
        """The replies to one request to all."""
        return self.ask([request] * len(self._members))

    def ask(self, requests):
        """The replies to a request each to the first so many processes."""
        try:
            for (_, connection), request in zip(self._members, requests, strict=False):
                connection.send(request)
        except OSError:
            raise self._dead() from None
        return self._replies(len(requests))

    def _replies(self, count):
        waiting, told = {connection: rank for rank, (_, connection) in enumerate(self._members[:count])}, [None] * count
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
                told[waiting.pop(ready)] = value
        return told

    def _dead(self):
        """The error that a process which has ended is; all others are ended."""
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
            "FILE the same command with --resume goes on from what was last saved"
        )

    def _failed(self, rank, error):
        """The error that a process has met with, which may be that another one has ended."""
        if isinstance(error, FMError):
            self._end()
            return error
        if wait([process.sentinel for process, _ in self._members], NOTICE):
            return self._dead()
        self._end()
        return FMError(f"the process that trains on {self._names[rank]} has failed: {error}")


def _end(members, folder):
    """End processes, in the midst of what they do, and remove the folder where they met."""
    for process, _ in members:
        process.kill()
    for process, connection in members:
        process.join()
        connection.close()
    folder.cleanup()

"""The process of one of several devices: it serves requests over its connection, and sums gradients with the others.

A request is a tuple of the name of a method of DeviceProcess and its arguments; the reply is (DONE, result) or (FAILED,
error). The first reply comes without a request, once all processes have met. The process ends when the connection
closes, or when the process that started it ends.
"""

import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from threading import Thread
from typing import NamedTuple

from fmcore.errors import FMError
from fmcore.kernels.pytorch import places
from fmcore.kernels.pytorch.backend import TorchBackend, TorchTrainer
from fmcore.kernels.pytorch.library import torch

DONE, FAILED, DIED = "done", "failed", "died"


class Place(NamedTuple):
    """One of the processes: names of all devices, its number, the file by which they meet, its threads."""

    names: tuple
    rank: int
    meeting: str
    threads: int


def work(place, connection):
    """Serve requests until the connection closes; the process's main function."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # which the process that started this one handles
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    with suppress(EOFError, OSError):  # nobody listens any more
        process = _answered(connection, lambda: DeviceProcess(place), lambda process: process.title)
        while True:
            name, *arguments = connection.recv()
            _answered(connection, lambda: getattr(process, name)(*arguments))  # noqa: B023 - called at once


def _answered(connection, call, reply=lambda result: result):
    """Call, and send reply(result) or the error; return the result, or None where it has failed."""
    try:
        result = call()
    except FMError as error:
        connection.send((FAILED, error))
    except Exception as error:  # noqa: BLE001 - the process that asked reports it to the user
        connection.send((FAILED, f"{type(error).__name__}: {error}"))
    else:
        connection.send((DONE, reply(result)))
        return result
    return None


def _end_with(parent):
    """End this process once its parent has ended, even where it waits for others."""
    parent.join()
    os._exit(1)


class DeviceProcess:
    """One of the processes that train a model together."""

    def __init__(self, place):
        self._backend, self._trainer, self._blocks = TorchBackend(place.names[place.rank], place.threads), None, {}
        self._device = self._backend.device
        devices = [places.found(name) for name in place.names]
        apart = len(set(devices)) == len(devices) and self._device.type == "cuda"  # NCCL requires a GPU for each
        for library in ("GLOO", "NCCL"):  # all are on this machine, whatever its name resolves to
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", socket.if_nameindex()[0][1])
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        torch.distributed.init_process_group(
            "nccl" if apart else "gloo",
            init_method=f"file://{place.meeting}",
            rank=place.rank,
            world_size=len(place.names),
        )
        self.add(torch.zeros(1, device=self._device))
        self.title = self._backend.name

    # -------------------------------------------------------------------------------------------------- requests
    def model(self, model):
        """Start the training of a copy of a model."""
        self._trainer = None  # its memory is free before the next one takes as much
        self._trainer = TorchTrainer(self._backend, model, self)

    def block(self, key, block, whole_block):
        """Keep a part of a block's rows; whole_block: a WholeBlock, the block that they are a part of."""
        self._blocks[key] = self._backend.prepare(block, whole_block)

    def forget(self, key):
        """Drop that part of a block's rows."""
        del self._blocks[key]

    def train(self, key, order, lr, fall):
        """Train on a block that was kept; see fmcore.kernels."""
        return self._trainer.train(self._blocks[key], order, lr, fall)

    def count(self, counts):
        """Add rows to those that are known of each feature; see fmcore.kernels."""
        self._trainer.count(counts)

    def score(self, batch):
        """Return raw scores; see fmcore.kernels."""
        return self._trainer.score(batch)

    def snapshot(self):
        """Return a copy of the model as it is; see fmcore.kernels."""
        return self._trainer.snapshot()

    # ----------------------------------------------------------------------------------------- for its own trainer
    def add(self, tensor):
        """Replace a tensor by the sum of those of all processes."""
        torch.distributed.all_reduce(tensor)

    def complete(self, matrix):
        """Mark in a Matrix the columns that whole mini-batches hold, not only those of this process's rows."""
        if not matrix.complete:
            matrix.mark()
            torch.distributed.all_reduce(matrix.present, torch.distributed.ReduceOp.MAX)
            matrix.complete = True

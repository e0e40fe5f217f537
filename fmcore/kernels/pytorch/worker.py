"""The process of one of several devices: does what it is asked over its connection, and sums gradients with the others.

A request is a tuple of a name and arguments, a method of Member; the reply (DONE, result) or (FAILED, error). The
first reply comes unasked, once all processes have met. It ends when the connection closes, or the process that started
it does.
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
    """Which of the processes it is: names of all devices, its number, the file by which they meet, its threads."""

    names: tuple
    rank: int
    meeting: str
    threads: int


def work(place, connection):
    """Serve requests until the connection closes; the process's main function."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # the process that started this one decides
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    with suppress(EOFError, OSError):  # nobody listens any more
        member = _answered(connection, lambda: Member(place), lambda member: member.title)
        while True:
            name, *arguments = connection.recv()
            _answered(connection, lambda: getattr(member, name)(*arguments))  # noqa: B023 - called at once


def _answered(connection, what, told=lambda result: result):
    """Do it and reply; the result, or None where it has failed."""
    try:
        result = what()
    except FMError as error:
        connection.send((FAILED, error))
    except Exception as error:  # noqa: BLE001 - the process that asked tells the user
        connection.send((FAILED, f"{type(error).__name__}: {error}"))
    else:
        connection.send((DONE, told(result)))
        return result
    return None


def _end_with(parent):
    """End this process once its parent has, also where it waits for others."""
    parent.join()
    os._exit(1)


class Member:
    """One of those who train a model together."""

    def __init__(self, place):
        self._backend, self._trainer, self._blocks = TorchBackend(place.names[place.rank], place.threads), None, {}
        self._device = self._backend.device
        devices = [places.found(name) for name in place.names]
        apart = len(set(devices)) == len(devices) and self._device.type == "cuda"  # NCCL wants a GPU for each
        for library in ("GLOO", "NCCL"):  # all are on this machine, whatever its name leads to
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

    # ------------------------------------------------------------------------------------------ what may be asked
    def model(self, model):
        """Begin to train a copy of a model."""
        self._trainer = None  # its memory is free before the next one takes as much
        self._trainer = TorchTrainer(self._backend, model, self)

    def block(self, key, block, share):
        """Take in a part of a block's rows."""
        self._blocks[key] = self._backend.prepare(block, share)

    def forget(self, key):
        """Let go of it."""
        del self._blocks[key]

    def train(self, key, order, lr):
        """See fmcore.kernels."""
        return self._trainer.train(self._blocks[key], order, lr)

    def score(self, batch):
        """See fmcore.kernels."""
        return self._trainer.score(batch)

    def snapshot(self):
        """See fmcore.kernels."""
        return self._trainer.snapshot()

    # ---------------------------------------------------------------------------------- what its trainer asks for
    def add(self, tensor):
        """Make it the sum of those of all processes."""
        torch.distributed.all_reduce(tensor)

    def complete(self, matrix):
        """Have a Matrix say which columns a whole mini-batch holds, not only the rows that are here."""
        if not matrix.complete:
            matrix.mark()
            torch.distributed.all_reduce(matrix.present, torch.distributed.ReduceOp.MAX)
            matrix.complete = True

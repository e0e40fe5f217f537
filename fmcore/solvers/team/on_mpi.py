"""The engine of MPI: each rank a worker, and rank 0 the leader as well.

All ranks do what rank 0 says, call after call, so that an error of one reaches rank 0 and none waits for another. A
rank that dies takes the whole job down with it, as MPI does; a checkpoint is there to go on from.
"""

import atexit
import os
import signal
import sys
import time
from collections import Counter
from contextlib import contextmanager

from fmcore.errors import UsageError
from fmcore.solvers.team.lost import DiedError, first_line
from fmcore.solvers.team.worker import Worker

INSTALL = (
    "training on MPI needs the package mpi4py and an MPI, on every machine: pip install 'fmkit[mpi]', and where "
    "the machine has none, pip install mpich"
)
STARTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")  # where those who start ranks say how many
NEXT = 7  # tag of the message that wakes a rank
NAPS = 0.0001, 0.005  # seconds that a rank sleeps before it looks again for something to do: first, longest
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # by all ranks but the first, which decides what they mean
_engine = []  # of this process, between `led` and its end


@contextmanager
def led():
    """A block for rank 0, given True; other ranks are given False, once they have done all that rank 0 wanted of them.

    Raises UsageError without mpi4py or an MPI.
    """
    engine = Ranks()
    if engine.rank:
        engine.follow()
        yield False
        return
    _engine.append(engine)
    try:
        yield True
    except BaseException as error:
        if engine.busy:  # ranks wait for each other, and nobody can call them back
            atexit.register(engine.abort, getattr(error, "exit_code", 1))
        raise
    finally:
        _engine.clear()
        if not engine.busy:
            engine.dismiss()


def opened(_team, threads):
    """Return the engine of rank 0, whatever TeamOptions say of workers: mpirun starts the ranks."""
    return leader(threads)


def leader(threads=None):
    """The engine of rank 0 within `led`; threads: of each rank, None for what there is for each."""
    if not _engine:
        raise UsageError("training on MPI is led by rank 0, within fmcore.solvers.team.on_mpi.led")
    engine = _engine[0]
    engine.threads = threads or min(engine.all("fair_threads", Counter(host for host, *_ in engine.all("where"))))
    return engine


class Ranks:
    """See fmcore.solvers.team, for rank 0. busy: whether all ranks are under way with something."""

    name = "mpi"

    def __init__(self):
        try:
            from mpi4py import MPI
            from mpi4py.util import pkl5
        except (ImportError, RuntimeError):
            raise UsageError(INSTALL) from None
        self._failure = MPI.Exception
        self._comm = pkl5.Intracomm(MPI.COMM_WORLD)
        self.rank, self.workers, self.busy = self._comm.Get_rank(), self._comm.Get_size(), False
        started = max(int(os.environ.get(name, "1")) for name in STARTED)
        if self.workers < started:
            raise UsageError(
                f"{started} processes were started, but the MPI of mpi4py sees {self.workers}: take "
                "the mpirun that goes with it, or with srun --mpi=pmix or --mpi=pmi2"
            )
        self._worker = Worker(self.rank)

    def all(self, name, *args):
        """See fmcore.solvers.team."""
        return self._lead(_each, name, args)

    def one(self, worker, name, *args):
        """See fmcore.solvers.team."""
        return self._lead(_only, worker, name, args)[worker]

    def exchange(self, split, merge, apply, *, alike=False):
        """See fmcore.solvers.team."""
        return self._lead(_exchange, split, merge, apply, alike)

    def close(self):
        """See fmcore.solvers.team: ranks stay until `led` ends."""

    def dismiss(self):
        """Let the other ranks go."""
        self._call(None)

    def abort(self, code):
        """End all ranks at once."""
        sys.stderr.flush()
        self._comm.Abort(code)

    def follow(self):
        """As another rank: do what rank 0 says until it says no more."""
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        try:
            while (task := self._await()) is not None:
                self._do(*task)
        except BaseException as error:  # noqa: BLE001 - others wait for this rank
            sys.stderr.write(f"fm: rank {self.rank} ends: {first_line(error)}\n")
            self.abort(1)

    def _lead(self, *task):
        self.busy = True
        try:
            self._call(task)
            done = self._do(*task)
        except self._failure as error:
            raise DiedError(f"a rank is gone ({first_line(error)})") from error
        self.busy = False
        for _, error in done:
            if error is not None:
                raise error
        return [result for result, _ in done]

    def _call(self, task):
        """Wake the other ranks and tell them what to do."""
        for rank in range(1, self.workers):
            self._comm.send(None, rank, NEXT)
        self._comm.bcast(task)

    def _await(self):
        nap, longest = NAPS
        while not self._comm.iprobe(0, NEXT):
            time.sleep(nap)
            nap = min(2 * nap, longest)
        self._comm.recv(source=0, tag=NEXT)
        return self._comm.bcast(None)

    def _do(self, work, *args):
        """Do a share of a task; (result, error) of each rank, for rank 0."""
        return self._comm.gather(work(self._comm, self._worker, *args))


def _each(_comm, worker, name, args):
    return _tried(worker, name, *args)


def _only(comm, worker, rank, name, args):
    return _tried(worker, name, *args) if comm.Get_rank() == rank else (None, None)


def _exchange(comm, worker, split, merge, apply, alike):
    """Each step once all ranks have come through the one before."""
    done = _tried(worker, split)
    for name, give in ((merge, comm.alltoall), (apply, comm.allgather if alike else comm.alltoall)):
        if any(comm.allgather(done[1] is not None)):
            return None, done[1]
        done = _tried(worker, name, give(done[0]))
    return done


def _tried(worker, name, *args):
    """(the result of a worker's method, None), or (None, the exception that it raised)."""
    try:
        return getattr(worker, name)(*args), None
    except Exception as error:  # noqa: BLE001 - rank 0 raises it
        return None, error.with_traceback(None)

"""The engine of MPI: each rank a worker, and rank 0 the leader as well.

All ranks execute rank 0's calls one after the other, so that an error of one reaches rank 0 and none waits for another.
A rank that dies ends the whole job, as MPI does; training can then be resumed from a checkpoint.
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
STARTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")  # in which launchers state the number of ranks
NEXT = 7  # tag of the message that wakes a rank
NAPS = 0.0001, 0.005  # seconds that a rank sleeps before it looks again for a call: first, longest
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # by all ranks but the first, which handles them
_engine = []  # of this process, between `led` and its end


@contextmanager
def led():
    """Yield True at once on rank 0, and False on other ranks once they have executed all of rank 0's calls.

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
        if engine.busy:  # ranks wait for each other, and cannot be interrupted
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
    """Return the engine of rank 0 within `led`; threads: of each rank, None for a fair share of the processors.

    Raises UsageError outside `led`.
    """
    if not _engine:
        raise UsageError("training on MPI is led by rank 0, within fmcore.solvers.team.on_mpi.led")
    engine = _engine[0]
    engine.threads = threads or min(engine.all("fair_threads", Counter(host for host, *_ in engine.all("where"))))
    return engine


class Ranks:
    """The engine of MPI, for rank 0; see fmcore.solvers.team. busy: whether a call is under way on the ranks."""

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
                f"{started} processes were started, but the MPI of mpi4py sees {self.workers}: use "
                "the mpirun that belongs to it, or with srun --mpi=pmix or --mpi=pmi2"
            )
        self._worker = Worker(self.rank)

    def all(self, name, *args):
        """Call a method of every worker; see fmcore.solvers.team."""
        return self._lead(_each, name, args)

    def one(self, worker, name, *args):
        """Call a method of one worker; see fmcore.solvers.team."""
        return self._lead(_only, worker, name, args)[worker]

    def exchange(self, split, merge, apply, *, alike=False):
        """Split, merge and apply; see fmcore.solvers.team."""
        return self._lead(_exchange, split, merge, apply, alike)

    def close(self):
        """Do nothing: ranks stay until `led` ends. See fmcore.solvers.team."""

    def dismiss(self):
        """End `follow` on the other ranks."""
        self._call(None)

    def abort(self, code):
        """End all ranks at once."""
        sys.stderr.flush()
        self._comm.Abort(code)

    def follow(self):
        """Execute rank 0's calls, as another rank, until it dismisses this one."""
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
        """Wake the other ranks and send them a task."""
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
        """Do this rank's part of a task; return (result, error) of each rank on rank 0, None elsewhere."""
        return self._comm.gather(work(self._comm, self._worker, *args))


def _each(_comm, worker, name, args):
    return _tried(worker, name, *args)


def _only(comm, worker, rank, name, args):
    return _tried(worker, name, *args) if comm.Get_rank() == rank else (None, None)


def _exchange(comm, worker, split, merge, apply, alike):
    """Split, merge and apply, each once all ranks have done the one before without an error."""
    done = _tried(worker, split)
    for name, give in ((merge, comm.alltoall), (apply, comm.allgather if alike else comm.alltoall)):
        if any(comm.allgather(done[1] is not None)):
            return None, done[1]
        done = _tried(worker, name, give(done[0]))
    return done


def _tried(worker, name, *args):
    """Return (the result of a worker's method, None), or (None, the exception that it raised)."""
    try:
        return getattr(worker, name)(*args), None
    except Exception as error:  # noqa: BLE001 - rank 0 raises it
        return None, error.with_traceback(None)

"""The engine of Ray: each worker an actor, which is replaced by a new one where it dies.

The leader is Ray's driver. What workers exchange goes directly between their machines; the leader holds references.
"""

import os
import secrets
import signal
import socket
import time
from contextlib import contextmanager, suppress

from fmcore.errors import ResourceError, UsageError
from fmcore.solvers.team.lost import DiedError, Lost, first_line
from fmcore.solvers.team.worker import Worker
from fmcore.system.threads import default_threads

LOCAL = "local"
PLACED = 300  # seconds in which workers must find processors, including an autoscaler's start of machines
REPLACED = 60  # seconds in which a worker that died must be replaced
REACHED = 10  # seconds in which the head of a cluster must answer
SMALL = (int, float, str, tuple)  # sent with each call; other arguments are stored once for all workers
PAUSE = 0.5  # seconds between two checks of which workers answer
INSTALL = "training on Ray needs the package ray, on every machine: pip install 'fmkit[ray]'"


class Post(Worker):
    """A worker as an actor, whose arguments and results are passed one by one."""

    def call(self, name, *args):
        """Return the result of a method."""
        return getattr(self, name)(*args)

    def spread(self, name, *parts):
        """Return the results of a method, one for each worker, given parts from all workers or from none."""
        results = getattr(self, name)(*[list(parts)] if parts else ())
        return results if len(results) > 1 else results[0]

    def gather(self, name, *parts):
        """Return the result of a method, given parts from all workers."""
        return getattr(self, name)(list(parts))


class Ray:
    """The engine of Ray; see fmcore.solvers.team.

    threads: of each worker, which takes as many of a cluster's CPUs; None for a fair share of them.
    address: "auto" for the cluster that this machine is part of, "host:port" of another one's head, "local" for one on
    this machine that ends with this process.
    Raises UsageError where there is no such cluster, ResourceError where it has no room for the workers.
    """

    name = "ray"

    def __init__(self, workers, threads, address):
        try:
            import ray
        except ImportError:
            raise UsageError(INSTALL) from None
        self._ray, self.workers = ray, workers
        with _handlers_kept():
            _connect(ray, address, workers * (threads or max(1, default_threads() // workers)))
        self.threads = threads = threads or _fair_threads(ray, workers)
        self._actor = ray.remote(Post).options(num_cpus=threads, max_restarts=0, scheduling_strategy="SPREAD")
        self._actors = [self._actor.remote(number) for number in range(workers)]
        if missing := self._place(PLACED):
            self.close()
            raise ResourceError(
                f"{missing} of {workers} workers found no place on the cluster in {PLACED} seconds, "
                f"where each takes {threads} CPUs; use fewer with --workers or --threads"
            )

    def all(self, name, *args):
        """Call a method of every worker; see fmcore.solvers.team."""
        kept = [arg if isinstance(arg, SMALL) else self._ray.put(arg) for arg in args]
        return self._results([actor.call.remote(name, *kept) for actor in self._actors])

    def one(self, worker, name, *args):
        """Call a method of one worker; see fmcore.solvers.team."""
        return self._results([self._actors[worker].call.remote(name, *args)])[0]

    def exchange(self, split, merge, apply, *, alike=False):
        """Split, merge and apply; see fmcore.solvers.team."""
        parts = [self._spread(actor, split) for actor in self._actors]
        to_owner = zip(*parts, strict=True)
        if alike:
            answers = [actor.gather.remote(merge, *own) for actor, own in zip(self._actors, to_owner, strict=True)]
            to_worker = [answers] * self.workers
        else:
            answers = [self._spread(actor, merge, *own) for actor, own in zip(self._actors, to_owner, strict=True)]
            to_worker = zip(*answers, strict=True)
        return self._results(
            [actor.gather.remote(apply, *own) for actor, own in zip(self._actors, to_worker, strict=True)]
        )

    def replace(self):
        """Replace lost workers, return their numbers; see fmcore.solvers.team."""
        before = list(self._actors)
        if missing := self._place(REPLACED):
            raise DiedError(
                f"{missing} of {self.workers} workers died, and found no other place on the cluster within "
                f"{REPLACED} seconds"
            )
        return [worker for worker, actor in enumerate(self._actors) if actor is not before[worker]]

    def close(self):
        """Release all workers; see fmcore.solvers.team."""
        for actor in self._actors:
            with suppress(Exception):
                self._ray.kill(actor)
        self._ray.shutdown()

    def _spread(self, actor, name, *parts):
        refs = actor.spread.options(num_returns=self.workers).remote(name, *parts)
        return refs if self.workers > 1 else [refs]

    def _results(self, refs):
        """Return the results of all calls; raise the first worker's error, or Lost, once all calls have ended."""
        errors, results = [], []
        for ref in refs:
            found, error = self._result(ref)
            results.append(found)
            errors += [error] if error else []
        if gone := [error for error in errors if isinstance(error, self._ray.exceptions.RayError)]:
            raise Lost(first_line(gone[0]))
        if errors:
            raise errors[0]
        return results

    def _result(self, ref):
        """Return (the result of a call, None) or (None, its error: the worker's own, else a RayError)."""
        try:
            return self._ray.get(ref), None
        except self._ray.exceptions.RayTaskError as error:
            return None, error.cause if isinstance(error.cause, Exception) else error
        except self._ray.exceptions.RayError as error:
            return None, error

    def _place(self, seconds):
        """Wait until all workers answer, replacing those that are lost; return how many are still missing.

        One that has just been placed may be lost again: for a while, the scheduler chooses machines that have died.
        """
        end = time.monotonic() + seconds
        asked = {self._actors[worker].call.remote("where"): worker for worker in range(self.workers)}
        while asked and time.monotonic() < end:
            ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=PAUSE)
            for ref in ready:
                worker = asked.pop(ref)
                if self._result(ref)[1] is not None:
                    self._actors[worker] = self._actor.remote(worker)
                    asked[self._actors[worker].call.remote("where")] = worker
        return len(asked)


def opened(team, threads):
    """Return the engine for TeamOptions; threads: of each worker, None for what there is for each."""
    return Ray(team.workers, threads, team.address)


@contextmanager
def _handlers_kept():
    """Restore signal handlers after a block that installs handlers of its own below Python's."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        with suppress(ValueError):  # raised in a thread other than the main one, which cannot set handlers
            for number, handler in handlers.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _connect(ray, address, processors):
    """Connect to a cluster, or start one with so many processors on this machine."""
    _keep_off_standard_output()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())  # else Ray writes one below the home folder
        ray.init(address=LOCAL, num_cpus=processors, include_dashboard=False, **quiet)
        return
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is an address of Ray Client, over which all data would go; run this command on a "
            "machine of the cluster, or with ray job submit"
        )
    try:
        _require_somebody(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        where = "on this machine, or at RAY_ADDRESS," if address == "auto" else f"at {address}"
        raise UsageError(
            f"there is no Ray {where} that can be connected to ({first_line(error)}); start one with ray "
            "start --head, or use --ray-address local for one that ends with this command"
        ) from error


def _require_somebody(address):
    """Raise OSError where nobody listens at "host:port", which Ray takes a minute to notice."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED).close()


def _keep_off_standard_output():
    """Keep Ray from printing reports of machines that die to standard output, which is for data."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):  # which has no switch
        worker.print_to_stdstream = lambda *_args, **_options: None


def _fair_threads(ray, workers):
    """Return the CPUs of the cluster for each worker, at most as many as its smallest machine has."""
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, min([sum(machines) // workers, *(cpus for cpus in machines if cpus)]))

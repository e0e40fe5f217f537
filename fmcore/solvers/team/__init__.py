"""Training by several workers, each on rows of its own, that merge their parameters after every round.

    rounds.py     how an epoch is cut into rounds
    deltas.py     the changes of a round: split by owners, merged, pure functions
    states.py     the parameters of a worker: all of them (replica) or those that it owns (sharded)
    feed.py       a worker's mini-batches in the order of an epoch
    messages.py   orders of the leader, and reports of the workers
    worker.py     what one worker does; it knows nothing of engines
    reports.py    reports of all readers, merged into those of a single reader
    team.py       the leader's requests to all workers, and the recovery of a team that has lost one
    solver.py     the solver: what each worker may use, and one epoch, led from one place
    inprocess.py, on_mpi.py, on_ray.py
                  the engines: one place, MPI's ranks, Ray's actors

To add an engine: a file here with an `Engine` and the function that opens it, and a line in ENGINES, which is read
whenever a command is made or a team is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Protocol


class Engine(Protocol):
    """Reaches workers, whose methods it calls by name.

    name: for people. workers: their number. threads: of each.
    One whose workers can be lost raises `lost.Lost` from any call, and is a ReplacingEngine.
    """

    name: str
    workers: int
    threads: int

    def all(self, name: str, *args: Any) -> list:
        """Call that method of every worker; return the results in worker order."""
        ...

    def one(self, worker: int, name: str, *args: Any) -> Any:
        """Call that method of one worker, and return its result."""
        ...

    def exchange(self, split: str, merge: str, apply: str, *, alike: bool = False) -> list:
        """Call three methods of every worker; return the results of the last in worker order.

        split() returns a part for each owner; merge(parts of all workers) an answer for each worker, or one for all
        where alike; apply(answers of all owners) what is returned.
        """
        ...

    def close(self) -> None:
        """Release all workers."""
        ...


class ReplacingEngine(Engine, Protocol):
    """An Engine with which training can continue after the loss of workers."""

    def replace(self) -> list[int]:
        """Put new workers, which have no data yet, in the places of those that are lost; return their numbers.

        Raises `lost.DiedError` where it cannot.
        """
        ...


@dataclass(frozen=True)
class EngineEntry:
    """An engine in the registry.

    where: "module:name" of a function from TeamOptions, and the threads of each worker or None, to an Engine; imported
    when it is used.
    takes: those of the options workers, ray_address and dist_state that are for it.
    """

    where: str
    takes: tuple[str, ...] = ("workers", "dist_state")

    def load(self) -> Callable[[Any, int | None], Engine]:
        """Return the function that opens it."""
        return resolve_name(self.where)


ENGINES: dict[str, EngineEntry] = {
    "ray": EngineEntry("fmcore.solvers.team.on_ray:opened", ("workers", "ray_address", "dist_state")),
    "mpi": EngineEntry("fmcore.solvers.team.on_mpi:opened", ("dist_state",)),
    "local": EngineEntry("fmcore.solvers.team.inprocess:opened"),
}
STATES = ("auto", "replica", "sharded")  # which parameters a worker holds; auto decides by size

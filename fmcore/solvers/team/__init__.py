"""Training by several workers, each on rows of its own, that merge their parameters after every round.

    rounds.py     how an epoch is cut into rounds
    deltas.py     the changes of a round: split by owners, merged, pure functions
    states.py     the parameters of a worker: all of them (replica) or those that it owns (sharded)
    feed.py       a worker's mini-batches in the order of an epoch
    worker.py     what one worker does; it knows nothing of engines
    reports.py    reports of all readers, merged into those of a single reader
    team.py       the leader's requests to all workers, and the recovery of a team that has lost one
    run.py        the loop over epochs, led from one place
    machines.py   the door: which engine, how many workers, which state
    inprocess.py, on_mpi.py, on_ray.py
                  the engines: one place, MPI's ranks, Ray's actors

To add an engine: a file here with what opens it, and a line in ENGINES, which is read whenever a command is made or a
team is trained. An engine has

    workers, threads                          their number, and the threads of each
    all(name, *args) -> list                  every worker's method of that name, results in worker order
    one(worker, name, *args)                  one worker's
    exchange(split, merge, apply, alike) -> list
                                              calls three methods of every worker: split() returns a part for each
                                              owner; merge(parts of all workers) an answer for each worker, or one for
                                              all where alike; then apply(answers of all owners); returns its results
    close()                                   release all workers

and, where training can continue after the loss of a worker, raises `lost.Lost` and has

    replace() -> list                         put new workers, which have no data yet, in the places of those that are
                                              lost, and return their numbers; raises `lost.DiedError` where it cannot
"""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any


@dataclass(frozen=True)
class EngineEntry:
    """An engine in the registry.

    where: "module:name" of the function that opens it, given TeamOptions and the threads of each worker or None;
    imported when used.
    takes: those of the options workers, ray_address and dist_state that it accepts.
    """

    where: str
    takes: tuple[str, ...] = ("workers", "dist_state")

    def load(self) -> Any:
        """Return the function that opens the engine."""
        return resolve_name(self.where)


ENGINES: dict[str, EngineEntry] = {
    "ray": EngineEntry("fmcore.solvers.team.on_ray:opened", ("workers", "ray_address", "dist_state")),
    "mpi": EngineEntry("fmcore.solvers.team.on_mpi:opened", ("dist_state",)),
    "local": EngineEntry("fmcore.solvers.team.inprocess:opened"),
}
STATES = ("auto", "replica", "sharded")  # which parameters a worker holds; auto decides by size

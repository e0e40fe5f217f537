"""Training by several workers, each on rows of its own, that bring their parameters together after every round.

    rounds.py     how an epoch is cut into rounds
    deltas.py     what a round moved: split by owners, brought together, pure functions
    states.py     the parameters of a worker: all of them (replica) or those that it owns (sharded)
    feed.py       a worker's mini-batches in the order of an epoch
    worker.py     what one worker does; it knows nothing of engines
    reports.py    what their readers have to tell, as one reader would
    team.py       what the leader asks of all workers, and how a team goes on when it has lost one
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
                                              three methods of every worker w: split() gives a part for each owner;
                                              merge(parts of all workers) gives an answer for each worker, or one for
                                              all where alike; apply(answers of all owners); what apply returns
    close()                                   let all workers go

and, where workers can go and training with the others, raises `lost.Lost` and has

    replace() -> list                         put new workers, which know nothing yet, in the places of those that have
                                              gone, and give their numbers; `lost.DiedError` where that cannot be
"""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any


@dataclass(frozen=True)
class EngineEntry:
    """An engine in the registry.

    where: "module:name" of what opens it, given TeamOptions and the threads of each worker or None; imported when used.
    takes: those of the options workers, ray_address and dist_state that are for it.
    """

    where: str
    takes: tuple[str, ...] = ("workers", "dist_state")

    def load(self) -> Any:
        """Return what opens it."""
        return resolve_name(self.where)


ENGINES: dict[str, EngineEntry] = {
    "ray": EngineEntry("fmcore.solvers.team.on_ray:opened", ("workers", "ray_address", "dist_state")),
    "mpi": EngineEntry("fmcore.solvers.team.on_mpi:opened", ("dist_state",)),
    "local": EngineEntry("fmcore.solvers.team.inprocess:opened"),
}
STATES = ("auto", "replica", "sharded")  # what a worker holds; auto is by size

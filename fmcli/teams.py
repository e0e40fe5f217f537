"""Where `fm train` trains and with how much: on this machine, or with several workers and on what engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from fmcli.options import chosen_threads, device_option, gathered, memory_option, stacked, threads_option
from fmcore import api
from fmcore.errors import UsageError
from fmcore.solvers.team import ENGINES, STATES

ENGINE_OPTIONS = ("workers", "ray_address", "dist_state")  # each for engines that take it


@dataclass(frozen=True)
class Placement:
    """The machines and resources to train with, as the command line gives it: None where an option is not given.

    device: as of fmcore.kernels.devices.parse_device. memory_limit: bytes. threads: of each worker where there are
    several. distributed: one of ENGINES. workers: how many. ray_address: of the cluster. dist_state: one of STATES.
    """

    device: str
    memory_limit: int | None
    threads: int | None
    distributed: str | None
    workers: int | None
    ray_address: str | None
    dist_state: str | None

    @contextmanager
    def leading(self) -> Iterator[bool]:
        """Yield True in the process that trains: in this one, or where MPI has started several in that of rank 0."""
        if self.distributed != "mpi":
            yield True
            return
        with api.ranks() as leads:
            yield leads

    def resources(self) -> api.Resources:
        """Return the Resources; raises UsageError where options contradict each other or the engine lacks one."""
        engine = self.distributed
        self._require_taken()
        if engine is None:
            return api.Resources(chosen_threads(self.threads), self.memory_limit, self.device)
        if self.device != "cpu":
            raise UsageError(
                f"--device {self.device} is not for several workers: those of --distributed {engine} train on the "
                "processor; leave one of them out"
            )
        if "workers" in ENGINES[engine].takes and self.workers is None:
            raise UsageError(f"--distributed {engine} needs the number of workers; give it with --workers")
        return api.machines(
            threads=self.threads,
            memory_limit=self.memory_limit,
            engine=engine,
            workers=self.workers or 1,
            address=self.ray_address or "auto",
            dist_state=self.dist_state or "auto",
        )

    def _require_taken(self) -> None:
        """Refuse an option that is not for the engine."""
        taken = ENGINES[self.distributed].takes if self.distributed else ()
        for name in ENGINE_OPTIONS:
            if getattr(self, name) is not None and name not in taken:
                raise UsageError(
                    f"--{name.replace('_', '-')} is {_about(name)}, and --distributed is "
                    f"{self.distributed or 'not given'}; {_advice(name, self.distributed)}"
                )


def _about(name: str) -> str:
    """Return what an option of ENGINE_OPTIONS is for, in words."""
    takers = [engine for engine, entry in ENGINES.items() if name in entry.takes]
    return "for several workers" if len(takers) == len(ENGINES) else f"for {' and '.join(takers)}"


def _advice(name: str, engine: str | None) -> str:
    if engine == "mpi" and name == "workers":
        return "mpirun -n N sets the number of ranks"
    return "leave it out" if engine else "leave it out, or add --distributed"


placement_options = stacked(
    device_option,
    memory_option,
    threads_option,
    click.option(
        "--distributed",
        type=click.Choice(tuple(ENGINES)),
        help="Train with several workers, each on its own part of the rows, which all of them can read. ray: "
        "actors of a cluster; mpi: the ranks of mpirun; local: one after the other in this process, to "
        "see the effect on a model.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 4096),
        metavar="N",
        help="ray, local: how many workers. --threads and --memory-limit are then those of each.",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="ray: the cluster, as auto (the one that this machine is part of, or RAY_ADDRESS), HOST:PORT, or "
        "local (one on this machine that ends with the command).  [default: auto]",
    ),
    click.option(
        "--dist-state",
        type=click.Choice(STATES),
        help="What each worker holds: a replica of all parameters; sharded, those of its own features; auto, "
        "a replica where it fits twice in 40 % of a worker's memory.  [default: auto]",
    ),
    gathered("placement", Placement),
)

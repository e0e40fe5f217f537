"""How `fm train` is told to train with several workers, and on what engine."""

from contextlib import contextmanager

import click

from fmcli.options import chosen_threads, stacked
from fmcore import api
from fmcore.errors import UsageError
from fmcore.solvers.team import ENGINES, STATES

team_options = stacked(
    click.option(
        "--distributed",
        type=click.Choice(ENGINES),
        help="Train with several workers, each on its own part of the rows, which all of them can read: on "
        "ray, a cluster's actors; on mpi, the ranks of mpirun; local, one after the other in this "
        "process, to see what it does to a model.",
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
)


@contextmanager
def led(engine):
    """A block that runs once, given True: in this process, or where MPI has started several in that of rank 0."""
    if engine != "mpi":
        yield True
        return
    with api.ranks() as leads:
        yield leads


def resources(values, threads):
    """The Resources that a command's values ask for, which are taken out of them; threads: those given, or None."""
    engine, given = values.pop("distributed"), {}
    for name in ("workers", "ray_address", "dist_state"):
        given[name] = values.pop(name)
    wanted = {
        "ray": ("workers", "ray_address", "dist_state"),
        "mpi": ("dist_state",),
        "local": ("workers", "dist_state"),
    }.get(engine, ())
    for name, value in given.items():
        if value is not None and name not in wanted:
            raise UsageError(
                f"--{name.replace('_', '-')} is {_about(name)}, and --distributed is "
                f"{engine or 'not given'}; {_advice(name, engine)}"
            )
    device = values.pop("device")
    if engine is None:
        return api.Resources(chosen_threads(threads), values["memory_limit"], device)
    if device != "cpu":
        raise UsageError(
            f"--device {device} is not for several workers, which --distributed {engine} has train on the "
            "processor; leave one of them out"
        )
    if "workers" in wanted and given["workers"] is None:
        raise UsageError(f"--distributed {engine} needs the number of workers; give it with --workers")
    return api.machines(
        threads=threads,
        memory_limit=values["memory_limit"],
        engine=engine,
        workers=given["workers"] or 1,
        address=given["ray_address"] or "auto",
        dist_state=given["dist_state"] or "auto",
    )


def _about(name):
    return {"workers": "for ray and local", "ray_address": "for ray", "dist_state": "for several workers"}[name]


def _advice(name, engine):
    if engine == "mpi" and name == "workers":
        return "mpirun -n N says how many ranks there are"
    return "leave it out" if engine else "leave it out, or add --distributed"

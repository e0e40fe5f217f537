"""CPU seconds and bytes of the rounds of several workers, what engines add, and on paper what machines make of it.

No network is measured: workers run one after the other in this process, or meet over loopback. --quick leaves out Ray
and more.
"""

import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import clicks
import machines
import numpy as np
from crews import READ, STEPS, Crew, TimedInProcess
from machines import CORES, JOB_ROWS, MACHINES, NETWORKS, Costs, Engine
from measure import ROOT, figure, parser, print_setting, seconds
from train_epoch import FACTORS

from fmcore.io.recordio import codec as recordio
from fmcore.solvers.team.rounds import LONGEST

ROUNDS = (1 << 10, 1 << 13, 1 << 15)  # rows of each worker; and as many as --rows gives
WORKERS = {False: (1, 2, 4, 8), True: (1, 2)}  # by --quick
STATES = ("replica", "sharded")
SCALES = {False: (1, 100), True: (1,)}  # times the features of the jobs on paper
COUNTED = (1 << 13, 1 << 17, 1 << 20)  # rows whose features are counted
ENGINE_ROWS, TINY, TINY_ROUNDS = 1 << 16, 16, 20  # rows of the rounds by which an engine is measured
CROWDS = (4, 16)  # workers by which the leader is measured, with rounds of next to no rows
PARTS = ("rows", "steps", "engine", "network", "leader")  # of a Round
ON_MPI = Engine(0, 100e-6, 0)  # the leader's seconds for each worker: assumed


# ----------------------------------------------------------------------------------------------- in this process
def write(folder, workers, rows):
    """Write a recordIO file with `rows` rows for each worker; return its path."""
    path = Path(folder, f"{workers}.rec")
    path.write_bytes(recordio.encode(clicks.generated(workers * rows), clicks.feature_dim()))
    return path


def rounds_of(path, workers, factors, state, options):
    """Return for each number of rows a worker a Crew's medians over workers (and rounds), by name."""
    engine, found = TimedInProcess(workers), {}
    crew = Crew(engine, path, factors, sharded=state == "sharded")
    reading = statistics.mean(sum(own.seconds[name] for name in READ) for own in engine.own) / options.rows
    crew.round(min(ROUNDS))  # not measured: allocates all memory
    for rows in (*(rows for rows in ROUNDS if rows < options.rows), options.rows):
        rounds = []
        for _ in range(max(1, options.runs // workers)):
            for own in engine.own:
                own.seconds.clear()
            sent = crew.round(rows) / workers
            rounds += [
                {
                    **dict.fromkeys(STEPS, 0.0),
                    **own.seconds,
                    "sent": sent,
                    "touched": own.touched,
                    "merged": sum(each.merged for each in engine.own),
                }
                for own in engine.own
            ]
        found[rows] = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    engine.close()
    return found, reading


def print_rounds(path, workers, factors, options):
    """Print a line for each state and number of rows; return the costs of the longest rounds and of reading a row."""
    longest, reading = {}, None
    for state in STATES:
        found, reading = rounds_of(path, workers, factors, state, options)
        for rows, at in found.items():
            shown = "".join(f"{1e3 * at[name]:8.2f}" for name in STEPS)
            moved = sum(at[name] for name in STEPS if name != "train")
            print(
                f"{factors:3} {workers:4} {state:8}{rows:9,}{at['touched']:10,.0f}{at['merged']:10,.0f}"
                f"{at['sent'] / 1e6:8.2f}{shown}{moved / at['train']:8.1f}",
                flush=True,
            )
        longest[state] = found[options.rows]
        about = f"k = {factors}, {workers} workers, {state}"
        figure(f"{about}, train", [longest[state]["train"]])
        figure(f"{about}, all else", [sum(longest[state][name] for name in STEPS if name != "train")])
        figure(f"{about}, sent", [longest[state]["sent"]], "bytes")
    return longest, reading


def costs_of(longest, reading, factors, rows):
    """Return the Costs by the longest rounds."""
    steps = {}
    for state, at in longest.items():
        steps[state] = {name: at[name] / at["touched"] for name in STEPS if name not in {"plan", "train", "apply"}}
        steps[state]["apply"] = at["apply"] / (at["touched"] + at["merged"])
    flags = np.zeros(1 << 27, np.uint8)
    scan = seconds(lambda: np.flatnonzero(flags), 3, "looking through 2^27 features") / len(flags)
    at, beside = (longest[state] for state in STATES)
    return Costs(
        2 + 2 * factors,
        at["train"] / rows,
        reading,
        max(0, at["plan"] - scan * clicks.feature_dim()) / rows,
        max(0, beside["train"] - at["train"]) / rows,
        scan,
        steps,
    )


# ---------------------------------------------------------------------------------------------- in real processes
def measured_by(engine, path, workers, *arguments):
    """Return the measurements of crews.py for an engine; None, with a printed note, where it cannot be run."""
    command = [sys.executable, ROOT / "benchmarks" / "crews.py", engine, path, "--workers", str(workers), *arguments]
    if engine == "mpi":
        beside = shutil.which("mpirun", path=Path(sys.executable).parent) or shutil.which("mpirun")
        if not beside or not importlib.util.find_spec("mpi4py"):
            return print("mpi: mpirun or mpi4py is not installed")
        command = [beside, "-n", str(workers), *command]
    elif engine == "ray" and not importlib.util.find_spec("ray"):
        return print("ray: it is not installed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return print(f"{engine}: exit code {done.returncode}; {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def seconds_a_byte(engine, path, rows, states):
    """Return an engine's CPU seconds a byte beyond workers in one process, over some states; None without it."""
    more, moved = 0, 0
    for state in states:
        arguments = ("--rows", str(rows), *(("--sharded",) if state == "sharded" else ()))
        local, theirs = (measured_by(name, path, 2, *arguments) for name in ("local", engine))
        if not theirs:
            return None
        kept = slice(1, None) if len(theirs["rounds"]) > 1 else slice(None)  # the first allocates memory
        sent = sum(one[0] for one in theirs["rounds"][kept])
        own, beside = (sum(one[1] for one in each["rounds"][kept]) for each in (theirs, local))
        print(
            f"{engine}, {state}: {sent / 1e6:.0f} MB sent by 2 workers, {own:.2f} CPU seconds, {beside:.2f} in one "
            f"process: {1e9 * (own - beside) / sent:.2f} s a GB; all answer a call in {1e3 * theirs['call']:.1f} ms",
            flush=True,
        )
        more, moved = more + max(0, own - beside), moved + sent
    figure(f"{engine}, a GB", [1e9 * more / moved])
    return more / moved


def leader_of_ray(path):
    """Return the CPU seconds of the leader an exchange: for each worker, and for each pair of them."""
    found = []
    for workers in CROWDS:
        results = measured_by("ray", path, workers, "--sharded", "--rows", str(TINY), "--rounds", str(TINY_ROUNDS))
        found.append(statistics.median(own for *_, own in results["rounds"][1:]) / machines.EXCHANGES["sharded"])
        print(
            f"ray, {workers} workers: {1e3 * found[-1]:.1f} ms of the leader's processor to exchange next to nothing",
            flush=True,
        )
    worker, pair = np.linalg.solve([[many, many**2] for many in CROWDS], found)
    return max(0.0, worker), max(0.0, pair)


def engines(path, options):
    """Return name -> Engine of those that are installed here."""
    rows, found = min(ENGINE_ROWS, options.rows), {}
    for name in ("mpi",) if options.quick else ("mpi", "ray"):
        if (byte := seconds_a_byte(name, path, rows, STATES[options.quick :])) is not None:
            found[name] = Engine(byte, *(leader_of_ray(path) if name == "ray" else ON_MPI[1:]))
    return found


# -------------------------------------------------------------------------------------------------------- on paper
def print_law(scale):
    """Print how many features rows hold, counted and by the law."""
    for rows, count in machines.counted(COUNTED if scale > 1 else COUNTED[:1], scale).items():
        expected = machines.touched(rows, scale)
        print(f"{rows:9,} rows hold {count:,} of {clicks.feature_dim(scale):,} features; {expected:,.0f} by the law")
        figure(f"features of {rows} rows of {scale} times as many, in expected", [count / expected], "growth")
    clicks.forget()


def print_assumptions(costs, found):
    """Print the assumptions of the tables that follow."""
    alone = CORES * machines.SHARED
    print(
        f"\nOn paper: {JOB_ROWS:.0e} rows x {clicks.COLUMNS}, k = 8, on machines of {CORES} cores\n"
        f"  training: {1e-6 / costs.train:.2f} M rows/s a core as measured here; {CORES} cores do {alone:.1f} times "
        f"the work of one (see RESULTS.md), so a machine alone {1e-6 * alone / costs.train:.0f} M rows/s\n"
        f"  reading recordIO and making blocks: {1e-6 / costs.read:.2f} M rows/s a core, files as fast as wanted\n"
        f"  plan, {', '.join(machines.THREADED)}: with all threads of a worker; other steps with one, as they are\n"
        f"  plan {1e9 * costs.plan:.0f} ns a row, and {1e9 * costs.scan:.3f} for each feature that there is; to "
        f"number them anew, where sharded, {1e9 * costs.renumber:.0f} ns a row\n"
        f"  nothing overlaps; {machines.GOODPUT:.0%} of a network is data; no worker is slower than others"
    )
    for state, steps in costs.steps.items():
        text = ", ".join(f"{name} {1e9 * cost:.0f}" for name, cost in steps.items() if 1e9 * cost >= 1)
        print(f"  {state}, ns a feature: {text}")
    for name, one in found.items():
        print(
            f"  {name}: {1e9 * one.byte:.2f} CPU seconds a GB; the leader {1e6 * one.worker:.0f} us for each worker "
            f"and {1e6 * one.pair:.1f} us for each pair of them an exchange{' (assumed)' if name == 'mpi' else ''}"
        )


def print_paper(costs, found, scale):
    """Print the tables of the extrapolation."""
    ten, more = NETWORKS
    print(
        f"\n{clicks.feature_dim(scale):,} features: milliseconds of a round; efficiency on either network, and the "
        f"bound by {more} alone; on {more}, times sooner than one machine, an epoch and reading with "
        f"{machines.EPOCHS} epochs\n{'a round of a worker':20}{'state':8}{'engine':>7}{'machines':>9}{'workers':>8}"
        f"{''.join(f'{name:>9}' for name in (*PARTS[:3], ten, more, PARTS[-1]))}"
        f"{''.join(f'{name:>8}' for name in (ten[:2], more[:2], 'bound', 'epoch', 'all'))}"
    )
    cases = itertools.product(machines.LENGTHS.items(), machines.WAYS, found.items(), MACHINES)
    for (length, asked), way, (name, engine), many in cases:
        workers = many * way[1]
        slow, one = (
            machines.round_of(costs, engine, way, many, machines.longest(asked, workers), speed, scale)
            for speed in NETWORKS.values()
        )
        parts = (*one[:3], slow.network, one.network, one.leader)
        sooner = "".join(f"{machines.speedup(costs, one, many, reading=reading):8.2f}" for reading in (False, True))
        print(
            f"{length:20}{way[0]:8}{name:>7}{many:9}{workers:8}{''.join(f'{1e3 * part:9.1f}' for part in parts)}"
            f"{slow.efficiency:8.1%}{one.efficiency:8.1%}{one.bound:8.1%}{sooner}",
            flush=True,
        )
    print(f"How many machines end an epoch soonest on {more} (and how many times sooner than one); 1 where none pays:")
    for (length, asked), (state, each) in itertools.product(machines.LENGTHS.items(), machines.WAYS):
        text = [
            f"{name} {many} ({best:.1f})"
            for name, engine in found.items()
            for many, best in [machines.stops(costs, engine, (state, each), asked, NETWORKS[more], scale)]
        ]
        print(f"  {length}, {state}, {each} on each machine: {', '.join(text)}")


def main():
    """Print the measurements, then the extrapolation."""
    made = parser(__doc__.splitlines()[0], rows=LONGEST)
    made.add_argument("--quick", action="store_true", help="k = 8, 2 workers at the most, no Ray, 1 M features")
    options = made.parse_args()
    print_setting()
    print(
        f"rounds of rows a worker, of {clicks.feature_dim():,} features; CPU milliseconds and MB sent of one worker "
        "of one thread, medians"
    )
    print(
        f"{'k':>3} {'S':>4} {'state':8}{'rows':>9}{'touched':>10}{'merged':>10}{'MB':>8}"
        f"{''.join(f'{name:>8}' for name in STEPS)}{'x train':>8}"
    )
    costs, workers = None, WORKERS[options.quick]
    with tempfile.TemporaryDirectory() as folder:
        for many in workers:
            path = write(folder, many, options.rows)
            for factors in FACTORS[:1] if options.quick else FACTORS:
                longest, reading = print_rounds(path, many, factors, options)
                if factors == FACTORS[0]:
                    costs = costs_of(longest, reading, factors, options.rows)
        found = engines(path, options)
    for scale in SCALES[options.quick]:
        print_law(scale)
    print_assumptions(costs, found)
    for scale in SCALES[options.quick]:
        print_paper(costs, found, scale)


if __name__ == "__main__":
    main()

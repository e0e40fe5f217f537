"""Functions that all benchmarks share: repeated runs of one or more kinds of work, saving of figures, calls of `fm`."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fmcore import __version__
from fmcore.kernels.cpu import CpuBackend
from fmcore.system.threads import default_threads

ROOT = Path(__file__).resolve().parent.parent
FM = [sys.executable, "-m", "fmcli"]
FIGURES = "FMKIT_FIGURES"  # the variable that names the file to which figures are appended, see `figure`
PEAK = """import re, resource, sys
from fmcli.main import run
sys.argv[0] = "fm"
try:
    run()
finally:
    try:
        size = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
    except OSError:
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(size)
"""  # the most memory that a process of `fm` has held, in bytes; Linux counts a parent's in ru_maxrss, macOS does not


class Seconds(float):
    """The time that a kind of work reports, where it is not all of its wall time."""

    __slots__ = ()


class Parser(argparse.ArgumentParser):
    """An argument parser that saves the number of rows as a figure, as seconds alone are no measure."""

    def parse_args(self, *arguments):
        """Parse arguments like any parser, and save the number of rows."""
        options = super().parse_args(*arguments)
        if "rows" in options:
            figure("rows", [options.rows], "rows")
        return options


def parser(description, *, rows=None):
    """Return an argument parser with --runs, --once and, where a number of rows is given, --rows."""
    made = Parser(description=description)
    made.add_argument("--runs", type=runs, default=5, help="runs of each kind of work, whose median counts (5)")
    made.add_argument(
        "--once",
        action="store_const",
        dest="runs",
        const=1,
        help="one run of each, to see that all of it works; the figures mean nothing",
    )
    if rows is not None:
        made.add_argument("--rows", type=int, default=rows, help=f"rows of generated data ({rows})")
    return made


def scaled_parser(description, *, rows):
    """Return such a parser with --scale too."""
    made = parser(description, rows=rows)
    made.add_argument("--scale", type=float, default=1, help="times the features of generated data (1)")
    return made


def runs(text):
    """Return a number of runs; a median of fewer than 5 is not reliable."""
    if int(text) < 5:
        raise argparse.ArgumentTypeError("at least 5 runs, please")
    return int(text)


def figure(name, values, unit="s"):
    """Save the values of a figure, a value a run, for `make bench-save`, as a line of JSON in the file $FMKIT_FIGURES.

    unit: one of figures.BETTER, which knows whether less or more of it is better.
    """
    if path := os.environ.get(FIGURES):
        with Path(path).open("a") as lines:
            lines.write(
                json.dumps(
                    {
                        "script": Path(sys.argv[0]).stem,
                        "name": str(name),
                        "unit": unit,
                        "values": [float(value) for value in values],
                    }
                )
                + "\n"
            )


def print_setting():
    """Print what is measured, and on which machine."""
    print(
        f"fmkit {__version__}, kernels {CpuBackend().build}, {default_threads()} processors to use "
        f"({platform.machine()}, {platform.system()}), Python {platform.python_version()}"
    )


def print_second_processor(runs):
    """Print how much two processes at once get done, by which a ratio of two threads to one can be judged.

    On shared machines the second processor may be a part of the first, which no counter of the system shows.
    """
    busy = [sys.executable, "-c", f"sum(range({10_000_000 if runs > 1 else 1000}))"]

    def both():
        for one in [subprocess.Popen(busy) for _ in range(2)]:
            one.wait()

    times = medians({"one busy process": process(*busy), "two busy processes": both}, runs)
    one, two = times.values()
    print(f"two busy processes at once do {2 * one / two:.2f} times the work of one")


def seconds(work, runs, name=""):
    """Return the median wall time of a call."""
    return medians({name: work}, runs)[name]


def medians(works, runs, about=""):
    """Return the median of `measured` for each kind of work."""
    return {name: statistics.median(times) for name, times in measured(works, runs, about).items()}


def measured(works, runs, about=""):
    """Return wall times of several kinds of work (name -> function), run in turn so that noise affects all alike.

    Where a function returns Seconds, these are used. about: distinguishes these figures from others of the script.
    """
    times = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            start = time.perf_counter()
            result = work()
            times[name].append(result if isinstance(result, Seconds) else time.perf_counter() - start)
    for name, values in times.items():
        parts = (about, *(name if isinstance(name, tuple) else (name,)))
        figure(", ".join(word_for(part) for part in parts if part != ""), values)
    return times


def word_for(part):
    """Return the name of a part of a work's name in a figure: a path's last part, as folders are new in each run."""
    return part.name if isinstance(part, Path) else str(part)


def spread(values, form=".2f"):
    """Return the median of values and their range, as text."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def rates(count, times):
    """Return how many a second, in millions, for each of several times."""
    return [count / time / 1e6 for time in times]


def threads_word(count):
    """Return a number of threads in words."""
    return f"{count} thread{'s' * (count > 1)}"


def process(*command):
    """Return a function that runs a command from the root of this tree and raises an error where it fails."""

    def work():
        subprocess.run(
            [str(part) for part in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    return work


def peak_bytes(*arguments):
    """Return the peak memory in bytes of an `fm` process with these arguments."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return int(done.stdout.split()[-1])

"""What all benchmarks share: medians of several runs, one kind of work or several in turn, and how to call `fm`."""
import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fmcore import __version__
from fmcore.backends.cpu import CpuBackend
from fmcore.threads import default_threads

ROOT = Path(__file__).resolve().parent.parent
FM = [sys.executable, "-m", "fmcli"]


def parser(description, *, rows=None):
    """An argument parser with --runs and, where a number of rows is given, --rows."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--runs", type=runs, default=5, help="runs of each kind of work, whose median counts (5)")
    if rows is not None:
        made.add_argument("--rows", type=int, default=rows, help=f"rows of generated data ({rows})")
    return made


def runs(text):
    """A number of runs; a median of fewer than 5 says little."""
    if int(text) < 5:
        raise argparse.ArgumentTypeError("at least 5 runs, please")
    return int(text)


def print_setting():
    """Say what is measured on what."""
    print(f"fmkit {__version__}, kernels {CpuBackend().build}, {default_threads()} processors to use "
          f"({platform.machine()}, {platform.system()}), Python {platform.python_version()}")


def print_second_processor(runs):
    """Say what two processes at once get done, so that a ratio of two threads to one can be judged.

    On shared machines the second processor may be a shadow, which no counter of the system tells.
    """
    busy = [sys.executable, "-c", "sum(range(30_000_000))"]

    def both():
        for one in [subprocess.Popen(busy) for _ in range(2)]:
            one.wait()

    times = medians({"one": process(*busy), "both": both}, runs)
    print(f"two busy processes at once do {2 * times['one'] / times['both']:.2f} times the work of one")


def seconds(work, runs):
    """The median wall time of a call."""
    return medians({"": work}, runs)[""]


def medians(works, runs):
    """Median wall times of several kinds of work (name -> function), run in turn so that each meets the same noise."""
    times = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def process(*command):
    """A function that runs a command from the root of this tree and fails where it does."""
    def work():
        subprocess.run([str(part) for part in command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    return work

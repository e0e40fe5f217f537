"""Other programs for factorization machines: which are here, and runs of each, in an interpreter of their own.

They are those that the interpreter can import that runs, or the one that the environment variable FMKIT_PEERS names;
FMKIT_PEERS=none leaves them out. xlearn has no wheels and must be compiled from its source distribution.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from measure import Seconds, figure

PYTHON = os.environ.get("FMKIT_PEERS") or sys.executable
SCRIPT = Path(__file__).with_name("peer_runs.py")
NAMES = ("xlearn", "vowpalwabbit", "modern_fm", "myfm")
LOOK = "import importlib.util, sys; print(*filter(importlib.util.find_spec, sys.argv[1:]))"
ENVIRONMENT = {"USER": "fm", **os.environ}  # xlearn aborts without a USER
EPOCHS = 1  # that a peer trains in one run, after one that is not counted
VW = ("-b", "20", "-q", "ff", "--loss_function", "logistic", "--holdout_off", "--quiet", "--power_t", "0")
VW_RATE = ("-l", "0.02")  # the best of 0.005 to 0.03 on these clicks
VW_VALUE = 0.7  # of every feature, the best of 0.3 to 1; with 1, scores of its first factors are so large that it fails
# Without its normalisation, small first factors, and rate and decay from a grid: the lowest test loss after an epoch.
XLEARN = {"lr": 0.04, "lambda": 0.002, "init": 0.02}
MODERN_FM = {"learning_rate": 0.04, "l2_linear": 1e-3, "l2_factors": 1e-3}


@cache
def here():
    """Return the names of the peers that can be run."""
    if PYTHON == "none":
        return ()
    return tuple(subprocess.check_output([PYTHON, "-c", LOOK, *NAMES], text=True).split())


def print_missing():
    """Print which peers are not compared with."""
    if missing := [name for name in NAMES if name not in here()]:
        print(f"not installed, so not compared with: {', '.join(missing)}")
    for name in here():
        figure(f"{name} is here", [1], "count")


def run(peer, folder, **given):
    """Run a peer with these arguments in a folder, to which it may write files; return its output."""
    done = subprocess.run(
        [PYTHON, str(SCRIPT), peer, json.dumps(given, default=str)],
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def vowpal_wabbit(folder, *arguments):
    """Run Vowpal Wabbit to its end."""
    subprocess.run(
        [PYTHON, "-m", "vowpalwabbit", *map(str, arguments)],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def write_vowpal_wabbit(batch, path):
    """Write rows in its text format: label, namespace f with the value of its features, their numbers."""
    rows = zip(batch.labels.tolist(), batch.indices.reshape(len(batch), -1).tolist(), strict=True)
    path.write_text("".join(f"{2 * label - 1:g} |f:{VW_VALUE} {' '.join(map(str, row))}\n" for label, row in rows))


def xlearn_epoch(folder, train, factors, threads):
    """Return the seconds of an epoch by xLearn's count, rows in memory; only the first call decodes the text."""
    printed = run("xlearn", folder, train=train, k=factors, threads=threads, epochs=1 + EPOCHS, parameters=XLEARN)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    epochs = [float(line.split()[-1]) for line in plain.splitlines() if re.match(r"\[\s*\d+%\s*\]", line)]
    return Seconds(statistics.mean(epochs[1:]))


def modern_fm_epoch(folder, train, factors):
    """Return the seconds of an epoch on one thread: those that further epochs add to the first one."""
    printed = run("modern_fm_epoch", folder, train=train, k=factors, epochs=EPOCHS, parameters=MODERN_FM)
    return Seconds(printed.split()[-1])


def myfm_epoch(folder, train, factors):
    """Return the seconds of an iteration of its sampler over all rows."""
    return Seconds(run("myfm_epoch", folder, train=train, k=factors, epochs=EPOCHS).split()[-1])


def vowpal_wabbit_epoch(folder, train, factors):
    """Return the seconds of a pass over its cache: those that further passes add to the first one."""
    given = ("-d", train, "--cache_file", "vw.cache", *VW, *VW_RATE, "--rank", factors, "--passes")
    took = []
    for passes in (1, 1 + EPOCHS):
        took.append(-time.perf_counter())
        vowpal_wabbit(folder, *given, passes)
        took[-1] += time.perf_counter()
    return Seconds((took[1] - took[0]) / EPOCHS)

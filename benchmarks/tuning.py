"""Measure how good `fm tune` is: the default space on four real data sets, against defaults and a random search.

python benchmarks/tuning.py [--quick] [--trials 40] [--jobs 2] [--seeds 3] [--only NAME] [DATA_FOLDER]

All are judged by the test rows, which choose the best trial of both searches and so flatter both. Prints how much
sooner two jobs end than one, then a markdown table of the objective, the trials that ran to their end, and seconds.
--quick leaves out the jobs and the largest data set.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import FM, figure, parser, print_second_processor, print_setting, process
from real_sets import REAL
from sets import METRIC, batches

from fmcore.io.convert import RecordWriter

LARGEST = "mnist-0"
NAMES = ("online-shoppers", "ml-latest-small", "a9a", LARGEST)
JOB_TRIALS = 24
FIXED = ("--epochs", 20, "--num-factors", 8)  # so that all trials take about as long
ALONE = ("--threads", 1)


def main():
    """Print the tables, or a note where the data are absent."""
    options = arguments()
    folder = Path(options.folder)
    if not folder.is_dir():
        print(f"skipped: there is no folder {folder} with the real data")
        return
    print_setting()
    print_second_processor(options.runs)
    if not options.only and not options.quick:
        with tempfile.TemporaryDirectory() as work:
            print_jobs(folder, Path(work), options)
    print(f"{options.trials} trials, {options.jobs} jobs of one thread; {options.seeds} seeds\n")
    print("| data | objective | defaults | fm tune | to the end | seconds | random search | to the end | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in [options.only] if options.only else names(options.quick):
        with tempfile.TemporaryDirectory() as work:
            print(compare(name, folder, Path(work), options), flush=True)


def names(quick):
    """Return the names of the data sets, the largest last or left out."""
    return [name for name in NAMES if not quick or name != LARGEST]


def arguments():
    """Return the options of the command line."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--quick", action="store_true", help=f"neither the jobs nor {LARGEST!r}")
    made.add_argument("--trials", type=int, default=40, help="of each search (40)")
    made.add_argument("--jobs", type=int, default=2, help="processes of each search (2)")
    made.add_argument("--seeds", type=int, default=3, help="of each search, whose median counts (3)")
    made.add_argument("--only", choices=NAMES, help="one data set's line alone")
    made.add_argument("folder", nargs="?", default=os.environ.get("FMKIT_DATA", "../shared/data"))
    return made.parse_args()


def written(name, folder, work):
    """Return files of the training and of the test rows, and the predictor type."""
    parts = batches(REAL[name], folder)
    feature_dim = max(part.feature_dim for part in parts)
    paths = [work / "train.rec", work / "test.rec"]
    for part, path in zip(parts, paths, strict=True):
        writer = RecordWriter(feature_dim)
        with path.open("wb") as handle:
            handle.write(writer.encode(part))
    return paths, REAL[name].kind


def compare(name, folder, work, options):
    """Return one line of the table: medians over the seeds."""
    (rows, test), predictor_type = written(name, folder, work)
    given = ("--predictor-type", predictor_type, "-o", work / "best.fm", "--test", test, rows)
    process(*FM, "train", *given, *ALONE, "-q")()
    metrics = json.loads(subprocess.check_output([*FM, "eval", work / "best.fm", test, "--json", "-q"]))
    cells = [name, METRIC[predictor_type], f"{metrics[METRIC[predictor_type]]:.5f}"]
    for strategy in ("bayesian", "random"):
        found = sorted(
            tuned(
                *given,
                "--strategy",
                strategy,
                "--trials",
                options.trials,
                "--jobs",
                options.jobs,
                "--threads",
                options.jobs,
                "--seed",
                seed,
            )
            for seed in range(options.seeds)
        )
        best, ended, seconds = found[len(found) // 2]
        figure(f"{name}, {strategy}", [objective for objective, *_ in found], "loss")
        figure(f"{name}, {strategy}, seconds", [took for *_, took in found])
        cells += [f"{best:.5f} ({found[0][0]:.5f} to {found[-1][0]:.5f})", f"{ended}", f"{seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def tuned(*given):
    """Return (objective of the best trial, trials that ran to their end, seconds) of a search."""
    start = time.perf_counter()
    printed = subprocess.check_output([str(word) for word in (*FM, "tune", *given, "-q")], text=True)
    seconds = time.perf_counter() - start
    best = re.search(r"^test:\S+: (\S+)$", printed, re.MULTILINE)[1]
    return float(best), int(re.search(r"(\d+) to the end", printed)[1]), seconds


def print_jobs(folder, work, options):
    """Print how long a random search takes with one job and with two, alternately."""
    (rows, test), predictor_type = written(LARGEST, folder, work)
    given = (
        "--predictor-type",
        predictor_type,
        "-o",
        work / "best.fm",
        "--test",
        test,
        rows,
        "--strategy",
        "random",
        "--trials",
        JOB_TRIALS,
        *FIXED,
    )
    took = {jobs: [] for jobs in (1, 2)}
    for seed in range(options.runs):
        for jobs, times in took.items():
            times.append(tuned(*given, "--jobs", jobs, "--threads", jobs, "--seed", seed)[2])
    ratios = sorted(one / two for one, two in zip(*took.values(), strict=True))
    print(
        f"two jobs end {ratios[len(ratios) // 2]:.2f} times sooner than one on {LARGEST!r} ({ratios[0]:.2f} to "
        f"{ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    sys.exit(main())

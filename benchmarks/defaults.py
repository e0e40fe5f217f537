"""What `fm train` reaches on data of every kind with nothing given but what to predict and which columns are what.

    python benchmarks/defaults.py [--quick] [--only NAME,...] [--seeds 3] [--made 101,...] [--tuned] [DATA_FOLDER]

Beside it: the mean label, and scikit-learn's ridge or logistic regression with its defaults. DATA_FOLDER has the real
sets (default: ../shared/data, or $FMKIT_DATA); programs beside it make others, and more come with Python packages.
Prints a markdown table of test losses, and at the end which are more than 1 % above the linear model's.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import fmean, geometric_mean

import packaged
import real_sets
from linear import constant, linear
from measure import FM, figure, parser, print_setting

BEHIND = 1.01  # times the linear model's loss


def main():
    """Print the table, and who is behind."""
    options = arguments()
    print_setting()
    sets = found(options.folder, options)
    print(f"{options.seeds} seeds, whose mean counts\n")
    head = ["data", "rows", "metric", "mean label", "linear", *(f"seed {seed}" for seed in range(options.seeds))]
    head += ["times linear", *(["tuned"] if options.tuned else [])]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    times = {one.name: compare(one, options) for one in sets}
    behind = [
        f"{name} {ratio:.3f}" for name, ratio in sorted(times.items(), key=lambda item: -item[1]) if ratio > BEHIND
    ]
    print(f"\ntimes the linear model's loss, geometric mean of {len(times)} sets: {geometric_mean(times.values()):.4f}")
    print(f"more than 1 % behind it, {len(behind)} of {len(times)}: {', '.join(behind) or 'none'}")


def arguments():
    """Return the options of the command line."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="without the sets that take longest")
    made.add_argument("--tuned", action="store_true", help="with `fm tune` on the training rows too, as slow as it is")
    made.add_argument("--trials", type=int, default=40, help="of --tuned (40)")
    made.add_argument("--seeds", type=int, default=3, help="of each (3; 1 with --once)")
    made.add_argument("--made", type=numbers, default=[101], help="seeds of the sets that are made (101)")
    made.add_argument("--only", type=lambda text: text.split(","), help="these sets alone, such as a9a,diamonds")
    made.add_argument("folder", nargs="?", type=Path, default=os.environ.get("FMKIT_DATA", "../shared/data"))
    options = made.parse_args()
    options.seeds = 1 if options.runs == 1 else options.seeds
    return options


def numbers(text):
    """Return numbers that stand between commas."""
    return [int(word) for word in text.split(",")]


def found(folder, options):
    """Return the wanted sets; print which are not here."""
    sets = [*real_sets.here(folder, options.made), *packaged.here()]
    if not folder.is_dir():
        print(f"there is no folder {folder} with the real data")
    if packaged.missing():
        print(f"not installed, and so without their data (extra bench): {', '.join(packaged.missing())}")
    if unknown := set(options.only or ()) - {one.name for one in sets}:
        raise SystemExit(f"there is no set {', '.join(sorted(unknown))}")
    if options.only:
        return [one for one in sets if one.name in options.only]
    return [one for one in sets if one.quick or not options.quick]


def compare(one, options):
    """Print one line of the table; return how many times the linear model's loss that of `fm train` is."""
    rows, test = one.read(options.folder)
    with tempfile.TemporaryDirectory() as work:
        files = [part.write(Path(work, name), one.label) for part, name in ((rows, "train"), (test, "test"))]
        given = ("--label-column", one.label) if files[0].suffix == ".csv" else ()
        given += ("--categorical", ",".join(rows.categorical)) if rows.categorical else ()
        untuned = [reached(one, files, "train", *given, "--seed", seed) for seed in range(options.seeds)]
        search = ("--cv", 5, "--trials", options.trials)
        tuned = [reached(one, files, "tune", *given, *search)] if options.tuned else []
    beside = [model(one.kind, rows, test) for model in (constant, linear)]
    times = fmean(untuned) / beside[1]
    figure(f"{one.name}, {one.metric}", untuned, "loss")
    cells = [one.name, f"{len(rows):,}", one.metric, *map(shown, beside + untuned), f"{times:.3f}", *map(shown, tuned)]
    print(f"| {' | '.join(cells)} |", flush=True)
    return times


def reached(one, files, command, *given):
    """Return the test loss of the model that a command of `fm` makes of the training rows."""
    rows, test = files
    model = rows.with_name("model.fm")
    fm(command, rows, "-o", model, "--predictor-type", one.kind, *given)
    return json.loads(fm("eval", model, test, "--json"))[one.metric]


def fm(*arguments):
    """Return what a process of `fm` prints; raise an error where it fails."""
    return subprocess.check_output([str(word) for word in (*FM, *arguments, "-q")], text=True)


def shown(loss):
    """Return a loss as text."""
    return f"{loss:.5g}"


if __name__ == "__main__":
    main()

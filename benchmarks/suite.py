"""All benchmarks one after the other, then the table of marks; figures kept, or compared with some that were.

    python benchmarks/suite.py [--full] [--save FILE | --base FILE] [--marks | SCRIPT...]

Without --full the scripts that take longest do less, and all of them take a quarter of an hour. --base runs again what
the file holds, in the way that it was measured, and exits with 1 where a figure has become worse.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import figures
import marks
from measure import FIGURES, ROOT

SCRIPTS = {  # name -> what follows it on the command line for a quarter of an hour
    "startup": (),
    "train_epoch": (),
    "busy": (),
    "train_to_loss": (),
    "roofline": (),
    "parse_libsvm": (),
    "decode_recordio": (),
    "convert_libsvm": (),
    "predict_end_to_end": (),
    "memory": (),
    "streaming": (),
    "growth": ("--quick",),
    "scaling": ("--quick",),
    "quality": (),
    "dense": ("--quick",),
    "device": ("--quick",),
    "serve": (),
    "read_tables": (),
    "vocabulary": ("--rows", "1000000"),
    "defaults": ("--quick",),
    "tuning": ("--quick",),
}
HELPERS = (
    "bandwidth",
    "clicks",
    "crews",
    "figures",
    "linear",
    "machines",
    "marks",
    "measure",
    "packaged",
    "peer_runs",
    "peers",
    "real_sets",
    "sets",
    "suite",
    "traffic",
)
WAYS = {"quick": SCRIPTS, "full": dict.fromkeys(SCRIPTS, ())}


def run(commands):
    """Run scripts (name -> arguments) one after the other, with their output shown; return their figures."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "figures.jsonl")
        kept.touch()
        environment = {**os.environ, FIGURES: str(kept)}
        for name, given in commands.items():
            print(f"\n== {name}", flush=True)
            subprocess.run([sys.executable, ROOT / "benchmarks" / f"{name}.py", *given], env=environment, check=True)
        return figures.read(kept)


def chosen(names, way):
    """Return scripts with their arguments, in the order of SCRIPTS."""
    return {name: given for name, given in WAYS[way].items() if name in names}


def arguments():
    """Return the options of the command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument(
        "--full",
        dest="way",
        action="store_const",
        const="full",
        default="quick",
        help="with all sizes, which takes an hour and 20 GB of memory",
    )
    made.add_argument("--save", metavar="FILE", help="keep the figures there as JSON")
    made.add_argument("--base", metavar="FILE", help="figures to compare with")
    made.add_argument("--marks", action="store_true", help="run only the scripts that the marks take figures from")
    made.add_argument("scripts", nargs="*", metavar="SCRIPT", help=f"those to run (all): {', '.join(SCRIPTS)}")
    options = made.parse_args()
    if options.marks:
        options.scripts += marks.scripts()
    if unknown := set(options.scripts) - set(SCRIPTS):
        made.error(f"there is no script {', '.join(sorted(unknown))}")
    return options


def confirmed(base, found):
    """Return the figures, those of scripts with worse ones measured once more and the better run chosen.

    Another user of the machine who is busy for a minute makes everything that runs meanwhile seem slow.
    """
    way, _, old = base
    suspects = {script for script, _ in figures.worse(old, found)}
    if not suspects:
        return found
    print("\n== once more, for some of their figures seem worse")
    return figures.better_of(found, run(chosen(suspects, way)))


def print_compared(base, found):
    """Print the table of both, and how the machines differ; return 1 where a figure has become worse, else 0."""
    _, before, old = base
    ran, now = {script for script, _ in found}, figures.machine()
    old = {at: one for at, one in old.items() if at[0] in ran}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            print(f"{name}: before {before.get(name)}, now {now.get(name)}")
    print("\n".join(figures.compared(old, found)))
    worse = len(figures.worse(old, found))
    print(f"figures that have become worse: {worse}")
    return int(worse > 0)


def main():
    """Run, save, compare; return the exit code."""
    options = arguments()
    base = figures.load(options.base) if options.base else None
    way = base[0] if base else options.way
    names = options.scripts or ({script for script, _ in base[2]} if base else set(SCRIPTS))
    found = run(chosen(names, way))
    if base:
        found = confirmed(base, found)
    print("\n== marks\n" + "\n".join(marks.table(found)))
    if options.save:
        figures.save(options.save, found, way)
    if base:
        print("\n== compared with " + options.base)
        return print_compared(base, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

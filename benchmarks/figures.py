"""Figures of all benchmarks together: read from the scripts' output, saved with the machine, compared with others."""

import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sysconfig
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from measure import ROOT, rates
from peers import NAMES

from fmcore import __version__
from fmcore.kernels.cpu import CpuBackend
from fmcore.system.threads import default_threads

BETTER = {  # unit -> 1 where more of it is better, -1 where less is, 0 where it only describes the others
    "s": -1,
    "loss": -1,
    "bytes": -1,
    "bytes a non-zero": -1,
    "bytes a value": -1,
    "growth": -1,
    "share": 1,
    "accuracy": 1,
    "rows": 0,
    "count": 0,
}
TOLERANCE = {"loss": 0.002}  # of a unit: by how much medians may differ though the runs of both do not overlap
OTHER_TOLERANCE = 0.05
OTHERS = (  # words in names of figures that are not fmkit's, which are never judged
    "busy process",
    "round trip",
    "at random",
    "in order",
    "xlearn",
    "vowpalwabbit",
    "modern_fm",
    "myfm",
    "scikit-learn",
    "products",
    "trivial",
    "read_csv",
    "import ",
    "google",
    "a dict",
)


@dataclass
class Figure:
    """The values of one kind of work, one a run."""

    values: list
    unit: str

    @property
    def median(self):
        """Return the median of the values."""
        return statistics.median(self.values)


class Found:
    """Figures of all scripts, by script and name; KeyError where a script did not give them."""

    def __init__(self, found):
        self._found = found

    def values(self, script, name):
        """Return a value for each run."""
        return self._found[script, name].values

    def median(self, script, name):
        """Return the median of the values."""
        return statistics.median(self.values(script, name))

    def ratio(self, script, name, other):
        """Return one median divided by another."""
        return self.median(script, name) / self.median(script, other)

    def rates(self, script, name, count="rows"):
        """Return millions of rows a second; count: the figure with the number of rows."""
        return rates(self.median(script, count), self.values(script, name))

    def __contains__(self, at):
        return at in self._found

    def peers(self, script, form):
        """Return by peer the median of the figure that `form` names with the peer's name in it."""
        return {peer: self.median(script, form.format(peer)) for peer in NAMES if (script, form.format(peer)) in self}


def read(path):
    """Return (script, name) -> Figure of the lines that `measure.figure` wrote; repeated names are numbered."""
    found = {}
    for line in Path(path).read_text().splitlines():
        record = json.loads(line)
        plain = name = record["name"] or "time"
        count = 1
        while (record["script"], name) in found:
            count += 1
            name = f"{plain} #{count}"
        found[record["script"], name] = Figure(record["values"], record["unit"])
    return found


def save(path, found, way):
    """Save figures as JSON, with the machine and the way in which they were measured (suite.WAYS)."""
    kept = [{"script": script, "name": name, **asdict(one)} for (script, name), one in found.items()]
    Path(path).write_text(json.dumps({"way": way, "machine": machine(), "figures": kept}, indent=1) + "\n")


def load(path):
    """Return (way, machine, figures) that `save` has written."""
    kept = json.loads(Path(path).read_text())
    found = {(one["script"], one["name"]): Figure(one["values"], one["unit"]) for one in kept["figures"]}
    return kept["way"], kept["machine"], found


def machine():
    """Return the properties of the machine that figures depend on, name -> text or number."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "processors to use": default_threads(),
        "memory bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.platform(),
        "compiler": output_of(compiler(), "--version").partition("\n")[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fmkit": __version__,
        "commit": output_of("git", "-C", str(ROOT), "describe", "--always", "--dirty").strip(),
        "kernels": CpuBackend().build,
    }


def processor():
    """Return the processor's name, as far as the system reports it."""
    with suppress(OSError, TypeError):
        return re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[1]
    return output_of("sysctl", "-n", "machdep.cpu.brand_string").strip() or platform.processor() or platform.machine()


def compiler():
    """Return the name of the C compiler that extensions are built with."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]


def output_of(*command):
    """Return a command's output, or an empty text where it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def worse(base, new):
    """Return (script, name) of fmkit's figures that became worse by more than both spreads and the tolerance explain.

    Seconds are first divided by how much longer what is not fmkit's took in the same script.
    """
    both = [at for at, old in base.items() if at in new and BETTER[old.unit] and not is_other(at)]
    slower = {script: slowdown(base, new, script) for script, _ in both}
    return [at for at in both if judged(base[at], relieved(new[at], slower[at[0]])) == "WORSE"]


def is_other(at):
    """Return whether a figure is a peer's or the machine's."""
    return any(word in at[1] for word in OTHERS)


def slowdown(base, new, script):
    """Return how many times longer other programs took than before in a script; at least 1."""
    ratios = [
        new[at].median / old.median
        for at, old in base.items()
        if at in new and at[0] == script and is_other(at) and old.unit == "s"
    ]
    return max(1, statistics.median(ratios)) if ratios else 1


def relieved(one, slower):
    """Return the Figure that a machine so many times faster would have given."""
    return Figure([value / slower for value in one.values], "s") if one.unit == "s" else one


def better_of(first, second):
    """Return the better median of each figure that was measured twice; other figures unchanged."""
    kept = {**first, **second}
    for at in first.keys() & second.keys():
        sign = BETTER[first[at].unit]
        kept[at] = max(second[at], first[at], key=lambda one, sign=sign: sign * one.median)
    return kept


def compared(base, new):
    """Return the lines of a table of both, with marks at what is worse."""
    lines, bad = ["| figure | unit | before | now | change | |", "|---|---|---|---|---|---|"], set(worse(base, new))
    for at in [*base, *(at for at in new if at not in base)]:
        script, name = at
        old, now = base.get(at), new.get(at)
        if old is None or now is None:
            lines.append(f"| {script}: {name} | {(old or now).unit} | {shown(old)} | {shown(now)} | | |")
        elif BETTER[old.unit]:
            verdict = "WORSE" if at in bad else judged(old, now).replace("WORSE", "as others")
            change = now.median / old.median - 1 if old.median else 0
            lines.append(f"| {script}: {name} | {old.unit} | {shown(old)} | {shown(now)} | {change:+.1%} | {verdict} |")
        elif old.values != now.values:
            lines.append(f"| {script}: {name} | {old.unit} | {shown(old)} | {shown(now)} | | not the same work |")
    return lines


def judged(old, now):
    """Return "WORSE" or "better" where the values do not overlap and the medians are apart, else an empty text."""
    sign = BETTER[old.unit]
    if abs(now.median - old.median) <= TOLERANCE.get(old.unit, OTHER_TOLERANCE) * abs(old.median):
        return ""
    if max(sign * value for value in now.values) < min(sign * value for value in old.values):
        return "WORSE"
    return "better" if min(sign * value for value in now.values) > max(sign * value for value in old.values) else ""


def shown(one):
    """Return a figure's median and range as text."""
    return f"{one.median:.4g} ({min(one.values):.4g} to {max(one.values):.4g})" if one else "absent"

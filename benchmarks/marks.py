"""The marks that fmkit's speed is held to, each beside its measurement: a table of the figures of all scripts.

    python benchmarks/marks.py FILE      figures saved by suite.py; `suite.py --marks` runs the scripts concerned

Where xLearn is not installed, its seconds are estimated as 0.32 of modern-fm's, else 0.65 of Vowpal Wabbit's, all on
one thread, as measured at k = 8 with all three.
"""

import statistics
import sys
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import clicks
import figures
from figures import Found
from measure import spread, threads_word

from fmcore.io.text import codec as text

EPOCH = {8: 4, 16: 3.5, 64: 2.5}  # number of factors -> times xLearn's rows a second
XLEARN_OF = {"modern_fm": 0.32, "vowpalwabbit": 0.65}
THREADS = (1, 2)
PREDICTED = ("many.rec, 2", "predict, 2")  # names of the figure of all rows, whichever there is
SAMPLE = 20_000  # rows whose text is measured


class Mark(NamedTuple):
    """A line of the table. ratio: the value that is held to `wanted`, or None without anything to compare with."""

    work: str
    wanted: str
    found: str
    ratio: float | None
    least: float | None = None
    most: float | None = None

    def line(self):
        """Return the line in markdown."""
        return f"| {self.work} | {self.wanted} | {self.found} | {self.verdict()} |"

    def verdict(self):
        """Return in words whether the mark is met."""
        if self.ratio is None:
            return "not compared"
        met = self.ratio >= self.least if self.most is None else self.ratio <= self.most
        return "met" if met else "NOT MET"


@cache
def row_megabytes():
    """Return the megabytes of a row of clicks as libsvm text."""
    return len(text.encode_libsvm(clicks.generated(SAMPLE))) / SAMPLE / 1e6


def beside(peers):
    """Return the peers' results as text."""
    return "".join(f"; {name} {seconds:.2f} s" for name, seconds in peers.items())


def epochs(found):
    """Return the marks of one training epoch, rows in memory."""
    for factors, times in EPOCH.items():
        for threads in THREADS:
            form = f"k = {factors}, {{}}, {threads}"
            own, peers = found.median("train_epoch", form.format("fmkit")), found.peers("train_epoch", form)
            guesses = [share * peers[name] for name, share in XLEARN_OF.items() if name in peers]
            xlearn = peers.get("xlearn", *guesses[:1]) if "xlearn" in peers or guesses else None
            speed = spread(found.rates("train_epoch", form.format("fmkit")))
            yield Mark(
                f"an epoch in memory, k = {factors}, {threads_word(threads)}",
                f">= {times} x xLearn's rows/s",
                f"{speed} M rows/s, {own:.2f} s{beside(peers)}; {of(xlearn, own)}",
                xlearn and xlearn / own,
                least=times,
            )
        ratio = found.ratio("train_epoch", f"k = {factors}, fmkit, 1", f"k = {factors}, fmkit, 2")
        yield Mark(f"the same, k = {factors}", "2 threads >= 1.8 x one", f"{ratio:.2f} x", ratio, least=1.8)


def beside_busy(found):
    """Return the marks of an epoch on processors shared with busy processes."""
    for threads in THREADS:
        ratio = found.median("busy", f"{threads}, times as long")
        yield Mark(
            f"an epoch beside 2 busy processes, {threads_word(threads)}",
            "<= 3 x as long as alone",
            f"{ratio:.1f} x",
            ratio,
            most=3,
        )


def of(peer, own):
    """Return the ratio of a peer's seconds to ours, as text."""
    return "no peer" if peer is None else f"{peer / own:.1f} x"


def losses(found):
    """Return the marks of training from libsvm text to a model that is as good as any peer's."""
    own, peers = found.median("train_to_loss", "fmkit"), found.peers("train_to_loss", "{}")
    soonest = min(peers.values(), default=None)
    yield Mark(
        "libsvm text to model, whole process",
        ">= 4 x sooner than the soonest peer",
        f"{spread(found.values('train_to_loss', 'fmkit'))} s{beside(peers)}; {of(soonest, own)} the soonest",
        soonest and soonest / own,
        least=4,
    )
    loss = found.median("train_to_loss", "fmkit, test log loss")
    worths = found.peers("train_to_loss", "{}, test log loss")
    best = min(worths.values(), default=None)
    yield Mark(
        "its test log loss",
        "<= the best peer's",
        f"{loss:.4f}" + "".join(f"; {name} {worth:.4f}" for name, worth in worths.items()),
        best and loss / best,
        most=1,
    )


def decoding(found):
    """Return the marks of decoding both formats to rows in memory."""
    for threads in THREADS:
        speeds = found.rates("roofline", f"decoding libsvm, {threads}", "rows decoded")
        each = [1e6 * speed * row_megabytes() / threads for speed in speeds]
        yield Mark(
            f"libsvm text to rows, {threads_word(threads)}",
            ">= 200 MB/s a core",
            f"{spread(each, '.0f')} MB/s a core",
            statistics.median(each),
            least=200,
        )
    speeds = found.rates("roofline", "decoding recordIO, 1", "rows decoded")
    yield Mark(
        "recordIO to rows",
        ">= 5 M rows/s a core",
        f"{spread(speeds)} M rows/s a core",
        statistics.median(speeds),
        least=5,
    )


def converting(found):
    """Return the marks of converting libsvm text to recordIO."""
    speeds = [1e6 * speed * row_megabytes() for speed in found.rates("convert_libsvm", "2")]
    yield Mark(
        "convert libsvm to recordIO, 2 threads",
        ">= 120 MB/s of text",
        f"{spread(speeds, '.0f')} MB/s",
        statistics.median(speeds),
        least=120,
    )
    ratio = found.ratio("memory", "convert all rows", "convert a 4th of the rows")
    yield Mark("its memory, 4 x the rows", "constant: <= 1.1 x", f"{ratio:.2f} x", ratio, most=1.1)


def predicting(found):
    """Return the marks of predicting from recordIO to text, and a few rows with a large model."""
    name = next(name for name in PREDICTED if ("predict_end_to_end", name) in found)
    speeds = found.rates("predict_end_to_end", name)
    yield Mark(
        "predict recordIO to text, k = 16, 2 threads",
        ">= 1.5 M rows/s",
        f"{spread(speeds)} M rows/s",
        statistics.median(speeds),
        least=1.5,
    )
    ratio = found.ratio("predict_end_to_end", "predict", "version")
    yield Mark("ten rows, model of 2 GB", "<= 1.5 x fm --version", f"{ratio:.2f} x", ratio, most=1.5)


def memory(found):
    """Return the marks of the peak memory of training."""
    for name in ("recordIO, in memory", "libsvm, in memory"):
        values = found.values("memory", name)
        yield Mark(
            f"peak memory of training, {name}",
            "<= 12 bytes a non-zero",
            f"{spread(values, '.1f')}",
            statistics.median(values),
            most=12,
        )


def streaming(found):
    """Return the marks of an epoch from disk."""
    for name in ("recordIO", "libsvm"):
        for threads in THREADS:
            ratio = found.ratio("streaming", f"{name}, {threads}", f"memory, {threads}")
            yield Mark(
                f"an epoch streamed from {name}, {threads_word(threads)}",
                "<= 1.3 x the epoch in memory",
                f"{spread(found.rates('streaming', f'{name}, {threads}'))} M rows/s, {ratio:.2f} x",
                ratio,
                most=1.3,
            )


def growth(found):
    """Return the marks of more rows, and of more features."""
    for times in (4, 16):
        name = f"{times} times the rows"
        if ("growth", name) in found:
            ratio = times * found.ratio("growth", "1 times the rows", name)
            yield Mark(
                f"an epoch of {times} M rows", "rows/s within 10 % of 1 M rows", f"{ratio:.2f} x", ratio, least=0.9
            )
    apart = found.median("growth", "features, times as long in times expected")
    yield Mark(
        "an epoch of more features", "as long as the bytes touched say", f"{apart:.2f} x as long", apart, most=1.25
    )


def limits(found):
    """Return the marks of how near training comes to the limit of memory."""
    for factors in EPOCH:
        for threads in THREADS:
            values = found.values("roofline", f"training, k = {factors}, {threads}, share of the limit")
            yield Mark(
                f"training, k = {factors}, {threads_word(threads)}",
                ">= 60 % of the memory's limit",
                spread(values, ".0%"),
                statistics.median(values),
                least=0.6,
            )


class Row(NamedTuple):
    """Marks that use the figures of some scripts."""

    marks: Callable
    scripts: tuple


ROWS = (
    Row(epochs, ("train_epoch",)),
    Row(beside_busy, ("busy",)),
    Row(losses, ("train_to_loss",)),
    Row(decoding, ("roofline",)),
    Row(converting, ("convert_libsvm", "memory")),
    Row(predicting, ("predict_end_to_end",)),
    Row(memory, ("memory",)),
    Row(streaming, ("streaming",)),
    Row(growth, ("growth",)),
    Row(limits, ("roofline",)),
)


def scripts():
    """Return the names of the scripts whose figures the marks use."""
    return {script for row in ROWS for script in row.scripts}


def table(found):
    """Return lines of markdown: the marks whose scripts have given figures."""
    there = {script for script, _ in found}
    lines = ["| work | mark | measured | |", "|---|---|---|---|"]
    for row in ROWS:
        if there.issuperset(row.scripts):
            lines += [mark.line() for mark in row.marks(Found(found))]
    return [*lines, *second_processor(Found(found), there)]


def second_processor(found, scripts):
    """Return a line by which ratios of two threads can be judged, where scripts have measured it."""
    ratios = [
        2 * found.ratio(name, "one busy process", "two busy processes")
        for name in scripts
        if (name, "two busy processes") in found
    ]
    if not ratios:
        return []
    return ["", f"Two busy processes did {min(ratios):.2f} to {max(ratios):.2f} times the work of one."]


def main(path):
    """Print the table of a file."""
    _, _, found = figures.load(path)
    print("\n".join(table(found)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which figures? python benchmarks/marks.py bench.json")
    main(sys.argv[1])

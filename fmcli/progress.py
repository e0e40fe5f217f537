"""Progress on standard error: a bar where it is a terminal, and what reading reports."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fmcli.console import say
from fmcore.io.options import Report


def remarks(report: Report) -> list[str]:
    """Return what reading reports, a line each: notes, the first errors of rows that were left out, and counts."""
    return [
        *(f"note: {note}" for note in report.notes),
        *(f"skipped: {error}" for error in report.errors),
        *(f"{name}: {count:,}" for name, count in report.counts.items()),
    ]


def warn(*reports: Report) -> None:
    """Print the warnings of what was read, however quiet a command is to be."""
    for report in reports:
        for sentence in report.warnings:
            say(f"warning: {sentence}")


class Bar:
    """A tqdm bar where standard error is a terminal and `quiet` is not asked for; nothing otherwise."""

    def __init__(self, *, quiet: bool, **options: Any) -> None:
        self._bar = None
        if not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from tqdm import tqdm

            self._bar = tqdm(file=sys.stderr, leave=False, dynamic_ncols=True, **options)

    def add(self, count: int) -> None:
        """Move the bar by so many units."""
        if self._bar is not None:
            self._bar.update(count)

    def note(self, text: str) -> bool:
        """Show a text behind the bar; return whether there is a bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        return self._bar is not None

    def reach(self, done: int, total: int | None) -> None:
        """Move the bar to so many units of total, None where that is not known."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def byte_bar(description: str, *, quiet: bool) -> Bar:
    """Return a bar over the bytes of the input, for `Data.on_bytes`."""
    return Bar(quiet=quiet, desc=description, unit="B", unit_scale=True, unit_divisor=1024)


@contextmanager
def warned(*reports: Report) -> Iterator[None]:
    """Print the warnings after a block, so that they are its last lines, on failure too, but not to a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except BaseException:
        warn(*reports)
        raise
    warn(*reports)


@contextmanager
def reporting(report: Report, bar: Bar, *, quiet: bool) -> Iterator[None]:
    """Remove the bar after a block and print what reading reports, on failure too, but not to a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        quiet = True
        raise
    finally:
        bar.close()
        for line in remarks(report):
            say(line, quiet=quiet)

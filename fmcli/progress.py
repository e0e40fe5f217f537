"""What every command says on standard error: a bar while it is a terminal, and what reading had to tell."""

import os
import sys
from contextlib import contextmanager

from fmcli.console import say


def remarks(report):
    """What reading had to tell, a line each: notes, the first errors that were passed over, and counts."""
    return [
        *(f"note: {note}" for note in report.notes),
        *(f"skipped: {error}" for error in report.errors),
        *(f"{name}: {count:,}" for name, count in report.counts.items()),
    ]


class Bar:
    """A tqdm bar where standard error is a terminal and nobody asked for silence; nothing otherwise."""

    def __init__(self, *, quiet, **options):
        self._bar = None
        if not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from tqdm import tqdm

            self._bar = tqdm(file=sys.stderr, leave=False, dynamic_ncols=True, **options)

    def add(self, count):
        """So many more units are done."""
        if self._bar is not None:
            self._bar.update(count)

    def note(self, text):
        """Show a text behind the bar; whether there is a bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        return self._bar is not None

    def reach(self, done, total):
        """So many of total (or None) are done."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def close(self):
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def byte_bar(description, *, quiet):
    """A bar over the bytes of the input, for `Data.on_bytes`."""
    return Bar(quiet=quiet, desc=description, unit="B", unit_scale=True, unit_divisor=1024)


@contextmanager
def reporting(report, bar, *, quiet):
    """Take the bar away and say what reading had to tell, where it fails as well, unless nobody listens any more."""
    try:
        yield
    except BrokenPipeError:
        quiet = True
        raise
    finally:
        bar.close()
        for line in remarks(report):
            say(line, quiet=quiet)

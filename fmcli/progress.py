"""What a command says on standard error: a bar while it is a terminal, a line an epoch, remarks at the end."""
import os
import sys
from contextlib import contextmanager

from fmcli.console import say
from fmcore.training import Observer


def say_report(report, *, quiet=False):
    """What reading had to tell: notes, counts, and the first errors that were passed over."""
    for note in report.notes:
        say(f"note: {note}", quiet=quiet)
    for error in report.errors:
        say(f"skipped: {error}", quiet=quiet)
    for name, count in report.counts.items():
        say(f"{name}: {count:,}", quiet=quiet)


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
def reading(report, bar, *, quiet):
    """Take the bar away and say what reading had to tell, where it fails as well, unless nobody listens any more."""
    try:
        yield
    except BrokenPipeError:
        quiet = True
        raise
    finally:
        bar.close()
        say_report(report, quiet=quiet)


def place(dataset):
    """Where the training rows are while training goes on."""
    if not dataset.complete:
        return "a pipe each epoch"
    return "in memory" if dataset.in_memory else "streamed each epoch, beyond the memory limit"


class TrainingProgress(Observer):
    """A bar over the rows of an epoch, and a table with a line an epoch; `records` keeps them all.

    reports: of the training rows, said before training begins unless pipes go on filling it, and of others, said at
    the end.
    """

    def __init__(self, bar, reports, *, quiet):
        self._bar, self._unsaid, self._quiet = bar, list(reports), quiet
        self._columns, self._rows, self._epochs = None, 0, 0
        self.records = []

    def loaded(self, dataset, model, backend):
        """Say what will be trained on what."""
        self._bar.close()
        if dataset.complete:
            say_report(self._unsaid.pop(0), quiet=self._quiet)
        megabytes = sum(array.nbytes for array in model.tensors().values()) / 1e6
        say(f"{'' if dataset.complete else 'first block: '}{dataset.rows:,} rows, {dataset.non_zeros:,} non-zeros, "
            f"feature_dim {model.feature_dim:,}, {place(dataset)}; "
            f"mini-batches of {dataset.mini_batch_size}; model of {megabytes:,.1f} MB; {backend.name}, "
            f"{backend.threads} thread{'s' * (backend.threads > 1)}", quiet=self._quiet)
        self._rows, self._epochs = dataset.rows if dataset.complete else None, model.hyperparameters.epochs
        self._next_bar()

    def rows(self, count):
        """Move the bar."""
        self._bar.add(count)

    def epoch(self, record):
        """Print the epoch's line, after the table's head for the first."""
        self.records.append(record)
        self._bar.close()
        cells = {"epoch": str(record["epoch"])}
        for part in ("train", "test"):
            cells.update({f"{part} {name}": "-" if value is None else f"{value:.5f}"
                          for name, value in record.get(part, {}).items()})
        cells["seconds"], cells["rows/s"] = f"{record['seconds']:.2f}", f"{record['rows_per_second']:,.0f}"
        if self._columns is None or not cells.keys() <= self._columns.keys():  # test rows may come after the last
            self._columns = {name: max(len(name), len(cell), 9) for name, cell in cells.items()}
            say("  ".join(name.rjust(width) for name, width in self._columns.items()), quiet=self._quiet)
        say("  ".join(cells[name].rjust(width) for name, width in self._columns.items()), quiet=self._quiet)
        self._next_bar()

    def _next_bar(self):
        if len(self.records) < self._epochs:
            self._bar = Bar(quiet=self._quiet, desc=f"epoch {len(self.records) + 1}", total=self._rows, unit="row",
                            unit_scale=True)

    def close(self):
        """Take the bar away and say what is left to say."""
        self._bar.close()
        while self._unsaid:
            say_report(self._unsaid.pop(0), quiet=self._quiet)

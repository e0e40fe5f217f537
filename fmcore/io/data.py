"""`Data`: the rows that a command reads, in one or more passes, from files or named pipes."""

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from fmcore.errors import DataError
from fmcore.io.checks import checked
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.sources import source as sources
from fmcore.io.sources.pipes import PipeMode, never, pipes
from fmcore.system import publish


@dataclass
class Data:
    """Rows that a command reads: the names the user gave, how to read them, and the report on reading them.

    report: filled by the first pass over the rows; later passes find the same, and counts must not add up. Pipes may
    give other rows each time, so all their passes fill this one report.
    on_bytes: see read_batches. Data that share an `encoder` encode categorical columns alike.
    pipe: a PipeMode where names holds the prefix of pipes, of which pass i (from 0) reads the i-th; else None.
    stopped: a function called while a pipe is waited for; once it returns True, waiting ends with a StoppedError.
    sources: of all passes, or the pipe of the last pass begun.
    """

    names: list
    options: ReadOptions = field(default_factory=ReadOptions)
    report: Report = field(default_factory=Report)
    encoder: object = None
    on_bytes: object = None
    pipe: PipeMode | None = None
    stopped: object = never

    def __post_init__(self):
        if self.pipe is not None:
            self.sources, self._pipes = [], pipes(self.names, self.pipe)
            self._reports = itertools.repeat(self.report)
        else:
            self.sources = sources.find(self.names)
            self._reports = itertools.chain([self.report], iter(Report, None))

    @property
    def rereadable(self):
        """Return whether all of it can be read more than once."""
        return self.pipe is None and all(source.rereadable for source in self.sources)

    def batches(self, workers=None):
        """Begin a new pass; return its batches and the Report that it fills; workers: see read_batches."""
        if self.pipe is not None:
            self.sources = [replace(next(self._pipes), stopped=self.stopped)]
        report = next(self._reports)
        rows = read_batches(
            self.sources, self.options, report, encoder=self.encoder, on_bytes=self.on_bytes, workers=workers
        )
        return rows, report

    def checked(self, workers=None, **demands):
        """Begin a new pass whose rows meet the demands of fmcore.io.checks.checked; return them and their Report."""
        batches, report = self.batches(workers)
        return checked(batches, report, on_error=self.options.on_error, **demands), report

    def feature_dim(self, seen, stated=None):
        """Return the stated feature_dim, else the largest that rows, records and vocabulary show."""
        return stated or max(seen, self.report.facts.get("feature_dim", 0), self.encoder.feature_dim or 0)

    def vocabulary_output(self, stack):
        """Return a handle, held by an ExitStack, for the vocabulary that reading builds; None if it builds none."""
        if not self.encoder.is_new:
            return None
        return stack.enter_context(publish.whole(self.options.table.vocabulary))

    def cancel(self):
        """End the pass begun last, which another thread reads, where it waits for a pipe."""
        if self.pipe is not None:
            for source in self.sources:
                source.cancelled.set()

    @contextmanager
    def named(self):
        """Add the names of the sources to an error about the rows as a whole."""
        try:
            yield
        except DataError as error:
            error.source = error.source or sources.title(self.sources)
            raise

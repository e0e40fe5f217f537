"""Rows that a command reads: `Data` describes them, a `Reader` reads them pass after pass, from files or pipes."""

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.parallel import Workers
from fmcore.io.readers import read_batches
from fmcore.io.sources import source
from fmcore.io.sources.pipes import PipeMode, existing_pipes, never, pipes
from fmcore.io.sources.source import Source
from fmcore.io.whole import LabelSummary, judge, watched
from fmcore.rows.batch import Batch
from fmcore.rows.checks import checked, known_features
from fmcore.rows.source import LabelRule, Limit
from fmcore.schema.columns import LABEL
from fmcore.schema.schema import Schema
from fmcore.system import publish


@dataclass(frozen=True)
class Data:
    """Rows as a user names them, and how to read them.

    names: of files, folders, patterns, manifests, "-", or Source objects; the prefix of pipes where pipe is a PipeMode.
    report: filled by the first pass over the rows; later passes find the same, and counts must not add up.
    Pipes may give other rows each time, so they have one report for all passes.
    on_bytes: see read_batches.
    sources: the files in order; empty for pipes.
    Raises DataError for names of nothing, UsageError for names that cannot be read.
    """

    names: list
    options: ReadOptions = field(default_factory=ReadOptions)
    report: Report = field(default_factory=Report)
    on_bytes: Callable | None = None
    pipe: PipeMode | None = None
    sources: list[Source] = field(init=False)

    def __post_init__(self) -> None:
        if self.pipe is not None:
            pipes(self.names, self.pipe)  # raises UsageError unless it is one prefix
        object.__setattr__(self, "sources", [] if self.pipe else source.find(self.names))

    @property
    def rereadable(self) -> bool:
        """Return whether all of it can be read more than once."""
        return self.pipe is None and all(each.rereadable for each in self.sources)

    @property
    def title(self) -> str:
        """Return the name of the rows as a whole in messages."""
        return source.title(self.sources) if self.sources else f"{self.names[0]}_0"

    @property
    def paths(self) -> list[str]:
        """Return the paths of all that is read, for fmcore.system.apart; of pipes, of those that exist so far."""
        return [each.path for each in self.sources] or existing_pipes(self.names[0])

    @property
    def uses_stdin(self) -> bool:
        """Return whether standard input is among the sources."""
        return any(each.path == source.STDIN for each in self.sources)

    def reader(
        self, encoder: Any, *, options: ReadOptions | None = None, stopped: Callable[[], bool] = never
    ) -> "Reader":
        """Return a Reader of these rows.

        encoder: fmcore.schema.encoder.Encoder; rows that share one are encoded alike.
        options: in place of the Data's own. stopped: called while a pipe is waited for; once it returns True, waiting
        ends with a StoppedError.
        """
        return Reader(self, encoder, options or self.options, stopped)


class Reader:
    """A reader of the rows of Data, pass after pass; see fmcore.rows.source.Rows.

    report, options: of the Data. encoder: how its columns, or ids, become features.
    sources: of all passes, or the pipe of the last pass begun.
    """

    def __init__(self, data: Data, encoder: Any, options: ReadOptions, stopped: Callable[[], bool] = never) -> None:
        self.data, self.encoder, self.options, self.report = data, encoder, options, data.report
        self.rereadable, self.streaming, self.sources = data.rereadable, data.pipe is not None, data.sources
        self._stopped = stopped
        self._label: dict[str, Any] = {}  # what the first pass showed of labels
        if self.streaming:
            self._pipes, self._reports = pipes(data.names, data.pipe), itertools.repeat(data.report)
        else:
            self._reports = itertools.chain([data.report], iter(Report, None))

    @property
    def title(self) -> str:
        """Return the name of the rows as a whole in messages."""
        return source.title(self.sources) if self.sources else self.data.title

    def batches(self, workers: Workers | None = None) -> tuple[Iterator[Batch], Report]:
        """Return a new pass over the rows, and the Report that it fills; workers: see read_batches."""
        if self.streaming:
            self.sources = [replace(next(self._pipes), stopped=self._stopped)]
        report = next(self._reports)
        rows = read_batches(
            self.sources,
            self.options,
            report,
            encoder=self.encoder,
            on_bytes=self.data.on_bytes,
            workers=workers,
        )
        return rows, report

    def checked(self, workers: Workers | None = None, **demands: object) -> tuple[Iterator[Batch], Report]:
        """Return a new pass over the rows that meet the demands of fmcore.rows.checks.checked, and its Report."""
        batches, report = self.batches(workers)
        return checked(batches, report, on_error=self.options.on_error, **demands), report

    def read(self, labels: LabelRule, feature_dim: Limit = None) -> Iterator[Batch]:
        """See Rows."""
        batches, report = self.checked(labels=labels, feature_dim=feature_dim)
        return self.whole(batches, report, labels, training=True)

    def read_known(self, labels: LabelRule, feature_dim: int) -> Iterator[Batch]:
        """See Rows; the non-zeros left out are counted in the report."""
        batches, report = self.checked(labels=labels)
        batches = self.whole(batches, report, labels, training=False)
        return known_features(batches, report, feature_dim=feature_dim, unseen="ignore")

    def whole(
        self, batches: Iterator[Batch], report: Report, labels: LabelRule | None, *, training: bool
    ) -> Iterator[Batch]:
        """Pass on the batches of a pass over all rows; at the end of the first one do as fmcore.io.whole.judge."""
        if report is not self.report:
            yield from batches
            return
        summary = LabelSummary()
        for batch in watched(batches, report):
            if training:
                summary.add(batch.labels)
            yield batch
        if training:
            self._label = summary.as_dict(self.options)
        if not report.partial:
            self.judge(labels, training=training)

    def judge(self, labels: LabelRule | None, *, training: bool) -> None:
        """Refuse or warn of the rows, which have been read, as fmcore.io.whole.judge does."""
        judge(self.report, self.options, self.data.title, labels, training=training)

    def feature_dim(self, seen: int, stated: int | None = None) -> int:
        """Return the stated feature_dim, else the largest of what rows, records and vocabulary show."""
        ids, known = self.encoder.ids, self.report.facts.get("feature_dim", 0)
        return stated or max(seen, ids.own + known if known and not ids.wide else 0, self.encoder.feature_dim or 0)

    def complete(self, seen: int, stated: int | None, known: int | None) -> int:
        """See Rows."""
        self.encoder.freeze()
        self._require_known(stated or known)
        self.report.count("values added to the vocabulary", self.encoder.added)
        return max(known or 1, self.feature_dim(seen, stated))

    def vocabulary_output(self, stack: ExitStack) -> BinaryIO | None:
        """Return a handle, held by an ExitStack, for the vocabulary that reading builds; None where it builds none."""
        return None if self.encoder.output is None else stack.enter_context(publish.whole(self.encoder.output))

    def look(self, workers: Workers | None = None) -> None:
        """Read the first rows, so that the encoder knows the columns."""
        with closing(self._silent(workers)) as batches:
            next(batches, None)
        self.encoder.seen.clear()  # as it is to be what all rows show

    def learn(self, labels: LabelRule, workers: Workers | None = None) -> None:
        """Read all rows once, so that the encoder knows columns and values before training begins; then drop rare ones.

        A value is rare where fewer rows than the options' min_count have it. Raises UsageError for rows that cannot be
        read again.
        """
        if not self.rereadable:
            raise UsageError(
                f"{self.title} can be read once, but to count the rows of each value, or to list the values for "
                "several workers, takes a pass of its own; give files"
            )
        self.encoder.seen.clear()
        counts, summary = np.zeros(0, np.int64), LabelSummary()
        for batch in self._silent(workers, labels):
            counts = added(counts, batch.indices)
            summary.add(batch.labels)
        self._label = summary.as_dict(self.options)
        least = self.options.table.min_count
        if least > 1:
            seen, kept = self.encoder.keep(counts, least)
            self.report.note(f"values in at least {least} rows are features: {kept:,} of {seen:,}")
        self.encoder.freeze()

    def first(self, count: int, labels: LabelRule, feature_dim: Limit = None) -> list[Batch]:
        """Return the first rows, at least so many where there are, of those that `read` would give; report nothing."""
        batches: list[Batch] = []
        with closing(self._silent(None, labels, feature_dim)) as coming:
            while sum(map(len, batches)) < count and (batch := next(coming, None)) is not None:
                batches.append(batch)
        return batches

    def _silent(
        self, workers: Workers | None, labels: LabelRule | None = None, feature_dim: Limit = None
    ) -> Generator[Batch, None, None]:
        """Yield the batches of a pass that reports notes alone; errors and counts are those of the next pass."""
        report = Report(notes=self.report.notes)
        rows = read_batches(self.sources, self.options, report, encoder=self.encoder, workers=workers)
        with closing(rows):
            yield from checked(rows, report, on_error=self.options.on_error, labels=labels, feature_dim=feature_dim)

    def schema(self) -> Schema:
        """Return what the rows mean, once they have been read."""
        options = self.options
        name = next((column.name for column in self.encoder.columns or () if column.kind == LABEL), None)
        label = {"name": name, "positive": options.positive, **self._label}
        return Schema.of(self.encoder, label=label, min_count=options.table.min_count)

    def cancel(self) -> None:
        """End the last pass begun, which another thread reads, where it waits for a pipe."""
        if self.streaming:
            for each in self.sources:
                each.cancelled.set()

    def named(self) -> AbstractContextManager:
        """See Rows."""
        return self._named()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            error.source = error.source or self.title
            raise

    def _require_known(self, feature_dim: int | None) -> None:
        """Raise UsageError for a feature_dim that could only be guessed from the rows that a pipe has sent so far."""
        if self.streaming and not (feature_dim or self.feature_dim(0)):
            raise UsageError(
                f"{self.title}: these rows do not show how many features there are, and rows "
                "still to come may hold more; give their number with --feature-dim"
            )


def added(counts: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return int64 counts by index with those of more indices, longer where these need it."""
    more = np.bincount(indices, minlength=len(counts))
    more[: len(counts)] += counts
    return more

"""Rows that a command reads: `Data` describes them, a `Reader` reads them pass after pass, from files or pipes."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.parallel import Workers
from fmcore.io.readers import read_batches
from fmcore.io.sources import source
from fmcore.io.sources.pipes import PipeMode, never, pipes
from fmcore.io.sources.source import Source
from fmcore.rows.batch import Batch
from fmcore.rows.checks import checked, known_features
from fmcore.rows.source import LabelRule, Limit
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
    def uses_stdin(self) -> bool:
        """Return whether standard input is among the sources."""
        return any(each.path == source.STDIN for each in self.sources)

    def reader(
        self, encoder: Any, *, options: ReadOptions | None = None, stopped: Callable[[], bool] = never
    ) -> "Reader":
        """Return a Reader of these rows.

        encoder: of categorical columns, as open_encoder gives it; rows that share one are encoded alike.
        options: in place of the Data's own. stopped: called while a pipe is waited for; once it returns True, waiting
        ends with a StoppedError.
        """
        return Reader(self, encoder, options or self.options, stopped)


class Reader:
    """A reader of the rows of Data, pass after pass; see fmcore.rows.source.Rows.

    report, options: of the Data. encoder: of categorical columns.
    sources: of all passes, or the pipe of the last pass begun.
    """

    def __init__(self, data: Data, encoder: Any, options: ReadOptions, stopped: Callable[[], bool] = never) -> None:
        self.data, self.encoder, self.options, self.report = data, encoder, options, data.report
        self.rereadable, self.streaming, self.sources = data.rereadable, data.pipe is not None, data.sources
        self._stopped = stopped
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
        return self.checked(labels=labels, feature_dim=feature_dim)[0]

    def read_known(self, labels: LabelRule, feature_dim: int) -> Iterator[Batch]:
        """See Rows; the non-zeros left out are counted in the report."""
        batches, report = self.checked(labels=labels)
        return known_features(batches, report, feature_dim=feature_dim, unseen="ignore")

    def feature_dim(self, seen: int, stated: int | None = None) -> int:
        """Return the stated feature_dim, else the largest of what rows, records and vocabulary show."""
        known = (self.report.facts.get("feature_dim"), self.encoder.feature_dim, self.encoder.ids.feature_dim)
        return stated or max(seen, *(number or 0 for number in known))

    def complete(self, seen: int, stated: int | None, known: int | None) -> int:
        """See Rows."""
        self.encoder.freeze()
        self._require_known(stated or known)
        if known is not None:
            self.require_columns(known, stated)
        return max(known or 1, self.feature_dim(seen, stated))

    def require_columns(self, known: int, stated: int | None) -> None:
        """Raise UsageError where tables have other columns than those that a model of `known` features knows by index.

        stated: the feature_dim that the user gave, or None. Call it once the rows have been read.
        """
        columns, table = self.encoder.feature_dim, self.options.table
        self.report.count("values added to the vocabulary", self.encoder.added)
        if columns is None or stated is not None:
            return
        if table.vocabulary is not None:
            if columns < known:
                raise UsageError(
                    f"the vocabulary {table.vocabulary} lists {columns} features, but the model to start from "
                    f"has {known}; name the one that it was trained with, or --feature-dim {known}"
                )
        elif columns != known:
            raise UsageError(
                f"these tables have {columns} features, but the model to start from has {known}, and columns "
                "are identified by their order; give the same ones, with --ignore for any other"
            )

    def vocabulary_output(self, stack: ExitStack) -> BinaryIO | None:
        """Return a handle, held by an ExitStack, for the vocabulary that reading builds; None where it builds none."""
        if not self.encoder.is_new:
            return None
        return stack.enter_context(publish.whole(self.options.table.vocabulary))

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

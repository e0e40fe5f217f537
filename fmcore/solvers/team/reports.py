"""Reports of workers' readers, merged into the report that one reader of all sources would make."""

from __future__ import annotations

import os
import socket
from bisect import insort
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fmcore.errors import DataError
from fmcore.io.data import Data, Reader
from fmcore.io.options import SHOWN, ReadOptions, Report
from fmcore.io.sources.ranges import ByteRange, boundary
from fmcore.io.sources.source import Source


class Parts(NamedTuple):
    """The sources that each worker reads. sources: a list for each. places: path -> number, the order of the files."""

    sources: list[list[Source]]
    options: ReadOptions
    places: dict[str, int]

    @classmethod
    def of(cls, sources: list[list[Source]], files: list[Source], options: ReadOptions) -> Parts:
        """Return Parts, given all files in order."""
        paths = dict.fromkeys(file.path for file in files)
        return cls(sources, options, {path: place for place, path in enumerate(paths)})

    def data(self, worker: int, otherwise: Source, encoder: Any) -> Reader:
        """Return a reader of one worker's rows; otherwise: a source for a worker that has none."""
        sources = self.sources[worker]
        return Data(sources or [otherwise], self.options, PartReport(sources, self.places)).reader(encoder)


class PartReport(Report):
    """A Report of a worker's sources, whose errors are the first in the order of the files, however these are read.

    places: path -> number, that order.
    """

    partial = True

    def __init__(self, sources: list[Source], places: dict[str, int]) -> None:
        super().__init__()
        self._begins = {source.name: _begin(source, places) for source in sources}

    def skip(self, error: DataError) -> None:
        """Count a skipped row, and keep its error where it is one of the first; see Report."""
        self.count("rows skipped")
        insort(self.errors, error, key=lambda each: (self._begins[each.source], each.number or 0))
        del self.errors[SHOWN:]


def take_in(report: Report, others: list[Report], parts: Parts, files: list[Source]) -> None:
    """Merge the Reports of workers into the one of all their Parts; errors name places in whole files, as users do."""
    sources = {source.name: source for part in parts.sources for source in part}
    for other in others:
        report.take_in(other)
    errors = [error for other in others for error in other.errors]
    errors.sort(key=lambda error: (_begin(sources[error.source], parts.places), error.number or 0))
    names = as_named(files)
    report.errors = [_in_whole(error, sources, report.units) for error in errors[:SHOWN]]
    for error in report.errors:
        error.source = names[error.source]


def as_named(files: Iterable[Source]) -> dict[str, str]:
    """Return the user's names of the files that workers read: absolute name -> name."""
    return {os.path.abspath(file.path): file.path for file in files}  # noqa: PTH100 - Path.resolve follows links


@contextmanager
def placed(data: Reader, **demands: Any) -> Iterator[None]:
    """Correct the place in a DataError about a row of a range to the place in the whole file.

    data: Data of ByteRanges. demands: arguments of fmcore.rows.checks.checked that its rows have to meet.
    Raises DataError where this machine does not have the file.
    """
    try:
        yield
    except DataError as error:
        source = next((source for source in data.sources if source.name == error.source), None)
        path = source.path if source else str(error.source)
        if not Path(path).exists():
            raise DataError(
                f"there is no such file on {socket.gethostname()}; every worker's machine must have the "
                "files under the same names",
                source=path,
            ) from None
        if isinstance(source, ByteRange):
            whole = Data([Source(source.path, Path(source.path).stat().st_size)], data.options)
            for _ in whole.reader(data.encoder).checked(**demands)[0]:
                pass  # until the same row raises again, or an earlier one
            before = ByteRange(source.path, start=0, stop=source.start, format=source.format)
            skipping = Data([before], replace(data.options, on_error="skip")).reader(None)
            for _ in skipping.batches()[0]:
                pass  # to count them: this file has no error of its own, only together with others
            _moved(error, source, skipping.report.units[before.name])
        raise


def _begin(source: Source, places: dict[str, int]) -> tuple[int, int]:
    return places[source.path], source.start if isinstance(source, ByteRange) else 0


def _in_whole(error: DataError, sources: dict[str, Source], units: dict[str, int]) -> DataError:
    """Return an error of a ByteRange as one of its whole file; units: see Report."""
    source = sources[str(error.source)]
    if not isinstance(source, ByteRange):
        return error
    before = sum(
        units[other.name]
        for other in sources.values()
        if isinstance(other, ByteRange) and other.path == source.path and other.start < source.start
    )
    return _moved(error, source, before)


def _moved(error: DataError, source: ByteRange, before: int) -> DataError:
    """Return an error of a ByteRange, which so many units precede, as one of its whole file."""
    with Path(source.path).open("rb") as file:
        return error.moved(source.path, before, boundary(file, source.start, source.format))

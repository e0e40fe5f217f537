"""Which rows each of several workers reads: files cut into pieces, laid end to end, or sharded row by row."""

import bisect
import heapq
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fmcore.errors import UsageError
from fmcore.io.detect import detect, enough
from fmcore.io.sources import ranges
from fmcore.io.sources.source import Source, title
from fmcore.io.sources.streams import open_source
from fmcore.rows.batch import counted

HEAD = 256 << 10  # bytes from which the size of a row is estimated
ROWS = 4096  # of a piece, about
PIECES = 16  # that each worker gets at least, unless that makes pieces smaller than SMALLEST
SMALLEST = 4 << 10  # bytes of a piece
FILES = 4  # for each worker; with at least so many, files that cannot be cut are assigned whole
RUN = 64  # consecutive rows that go to the same worker where a file is sharded


class Dealt(NamedTuple):
    """The input of all workers. parts: a list of Sources, ByteRanges and ShardedFiles each. notes: for the user."""

    parts: list
    notes: list


@dataclass(frozen=True)
class ShardedFile(Source):
    """A file that each of several workers reads, keeping its own shard of rows; worker 0 reports on the whole file."""

    worker: int = 0
    workers: int = 1


def cuttable(source, options):
    """Return the format by which a source can be cut, or None; options: ReadOptions.

    Raises DataError where a file cannot be opened, or is of no known format.
    """
    name = _kind(source, options) if source.rereadable else None
    return name if ranges.can_cut(name) else None


def row_bytes(source, format):  # noqa: A002  (ReadOptions' word)
    """Return about how many bytes a row has, at least 1, from the first HEAD bytes; format: one that can be cut."""
    with open_source(source) as stream:
        head = stream.read(HEAD)
    if format == "recordio":
        from fmcore.io.recordio import _record

        size, rows, *_ = _record.split(head)
    else:
        size, rows = head.rfind(b"\n") + 1, head.count(b"\n")
    return max(1, size // rows if rows else len(head))


def deal(sources, options, workers, generator=None):
    """Assign sources to workers, as Dealt: each row to one worker, about as many bytes to each.

    Files that can be cut are cut into pieces of about ROWS rows. generator: a numpy Generator that shuffles the pieces,
    so that each worker gets a mixture of data that is sorted; without one they stay in order.
    Files that cannot be cut are assigned whole where they are many and none is large, else every worker reads them all.
    Raises UsageError where a source can be read once only, and DataError as `cuttable`.
    """
    kinds = _kinds(sources, options, workers)
    whole = [source for source, name in kinds if not ranges.can_cut(name)]
    each = sum(source.size for source, name in kinds if ranges.can_cut(name)) // workers
    pieces, notes = [], []
    sharded = [] if _are_many(whole, workers) else whole
    for source, name in kinds:
        if ranges.can_cut(name):
            size = max(SMALLEST, min(each // PIECES, ROWS * row_bytes(source, name)))
            pieces += ranges.cut(source, name, size)
        elif not sharded:
            pieces.append(source)
    if sharded:
        names = " and ".join(sorted({name for _, name in kinds if not ranges.can_cut(name)}))
        notes.append(
            f"{names} files cannot be cut, so every worker reads all of {title(sharded)} and keeps its shard "
            f"of the rows; convert them to recordIO with fm convert, or name {FILES * workers} or more of about "
            "one size"
        )
    if generator is not None:
        pieces = [pieces[n] for n in generator.permutation(len(pieces))]
    parts = _to_the_least_loaded(pieces, workers)
    for number, source in enumerate(sharded):  # rotated, so that each worker has the first rows of some file
        for worker, part in enumerate(parts):
            part.append(ShardedFile(source.path, source.size, (worker + number) % workers, workers))
    return Dealt(parts, notes)


def in_order(sources, options, workers):
    """Return a list of Sources and ByteRanges for each worker, whose rows in order are those of the sources in order.

    Each worker gets about as many bytes, except for files that cannot be cut: the worker in whose span of bytes the
    middle of such a file lies reads all of it. Raises as `deal` does.
    """
    kinds = _kinds(sources, options, workers)
    total = sum(source.size for source in sources)
    bounds = [total * worker // workers for worker in range(workers + 1)]
    parts, first = [[] for _ in range(workers)], 0
    for source, name in kinds:
        last = first + source.size
        if ranges.can_cut(name):
            for part, (begin, end) in zip(parts, itertools.pairwise(bounds), strict=True):
                start, stop = max(begin, first) - first, min(end, last) - first
                if start < stop:
                    part.append(ranges.ByteRange(source.path, start=start, stop=stop, format=name))
        else:
            parts[bisect.bisect(bounds, (first + last) // 2, hi=workers) - 1].append(source)
        first = last
    return parts


def shard(batches, worker, workers):
    """Yield one worker's rows (from 0) of a stream of Batches: row n of all where n // RUN % workers is its number."""
    for first, batch in counted(batches):
        rows = np.flatnonzero(np.arange(first, first + len(batch)) // RUN % workers == worker)
        if len(rows):
            yield batch.take(rows)


def _kinds(sources, options, workers):
    """Return (source, its kind) of each source."""
    for source in sources:
        if not source.rereadable:
            raise UsageError(
                f"{source.name} can be read once only, but each of {workers} workers opens the data and "
                "reads its own part of it; write the rows to a file that all of them see, and name that"
            )
    return [(source, _kind(source, options)) for source in sources]


def _kind(source, options):
    """Return the name of a file's compression where it has one, else its format. Raises DataError as `cuttable`."""
    with open_source(source) as stream:
        if stream.compression:
            return stream.compression
        return detect(stream.head(enough), source.name) if options.format == "auto" else options.format


def _are_many(files, workers):
    """Return whether files can be assigned whole: many enough, and none too large."""
    sizes = [file.size for file in files]
    return len(files) >= FILES * workers and max(sizes) * len(files) <= 2 * sum(sizes)


def _to_the_least_loaded(pieces, workers):
    """Return a list for each worker: every piece goes to the worker with the fewest bytes so far, the first of several.

    Files that cannot be cut are balanced separately: compressed bytes hold another number of rows.
    """
    parts = [[] for _ in range(workers)]
    heaps = {cut: [(0, worker) for worker in range(workers)] for cut in (True, False)}
    for piece in pieces:
        heap = heaps[isinstance(piece, ranges.ByteRange)]
        held, worker = heap[0]
        heapq.heapreplace(heap, (held + piece.size, worker))
        parts[worker].append(piece)
    return parts

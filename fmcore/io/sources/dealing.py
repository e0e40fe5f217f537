"""Who of several workers reads what: files cut and dealt, or laid end to end, or read by all and their rows shared."""

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

HEAD = 256 << 10  # bytes that tell the size of a row
ROWS = 4096  # of a piece, about
PIECES = 16  # that each worker gets at least, where pieces are not SMALLEST
SMALLEST = 4 << 10  # bytes of a piece
FILES = 4  # for each worker, from which on files that cannot be cut are dealt
RUN = 64  # rows that stay together where rows are shared


class Dealt(NamedTuple):
    """What each worker reads: a list of Sources, Ranges and Shares for each. notes: sentences for the user."""

    parts: list
    notes: list


@dataclass(frozen=True)
class Share(Source):
    """A file that each of several workers reads, to keep the rows of its own number; number 0 reports what it holds."""

    worker: int = 0
    workers: int = 1


def cuttable(source, options):
    """The one of ranges.FORMATS by which a source can be cut, or None; options: ReadOptions.

    Raises DataError where a file cannot be opened, or is of no known format.
    """
    name = _kind(source, options) if source.rereadable else None
    return name if name in ranges.FORMATS else None


def row_bytes(source, format):  # noqa: A002  (ReadOptions' word)
    """Bytes of a row about, at least 1, as the first HEAD bytes of a file show; format: one of ranges.FORMATS."""
    with open_source(source) as stream:
        head = stream.read(HEAD)
    if format == "recordio":
        from fmcore.io.recordio import _record

        size, rows, *_ = _record.split(head)
    else:
        size, rows = head.rfind(b"\n") + 1, head.count(b"\n")
    return max(1, size // rows if rows else len(head))


def deal(sources, options, workers, generator=None):
    """Deal sources to workers, as Dealt: each row to one worker, about as many bytes to each.

    What can be cut is, into pieces of about ROWS rows. generator: a numpy Generator that shuffles the pieces, so that
    each worker gets a mixture of data that is sorted; without one they stay in order.
    Files that cannot be cut are dealt whole where they are many and none is large, else every worker reads them all.
    Raises UsageError where a source can be read once only, and DataError as `cuttable`.
    """
    kinds = _kinds(sources, options, workers)
    whole = [source for source, name in kinds if name not in ranges.FORMATS]
    each = sum(source.size for source, name in kinds if name in ranges.FORMATS) // workers
    pieces, notes = [], []
    shared = [] if _are_many(whole, workers) else whole
    for source, name in kinds:
        if name in ranges.FORMATS:
            size = max(SMALLEST, min(each // PIECES, ROWS * row_bytes(source, name)))
            pieces += ranges.cut(source, name, size)
        elif not shared:
            pieces.append(source)
    if shared:
        names = " and ".join(sorted({name for _, name in kinds if name not in ranges.FORMATS}))
        notes.append(
            f"{names} files cannot be cut, so every worker reads all of {title(shared)} and keeps its share "
            f"of the rows; make recordIO of them with fm convert, or name {FILES * workers} or more of about "
            "one size"
        )
    if generator is not None:
        pieces = [pieces[n] for n in generator.permutation(len(pieces))]
    parts = _to_the_poorest(pieces, workers)
    for number, source in enumerate(shared):  # in turn the first, so that each has the first rows of some
        for worker, part in enumerate(parts):
            part.append(Share(source.path, source.size, (worker + number) % workers, workers))
    return Dealt(parts, notes)


def in_order(sources, options, workers):
    """A list of Sources and Ranges for each worker; their rows one after the other are those of the sources in order.

    Each gets about as many bytes, but for files that cannot be cut, which the worker reads within whose bytes their
    middle lies. Raises as `deal`.
    """
    kinds = _kinds(sources, options, workers)
    total = sum(source.size for source in sources)
    bounds = [total * worker // workers for worker in range(workers + 1)]
    parts, first = [[] for _ in range(workers)], 0
    for source, name in kinds:
        last = first + source.size
        if name in ranges.FORMATS:
            for part, (begin, end) in zip(parts, itertools.pairwise(bounds), strict=True):
                start, stop = max(begin, first) - first, min(end, last) - first
                if start < stop:
                    part.append(ranges.Range(source.path, start=start, stop=stop, format=name))
        else:
            parts[bisect.bisect(bounds, (first + last) // 2, hi=workers) - 1].append(source)
        first = last
    return parts


def share(batches, worker, workers):
    """Of a stream of Batches the rows of one worker (from 0): row n of all where n // RUN % workers is its number."""
    for first, batch in counted(batches):
        rows = np.flatnonzero(np.arange(first, first + len(batch)) // RUN % workers == worker)
        if len(rows):
            yield batch.take(rows)


def _kinds(sources, options, workers):
    """(source, its kind) of each source."""
    for source in sources:
        if not source.rereadable:
            raise UsageError(
                f"{source.name} can be read once only, but each of {workers} workers opens the data and "
                "reads its own part of it; write the rows to a file that all of them see, and name that"
            )
    return [(source, _kind(source, options)) for source in sources]


def _kind(source, options):
    """What a file is: its compression's name where it has one, else its format's. Raises DataError as `cuttable`."""
    with open_source(source) as stream:
        if stream.compression:
            return stream.compression
        return detect(stream.head(enough), source.name) if options.format == "auto" else options.format


def _are_many(files, workers):
    """Whether files make fair parts as they are."""
    sizes = [file.size for file in files]
    return len(files) >= FILES * workers and max(sizes) * len(files) <= 2 * sum(sizes)


def _to_the_poorest(pieces, workers):
    """A list for each worker: every piece goes to who has the fewest bytes so far, the first of several.

    Files that could not be cut count apart: compressed bytes hold other numbers of rows.
    """
    parts = [[] for _ in range(workers)]
    heaps = {cut: [(0, worker) for worker in range(workers)] for cut in (True, False)}
    for piece in pieces:
        heap = heaps[isinstance(piece, ranges.Range)]
        held, worker = heap[0]
        heapq.heapreplace(heap, (held + piece.size, worker))
        parts[worker].append(piece)
    return parts

"""The reader that joins all formats: sources in order, in whatever format, as batches."""

from contextlib import closing, nullcontext
from functools import partial

import numpy as np

from fmcore.errors import DataError
from fmcore.io.detect import detect, enough
from fmcore.io.formats import AUTO, FORMATS, choices
from fmcore.io.given import require_meaning
from fmcore.io.grouping import Grouping
from fmcore.io.indexing import SHIFTED, UNKNOWN_IDS, Indexing
from fmcore.io.labels import Labels
from fmcore.io.options import Report, require_one_of
from fmcore.io.parallel import Workers
from fmcore.io.sources.dealing import ShardedFile, shard
from fmcore.io.sources.ranges import ByteRange
from fmcore.io.sources.source import title
from fmcore.io.sources.streams import open_source
from fmcore.schema.ids import id_map
from fmcore.system.memory import keep_freed

NOTES = {  # fact -> (the option of ReadOptions that makes use of it, the note without that)
    "fields": ("fields", "libffm fields are checked and ignored: a factorization machine has one vector a feature"),
    "qid": ("groups", "qid: tokens are ignored: rows are not grouped by query"),
}


def read_batches(sources, options, report, *, encoder=None, on_bytes=None, workers=None):
    """Yield the rows of all sources, in order, as non-empty batches with their origins; labels are mapped.

    sources: list of Source. options: ReadOptions. report: Report, filled on the way.
    encoder: from values of columns and from ids to indices (`fmcore.io.tables.vocabulary.open_encoder`).
    on_bytes: called as on_bytes(done, total) now and then: bytes read so far, as they are in the files (compressed),
    and their sum over all sources, or None where one is not a regular file.
    workers: Workers that decode, by default options.threads of their own.

    Rows do not depend on the number of threads. Raises DataError at the first bad unit after the batches before it;
    with on_error="skip" the unit is counted in the report instead, unless the rest of the stream cannot be decoded.
    """
    require_one_of("format", options.format, choices())
    require_one_of("on error", options.on_error, ("fail", "skip"))
    keep_freed()
    sizes = [source.size for source in sources]
    total, done = None if None in sizes else sum(sizes), 0
    with nullcontext(workers) if workers else Workers(options.threads) as shared:
        grouping = Grouping() if options.groups else None
        reading, silent = (_Reading(options, filled, encoder, shared, grouping) for filled in (report, Report()))
        for source in sources:
            reader = silent if isinstance(source, ShardedFile) and source.worker else reading
            with open_source(source) as stream, closing(reader.batches(source, stream)) as batches:
                for batch in batches:
                    if on_bytes is not None:
                        on_bytes(done + stream.consumed, total)
                    if len(batch):
                        yield batch
                done += stream.consumed if source.size is None else source.size
            if on_bytes is not None:
                on_bytes(done, total)
        reading.finish(sources)


class _Reading:
    """The state that one call of read_batches keeps from source to source."""

    def __init__(self, options, report, encoder, workers, grouping):
        self._options, self._report, self._encoder, self._workers = options, report, encoder, workers
        self._grouping = grouping
        ids = id_map(options.id_bits, compact=options.compact) if encoder is None else encoder.ids
        self._indexing = Indexing(ids, options.base, options.unseen)
        self._labels = Labels(binary=options.binary, positive=options.positive)

    def batches(self, source, stream):
        """Return the batches of one source, or of a worker's rows of a ShardedFile."""
        batches = self._batches(source, stream)
        return shard(batches, source.worker, source.workers) if isinstance(source, ShardedFile) else batches

    def _batches(self, source, stream):
        name = source.format if isinstance(source, ByteRange) else self._options.format
        if name == AUTO:
            name = detect(stream.head(enough), source.name)
        require_meaning(self._options, name, source.name)
        codec = FORMATS[name].codec
        if codec is None:
            yield from self._table(source, stream, name)
        else:
            with closing(self._decoded(source, stream, codec(self._options))) as decoded:
                yield from map(self._mapped, decoded)

    def finish(self, sources):
        """Add the notes that need all of the data."""
        for fact, (option, sentence) in NOTES.items():
            if fact in self._report.facts and not getattr(self._options, option):
                self._report.note(sentence)
        if self._grouping and self._grouping.grouped is False:
            self._report.learn("no qid", 1)
        if self._labels.negative is not None:
            self._report.learn(f"label {self._labels.negative:g}", 1)
        if SHIFTED in self._report.facts and "index_base" not in self._options.given:
            self._report.note(
                "keys of recordIO are counted from 1, as indices were in training; --index-base 0 is for rows that "
                "fm convert wrote with --index-base 1"
            )
        if not any(isinstance(source, ByteRange) for source in sources):
            note_indices(self._report, self._options, sources)

    def _table(self, source, stream, name):
        if name == "parquet" and (stream.compression or not source.rereadable):
            raise DataError(
                "Parquet can only be read from an uncompressed regular file, as it is read from its end; make it one",
                source=source.name,
            )
        from fmcore.io.tables import codec as tables

        return tables.read(
            source, stream, self._options, self._report, name, encoder=self._encoder, labels=self._labels
        )

    def _decoded(self, source, stream, codec):
        """Yield batches with their place in the source; labels are still those of the data."""
        units = offset = 0
        with closing(self._pieces(source, stream, codec)) as pieces:
            for piece, size, unknown in pieces:
                if isinstance(piece, DataError):
                    raise piece.moved(source.name, units, offset)
                for error in piece.skipped:
                    self._report.skip(error.moved(source.name, units, offset))
                for fact in piece.facts:
                    self._report.learn(*fact)
                self._report.count(UNKNOWN_IDS, unknown)
                origin = piece.batch.origin
                piece.batch.origin = origin._replace(source=source.name, numbers=np.asarray(origin.numbers) + units)
                yield piece.batch
                units += piece.units
                offset += size
        if isinstance(source, ByteRange):
            self._report.units[source.name] = units

    def _pieces(self, source, stream, codec):
        indexing = None if self._indexing.in_order else self._indexing
        return self._workers.map(partial(_decode, codec, indexing), _cut(codec, source, stream))

    def _mapped(self, batch):
        for rule in (self._labels, self._grouping) if self._grouping else (self._labels,):
            batch = self._held_to(rule, batch)
        return self._indexing.apply(batch)[0] if self._indexing.in_order else batch

    def _held_to(self, rule, batch):
        bad = rule.apply(batch)
        if not len(bad):
            return batch
        if self._options.on_error == "fail":
            raise rule.error(batch, bad[0])
        for row in bad:
            self._report.skip(rule.error(batch, row))
        return batch.take(np.delete(np.arange(len(batch)), bad))


def note_indices(report, options, sources):
    """Add a note where the indices of all these sources look 1-based."""
    if options.index_base == "auto" and report.facts.get("min_index") == 1:
        report.note(
            f"lowest index is 1 in {title(sources)}: indices look 1-based and are kept as they are; "
            "--index-base 1 would shift them to 0"
        )


def _cut(codec, source, stream):
    try:
        yield from codec.chunks(stream)
    except DataError as error:
        error.moved(source.name)
        raise


def _decode(codec, indexing, chunk):
    """Return (Decoded or DataError, bytes of the piece, non-zeros of unknown ids); the caller places the error.

    indexing: an Indexing that may be applied out of order, or None.
    """
    try:
        decoded, unknown = codec.decode(chunk), 0
        if indexing is not None:
            batch, unknown = indexing.apply(decoded.batch)
            decoded = decoded._replace(batch=batch)
    except DataError as error:
        return error, len(chunk), 0
    return decoded, len(chunk), unknown

"""The reader that joins all formats: sources in order, in whatever format, as batches."""

from array import array
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np

from fmcore.errors import DataError
from fmcore.io.detect import detect, enough
from fmcore.io.formats import AUTO, FORMATS, choices
from fmcore.io.formats.json import shows_features
from fmcore.io.given import require_meaning
from fmcore.io.grouping import Grouping
from fmcore.io.indexing import SHIFTED, UNKNOWN_IDS, Indexing
from fmcore.io.labels import POSITIVE, Labels
from fmcore.io.options import Report, require_one_of
from fmcore.io.parallel import Workers
from fmcore.io.sources.dealing import ShardedFile, shard
from fmcore.io.sources.ranges import ByteRange
from fmcore.io.sources.source import title
from fmcore.io.sources.streams import open_source
from fmcore.io.waiting import HeldIds, encoded
from fmcore.rows.checks import require_within
from fmcore.schema.ids import id_map
from fmcore.system.memory import keep_freed

NOTES = {  # fact -> (the option of ReadOptions that makes use of it, the note without that)
    "fields": ("fields", "libffm fields are checked and ignored: a factorization machine has one vector a feature"),
    "qid": ("groups", "qid: tokens are ignored: rows are not grouped by query"),
}


def read_batches(sources, options, report, *, encoder=None, on_bytes=None, workers=None):
    """Yield the rows of all sources, in order, as non-empty batches with their origins; labels are mapped.

    sources: list of Source. options: ReadOptions. report: Report, filled on the way.
    encoder: fmcore.schema.encoder.Encoder, from values of columns and from ids to indices.
    on_bytes: called as on_bytes(done, total) now and then: bytes read so far, as they are in the files (compressed),
    and their sum over all sources, or None where one is not a regular file.
    workers: Workers that decode, by default options.threads of their own.

    Rows do not depend on the number of threads. The first are held where they decide on buckets. Raises DataError at
    the first bad unit after the batches before it; with on_error="skip" the unit is counted in the report instead,
    unless the rest of the stream cannot be decoded.
    """
    require_one_of("format", options.format, choices())
    require_one_of("on error", options.on_error, ("fail", "skip"))
    keep_freed()
    with closing(_pieces(sources, options, report, encoder, on_bytes, workers)) as pieces:
        yield from encoded(pieces, report)


def _pieces(sources, options, report, encoder, on_bytes, workers):
    """Yield as `read_batches` does, but rows that wait for buckets as they are."""
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
        self._grouping, self._rows = grouping, 0  # rows so far, those left out included
        ids = id_map(options.id_bits, compact=options.compact) if encoder is None else encoder.ids
        if ids.wide != options.wide:  # options that say otherwise than a model
            self._options = options = replace(options, compact=ids.wide, hash_ids=False)
        self._indexing = Indexing(ids, options.base, options.unseen)
        self._labels = Labels(binary=options.binary, positive=options.positive)

    def batches(self, source, stream):
        """Return the batches of one source, or of a worker's rows of a ShardedFile."""
        batches = self._batches(source, stream)
        return shard(batches, source.worker, source.workers) if isinstance(source, ShardedFile) else batches

    def _batches(self, source, stream):
        name = source.format if isinstance(source, ByteRange) else self._options.format
        if name == AUTO:
            name = self._detected(source, stream)
        codec, names = FORMATS[name].codec, FORMATS[name].names
        is_table = codec is None or (names is not None and names(stream.head(shows_features)))
        if stream.head(bool):  # what is empty is of no format
            require_meaning(self._options, name, source.name, is_table=is_table)
        if is_table:
            yield from self._table(source, stream, name)
        else:
            with closing(self._decoded(source, stream, codec(self._options))) as decoded:
                yield from map(self._mapped, self._indexed(source, decoded, asked=names is None))

    def _detected(self, source, stream):
        """Return the name of the format; a delimiter that is given makes what looks like none a table."""
        try:
            return detect(stream.head(enough), source.name)
        except DataError:
            if self._options.table.delimiter is None:
                raise
            return "csv"

    def _indexed(self, source, batches, *, asked):
        """Yield batches of indices, which are refused where columns are known instead.

        asked: whether that holds unless they are taken by position; requests to a model say what they mean, unless the
        columns have buckets, whose indices only the model knows.
        """
        columns = None if self._encoder is None else self._encoder.columns
        for batch in batches:
            if self._encoder is not None and len(batch):
                by_position = self._options.by_position or not (asked or self._encoder.learns or self._encoder.buckets)
                self._encoder.take_indices(source.name, by_position=by_position)
            if columns is not None:
                require_within(batch, self._encoder.feature_dim)
            yield batch

    def finish(self, sources):
        """Add the notes that need all of the data."""
        for fact, (option, sentence) in NOTES.items():
            if fact in self._report.facts and not getattr(self._options, option):
                self._report.note(sentence)
        if self._grouping and self._grouping.grouped is False:
            self._report.learn("no qid", 1)
        if self._labels.found:
            self._report.learn(POSITIVE, 1)
        self._report.labels += self._labels.others
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

        places = self._options.on_error == "skip"
        report = SkippedNumbers(self._report) if places else self._report
        batches = tables.read(source, stream, self._options, report, name, encoder=self._encoder, labels=self._labels)
        return self._placed(batches, report) if places else batches

    def _placed(self, batches, left_out):
        """Yield the batches of a table with the places of their rows among all rows; left_out: a SkippedNumbers."""
        for batch in batches:
            passed = left_out.before(batch.origin.numbers)
            places = self._rows + 1 + np.arange(len(batch)) + passed
            batch.origin = batch.origin._replace(places=places)
            self._rows = int(places[-1])
            yield batch
        self._rows += len(left_out.numbers)

    def _decoded(self, source, stream, codec):
        """Yield batches with their places in the source and among all rows; labels are still those of the data."""
        units = offset = 0
        with closing(self._pieces(source, stream, codec)) as pieces:
            for piece, size, unknown in pieces:
                if isinstance(piece, DataError):
                    raise piece.moved(source.name, units, offset)
                left_out = array("q")  # numbers within the piece
                for error in piece.skipped:
                    left_out.append(error.number)
                    self._report.skip(error.moved(source.name, units, offset))
                for fact in piece.facts:
                    self._report.learn(*fact)
                self._report.count(UNKNOWN_IDS, unknown)
                origin = piece.batch.origin
                numbers, places = np.asarray(origin.numbers) + units, self._places(origin.numbers, left_out)
                piece.batch.origin = origin._replace(source=source.name, numbers=numbers, places=places)
                yield piece.batch
                units += piece.units
                offset += size
        if isinstance(source, ByteRange):
            self._report.units[source.name] = units

    def _places(self, numbers, left_out):
        """Return the places of a piece's rows among all rows, int64 (rows,); None where none may be left out.

        numbers, left_out: which units of the piece are its rows, and rows that are left out, both ascending.
        """
        if self._options.on_error != "skip":
            return None
        first = self._rows + 1
        self._rows += len(numbers) + len(left_out)
        return first + np.arange(len(numbers), dtype=np.int64) + np.searchsorted(left_out, numbers)

    def _pieces(self, source, stream, codec):
        indexing = None if self._indexing.in_order else self._indexing
        return self._workers.map(partial(_decode, codec, indexing), _cut(codec, source, stream))

    def _mapped(self, batch):
        for rule in (self._labels, self._grouping) if self._grouping else (self._labels,):
            batch = self._held_to(rule, batch)
        if self._indexing.waits:
            return HeldIds(self._indexing, batch)
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


class SkippedNumbers:
    """A Report that also keeps the numbers of the rows that are left out of one source, from the last row given on."""

    def __init__(self, report):
        self._report, self.numbers = report, array("q")

    def skip(self, error):
        """Do as Report.skip."""
        self.numbers.append(error.number)
        self._report.skip(error)

    def before(self, numbers):
        """Return how many rows were left out before each of these, which come next; their numbers ascend."""
        left_out = np.sort(np.array(self.numbers, np.int64))
        passed = np.searchsorted(left_out, numbers)
        self.numbers = array("q", left_out[passed[-1] :].tolist())
        return passed

    def __getattr__(self, name):
        return getattr(self._report, name)


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

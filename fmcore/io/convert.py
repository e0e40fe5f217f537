"""Convert rows of any format to recordIO or libsvm files in a stream, and summarize the rows on the way."""

import itertools
from array import array
from collections import Counter
from pathlib import Path

import numpy as np

from fmcore.errors import UsageError
from fmcore.io.labels import label_text
from fmcore.io.sources import streams
from fmcore.rows.batch import counted
from fmcore.schema.columns import NUMBERS

OUTPUT_FORMATS = ("recordio", "libsvm")
NO_BUCKETS = (
    "numeric columns have no buckets, as fm train gives them; --vocabulary FILE, which keeps the edges, adds them"
)
MANY_LABELS = 20  # with more distinct labels, a data set is no classification, and label counts are not shown


class Summary:
    """Rows, non-zeros, feature_dim, label counts and the range of values of a data set, batch by batch."""

    def __init__(self):
        self.rows = self.non_zeros = self.feature_dim = self.unlabelled = 0
        self.labels = Counter()
        self.label_range = self.value_range = None

    def add(self, batch):
        """Add a batch to the summary."""
        self.rows += len(batch)
        self.non_zeros += len(batch.indices)
        self.feature_dim = max(self.feature_dim, batch.feature_dim)
        self._add_labels(batch.labels[~np.isnan(batch.labels)])
        self.unlabelled += int(np.isnan(batch.labels).sum())
        values = np.ones(min(1, len(batch.indices))) if batch.values is None else batch.values
        self.value_range = widened(self.value_range, values)

    def _add_labels(self, labels):
        self.label_range = widened(self.label_range, labels)
        if self.labels is not None:
            self.labels.update(dict(zip(*(a.tolist() for a in np.unique(labels, return_counts=True)), strict=True)))
            if len(self.labels) > MANY_LABELS:
                self.labels = None

    def as_dict(self):
        """Return the summary, ready for JSON; label_counts is None beyond MANY_LABELS distinct labels."""
        counts = None if self.labels is None else {label_text(label): n for label, n in sorted(self.labels.items())}
        return {
            "rows": self.rows,
            "non_zeros": self.non_zeros,
            "feature_dim": self.feature_dim,
            "label_counts": counts,
            "label_range": self.label_range,
            "unlabelled": self.unlabelled,
            "value_range": self.value_range,
        }


def widened(so_far, numbers):
    """Return [lowest, highest] of the range so far (or None) and of the numbers."""
    if not len(numbers):
        return so_far
    both = [*(so_far or ()), float(numbers.min()), float(numbers.max())]
    return [min(both), max(both)]


def shard_paths(path, shards):
    """Return the paths of an output's shards: a.rec in 2 becomes a-00000-of-00002.rec and a-00001-of-00002.rec."""
    if shards == 1:
        return [path]
    if path == "-":
        raise UsageError("standard output cannot be written in several shards; name a file")
    target = Path(path)
    first, dot, rest = target.name.partition(".")
    return [str(target.with_name(f"{first}-{n:05d}-of-{shards:05d}{dot}{rest}")) for n in range(shards)]


def deal(batch, shards, first_row):
    """Return the batch's rows for each shard: row n of all goes to shard n % shards."""
    if shards == 1:
        return [batch]
    return [batch.take(slice((shard - first_row) % shards, None, shards)) for shard in range(shards)]


class RecordWriter:
    """A writer of recordIO-protobuf; an unknown feature_dim is filled in at the end, where the file is seekable."""

    def __init__(self, feature_dim=None):
        self.feature_dim = feature_dim
        self._sizes = {}  # handle -> bytes of each piece written to it

    def encode(self, batch):
        """Return the batch as bytes; may be called from several threads at once."""
        from fmcore.io.recordio import codec as recordio

        return recordio.encode(batch, self.feature_dim)

    def write(self, handle, piece):
        """Write bytes that `encode` returned."""
        handle.write(piece)
        self._sizes.setdefault(handle, array("q")).append(len(piece))

    def finish(self, feature_dim, workers):
        """Fill in feature_dim in the files that were written without it."""
        from fmcore.io.recordio import codec as recordio

        for handle, sizes in self._sizes.items() if self.feature_dim is None else ():
            handle.flush()
            recordio.patch_feature_dim(handle.name, feature_dim, sizes, workers)


class LibsvmWriter:
    """A writer of text, one row a line."""

    def encode(self, batch):
        """Return the batch as bytes; may be called from several threads at once."""
        from fmcore.io.text import codec as text

        return text.encode_libsvm(batch)

    def write(self, handle, piece):
        """Write bytes that `encode` returned."""
        handle.write(piece)

    def finish(self, feature_dim, workers):
        """Do nothing: the files are complete."""


def writer_for(rows, paths, output_format, feature_dim=None):
    """Return the writer of the rows of a `Reader`, which may read them all to learn the feature_dim that records state.

    Raises UsageError where they can be read only once, and the files cannot be completed at the end.
    """
    if output_format == "libsvm":
        return LibsvmWriter()
    if feature_dim is None and not fills_in_later(paths):
        if not rows.rereadable:
            target = "standard output" if paths[0] == "-" else paths[0]
            raise UsageError(
                "a record states feature_dim, which is known only after all rows are read: from a pipe to "
                f"{target}, give it with --feature-dim, or write to an uncompressed file"
            )
        feature_dim = rows.feature_dim(counted_feature_dim(rows.batches()[0]))
    return RecordWriter(feature_dim)


def fills_in_later(paths):
    """Return whether all outputs are uncompressed files, in which a feature_dim can be filled in at the end."""
    return all(streams.compression_of(path) is None and is_plain_target(path) for path in paths)


def is_plain_target(path):
    """Return whether the path is, or will be, a regular file."""
    return path != "-" and (not Path(path).exists() or Path(path).is_file()) and not path.startswith("/dev/")


def convert(batches, handles, writer, workers):
    """Write all rows, encoded by Workers and distributed over the handles; return their Summary."""

    def encoded(item):
        first_row, batch = item
        return batch, [writer.encode(part) for part in deal(batch, len(handles), first_row)]

    summary = Summary()
    for batch, parts in workers.map(encoded, counted(batches)):
        for handle, part in zip(handles, parts, strict=True):
            writer.write(handle, part)
        summary.add(batch)
    return summary


def note_buckets(rows):
    """Note in the report of a `Reader` that its numeric columns have no buckets, where nobody asked for that."""
    encoder = rows.encoder
    numeric = any(column.kind in NUMBERS for column in encoder.columns or ())
    if numeric and not encoder.buckets and rows.options.table.buckets is None:
        rows.report.note(NO_BUCKETS)


def counted_feature_dim(batches):
    """Return the feature_dim of the rows, by reading them all."""
    return max(itertools.chain([0], (batch.feature_dim for batch in batches)))

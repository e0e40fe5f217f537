"""Which index a column of a table takes: numeric columns, and categorical values by a vocabulary or by hashing."""

import hashlib
from pathlib import Path

import numpy as np

from fmcore.errors import DataError, ModelError, UsageError
from fmcore.io.tables import vocabulary_file as vocabularyfile
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema.ids import MAX_HASH_BITS, IdMap, id_map


def open_encoder(options, *, build=True, grow=False):
    """Return the encoder that `ReadOptions` ask for; use one for all files of a run: they share their indices.

    A vocabulary whose file exists is read and fixed. One whose file does not exist grows while tables are read
    (`is_new`), and the caller writes it when the reading is done; with build=False the file must exist. With grow
    it is read and grows from there.
    Raises UsageError where the options do not fit together, DataError where the vocabulary's file is damaged.
    """
    if options.table.vocabulary is not None and options.table.hash_bits is not None:
        raise UsageError("--vocabulary and --hash-bits exclude each other: values are either listed or hashed")
    encoder = _encoder(options.table, build=build, grow=grow)
    encoder.ids = id_map(options.id_bits, compact=options.compact) if build else known_ids(options)
    return encoder


def known_ids(options):
    """Return the IdMap of a model by its ReadOptions; raise ModelError where these do not suffice."""
    if options.compact:
        raise ModelError("the model does not hold the ids that --compact numbered; train it again")
    return id_map(options.id_bits)


def _encoder(table, *, build, grow):
    if table.hash_bits is not None:
        return Hashing(table.hash_bits)
    if table.vocabulary is None:
        return Encoder()
    path = Path(table.vocabulary)
    if path.exists():
        return Vocabulary.read(path, grow=grow)
    if not build:
        raise UsageError(f"the vocabulary {path} does not exist; name the one of the training rows with --vocabulary")
    return Vocabulary()


class Encoder:
    """Numeric columns alone: each takes one index, in the order of the first table's columns.

    is_new: what was learned must be written by the caller at the end (vocabularies only).
    ids: an IdMap, the way from ids to indices where rows are of an index format.
    """

    is_new = False
    added = 0  # how many values it has added

    def __init__(self):
        self.ids = IdMap()
        self._numeric = None  # column name -> index, once a table has been seen
        self._fields = {}  # column name -> field, where fields are asked for

    @property
    def feature_dim(self):
        """Return one more than the largest index there is, or None before the first table."""
        return None if self._numeric is None else len(self._numeric)

    def freeze(self):
        """Learn no more from here on; only a new vocabulary and a map of ids learn at all."""
        self.ids.freeze()

    def bind(self, numeric, categorical):
        """Return int32 indices of the numeric columns (names, in the file's order) of a table about to be read.

        Raises UsageError where the columns differ from those of earlier tables.
        """
        self._accept(categorical)
        if self._numeric is None:
            self._numeric = {name: index for index, name in enumerate(numeric)}
        for name in numeric:
            if name not in self._numeric:
                raise UsageError(f"numeric column {name!r} is new: {self._expected()} (leave it out with --ignore)")
        present = set(numeric)
        for name in self._numeric:
            if name not in present:
                raise UsageError(f"numeric column {name!r} is missing from this table: {self._expected()}")
        return np.array([self._numeric[name] for name in numeric], np.int32)

    def fields(self, columns):
        """Return the field of each feature column of a table: int32 (columns,).

        columns: their names, in the file's order. The first table's are 0, 1, ... in that order; a later table's have
        the number of their name, wherever they stand in it, and new ones the next.
        """
        return np.array([self._fields.setdefault(name, len(self._fields)) for name in columns], np.int32)

    def encode(self, columns):
        """Return the indices of the distinct values of categorical columns.

        columns: (name, Texts) pairs, in the file's order.
        Returns one int32 array a column, by code; -1 where the value has no index.
        """
        return [np.full(len(texts.values), -1, np.int32) for _, texts in columns]

    def _accept(self, categorical):
        if categorical:
            raise UsageError(
                f"categorical columns ({', '.join(categorical)}) need either --vocabulary FILE, which lists their "
                "values, or --hash-bits B, which hashes them into 2**B indices"
            )

    def _expected(self):
        return f"the tables before it have {', '.join(self._numeric) or 'none'}"


class Hashing(Encoder):
    """Categorical values hashed into 2**bits indices after the numeric columns.

    index = numeric columns + (H(column=value) mod 2**bits), where H is BLAKE2b (RFC 7693) with a digest of 8 bytes
    read as a little-endian integer, over the UTF-8 text: equal on every platform and in every run.
    """

    def __init__(self, bits):
        super().__init__()
        if not 1 <= bits <= MAX_HASH_BITS:
            raise UsageError(f"--hash-bits is {bits}; expected 1 to {MAX_HASH_BITS}")
        self._buckets = 1 << bits

    @property
    def feature_dim(self):
        """Return the dimension as for numeric columns, and all indices that a hash may take."""
        return None if self._numeric is None else len(self._numeric) + self._buckets

    def encode(self, columns):
        """Do as `Encoder.encode`; every value has an index."""
        return [self._hash(name, texts.values) for name, texts in columns]

    def _hash(self, name, values):
        prefix = hashlib.blake2b(f"{name}=".encode(), digest_size=8)
        digests = bytearray()
        for value in values:
            text = prefix.copy()
            text.update(value.encode())
            digests += text.digest()
        hashes = np.frombuffer(bytes(digests), "<u8") % self._buckets
        return (hashes + len(self._numeric)).astype(np.int32)

    def _accept(self, categorical):
        pass


class Vocabulary(Encoder):
    """A list of every numeric column and every (categorical column, value), each with its index.

    While it grows, values get indices in order of first appearance: by row, and within a row by column, so that the
    size of the blocks that a table is read in does not matter.
    """

    def __init__(self):
        super().__init__()
        self.is_new = True
        self._growing = True
        self._values = {}  # column name -> {value -> index}
        self._size = 0

    @property
    def feature_dim(self):
        """Return how many indices there are so far."""
        return self._size

    @classmethod
    def read(cls, path, *, grow=False):
        """Return the vocabulary in that file, fixed unless it may grow. Raise DataError naming the wrong line."""
        self = cls()
        self.is_new = self._growing = grow
        self._numeric, self._values, self._size = vocabularyfile.read(path)
        return self

    def write(self, handle):
        """Write the file's bytes to a binary handle."""
        vocabularyfile.write(handle, self.entries())

    def freeze(self):
        """Add no more values: what is not listed from here on is unknown."""
        super().freeze()
        self._growing = False

    def names(self):
        """List, by index: "column=value", or "column" where it is numeric."""
        return [column if value is None else f"{column}={value}" for column, value in self.entries()]

    def bind(self, numeric, categorical):
        """Do as `Encoder.bind`; the vocabulary's categorical columns must be there as well."""
        indices = super().bind(numeric, categorical)
        self._size = max(self._size, len(self._numeric))
        return indices

    def encode(self, columns):
        """Do as `Encoder.encode`; a vocabulary that grows adds new values, otherwise they have no index."""
        tables = [self._known(name, texts.values) for name, texts in columns]
        if self._growing:
            self._grow(columns, tables)
        return tables

    def _accept(self, categorical):
        present = set(categorical)
        for name in self._values:
            if name not in present:
                raise UsageError(
                    f"column {name!r} is categorical in the vocabulary, but not in this table; "
                    f"the vocabulary's are {', '.join(self._values)}"
                )
        for name in categorical:
            if name in (self._numeric or ()):
                raise UsageError(f"column {name!r} is categorical in this table, but numeric in the vocabulary")
            self._values.setdefault(name, {})

    def _expected(self):
        return f"the vocabulary has {', '.join(self._numeric) or 'none'}"

    def _known(self, name, values):
        find = self._values[name].get
        return np.fromiter((find(value, -1) for value in values), np.int32, len(values))

    def _grow(self, columns, tables):
        new = []
        for number, ((_, texts), table) in enumerate(zip(columns, tables, strict=True)):
            unknown = np.flatnonzero(table < 0)
            if len(unknown):
                first = _first_rows(texts)[unknown].tolist()
                new += [
                    (row, number, code)
                    for row, code in zip(first, unknown.tolist(), strict=True)
                    if row < len(texts.codes)
                ]
        for _, number, code in sorted(new):
            name, texts = columns[number]
            tables[number][code] = self._index(name, texts.values[code])

    def _index(self, name, value):
        index = self._values[name].setdefault(value, self._size)
        self.added += index == self._size
        self._size = max(self._size, index + 1)
        if self._size > MAX_FEATURE_DIM:
            raise DataError(f"more than {MAX_FEATURE_DIM} different values", field=name)
        return index

    def entries(self):
        """List, by index: (column, value), the value None where the column is numeric."""
        entries = [None] * self._size
        for name, index in (self._numeric or {}).items():
            entries[index] = (name, None)
        for name, values in self._values.items():
            for value, index in values.items():
                entries[index] = (name, value)
        return entries


def _first_rows(texts):
    """Return for each code the first row that has it; the number of rows where none has."""
    rows = len(texts.codes)
    first = np.full(len(texts.values) + 1, rows, np.int64)  # the last is for missing (-1)
    first[texts.codes[::-1]] = np.arange(rows)[::-1]  # of several assignments to one place the last one stays
    return first[:-1]

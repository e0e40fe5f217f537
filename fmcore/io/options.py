"""The options that every reader understands, kept in the model so that scoring reads as training did."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import ClassVar

from fmcore.errors import UsageError
from fmcore.families import Family
from fmcore.objectives import Objective
from fmcore.schema.options import TableOptions

SHOWN = 5  # errors of rows that were left out
SKIPPED, UNKNOWN = "rows skipped", "unknown values"  # what a report counts them as, the latter column by column
RARE = "rare values left out"  # likewise
KEPT_OPTIONS = ("index_base", "binary", "positive")  # of ReadOptions, in a model; those of tables: KEPT_TABLE
KEPT_TABLE = ("delimiter", "quotes", "missing", "missing_values", "canonical", "min_count", "hash_bits")
KEPT_WHERE_SET = ("fields", "groups", "compact")  # likewise, in a model that was trained with them


@dataclass(frozen=True)
class ReadOptions:
    """All options of a reader.

    format: a name of fmcore.io.formats.FORMATS, or "auto", which looks at the first bytes.
    index_base: of libsvm, libffm, and the keys of recordIO and requests. "0" and "auto" keep indices as they stand, "1"
    subtracts one.
    compact: whether the ids of these formats, up to 2**64 - 1, are numbered as they first appear.
    on_error: "fail", or "skip" to leave a bad unit out and count it.
    binary: labels are checked and mapped to {0, 1} (see `Labels`); positive: the label that means 1, as written.
    threads: decoding threads.
    unseen: "ignore" counts categorical values that a finished vocabulary does not hold, "error" refuses the first.
    fields: whether batches get `fields`, from libffm (as written) and tables (a column is a field, numbered from 0 in
    the order of the feature columns); rows of other formats have none.
    groups: whether batches get `groups`, the qid of libsvm and libffm text. Then a row without one in data whose first
    row has one is a DataError; rows of other formats, and data without any, have none.
    by_position: whether columns, or indices, of another kind of rows than those of training are taken in their order.
    hash_ids: whether table.hash_bits is for the ids of index formats; not in the options of a model of tables, for
    which they are indices as they stand.
    width: how many features a dense list of a request, or its shape, must have; None for any.
    given: names of fields of this and of TableOptions that the user chose, for `fmcore.io.given`.
    """

    format: str = "auto"
    index_base: str = "auto"
    on_error: str = "fail"
    binary: bool = False
    positive: str | None = None
    table: TableOptions = field(default_factory=TableOptions)
    threads: int = 1
    unseen: str = "ignore"
    fields: bool = False
    groups: bool = False
    by_position: bool = False
    compact: bool = False
    hash_ids: bool = True
    width: int | None = None
    given: frozenset[str] = frozenset()

    @property
    def wide(self) -> bool:
        """Return whether index formats have ids of 64 bits, which a map turns into indices."""
        return self.compact or self.id_bits is not None

    @property
    def id_bits(self) -> int | None:
        """Return the bits into which the ids of index formats are hashed, or None."""
        return self.table.hash_bits if self.hash_ids else None

    @property
    def base(self) -> int:
        """Return the number from which index formats count."""
        return int(self.index_base == "1")


def needed_by(options: ReadOptions, objective: Objective, family: Family) -> ReadOptions:
    """Return the options with the fields that a family needs, and the classes or groups that an objective does."""
    fields, groups = options.fields or family.needs_fields, options.groups or objective.groups
    return replace(options, fields=fields, groups=groups, binary=options.binary or objective.binary)


@dataclass
class Report:
    """The report of a reader besides its rows; filled while reading, printed by the caller.

    notes: sentences, each once. warnings: likewise, those that a user must see, however quiet a command is to be.
    counts: name -> number (of "rows skipped", "unknown values", ...).
    errors: the first few errors that on_error="skip" passed over.
    facts: name -> number, observations of the data as a whole: "min_index" is the smallest over all pieces, every
    other ("max_index", "feature_dim", ...) the largest.
    labels: label as written -> rows, of rows among which none has the positive label that the options name.
    units: name of a ByteRange that was read to its end -> lines or records that it holds, rows or not.
    """

    partial: ClassVar[bool] = False  # whether it is of a part of the rows, from which nothing follows for all of them
    notes: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    errors: list = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    warnings: list = field(default_factory=list)
    units: dict = field(default_factory=dict)

    def note(self, sentence):
        """Add a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def warn(self, sentence):
        """Add a sentence, once, that is printed at the end, however quiet a command is to be."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def count(self, name, number=1):
        """Add to a named count."""
        if number:
            self.counts[name] = self.counts.get(name, 0) + number

    def learn(self, name, value):
        """Add a fact about a piece of the data."""
        pick = min if name == "min_index" else max
        self.facts[name] = pick(value, self.facts.get(name, value))

    def skip(self, error):
        """Count a row left out because of `error`, and keep the first SHOWN errors."""
        self.count(SKIPPED)
        if len(self.errors) < SHOWN:
            self.errors.append(error)

    def take_in(self, other):
        """Add the report of another reader, of other rows."""
        for sentence in other.notes:
            self.note(sentence)
        for sentence in other.warnings:
            self.warn(sentence)
        self.labels += other.labels
        for name, number in other.counts.items():
            self.count(name, number)
        for name, value in other.facts.items():
            self.learn(name, value)
        self.errors += other.errors[: SHOWN - len(self.errors)]
        self.units.update(other.units)


def require_one_of(name, value, allowed):
    """Raise UsageError unless value is one of allowed."""
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")

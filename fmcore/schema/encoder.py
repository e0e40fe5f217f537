"""How the columns of tables, and the ids of index formats, become features: learned from the first rows, then fixed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema.buckets import Buckets
from fmcore.schema.coding import Values, grow
from fmcore.schema.columns import LABEL, Column
from fmcore.schema.cutting import Cutting
from fmcore.schema.features import Hashed, Listed
from fmcore.schema.ids import IdMap
from fmcore.schema.matching import Binding, bound, label_absent, listed_plain, matched
from fmcore.schema.options import TableOptions
from fmcore.schema.own import Entry, OwnFeatures
from fmcore.schema.roles import columns_of

MOST_COLUMNS, MOST_LETTERS = 100_000, 1 << 20  # of a table
MOST_SEEN = 10_000  # columns of which a model keeps what training saw


class Heading(NamedTuple):
    """The columns of a table, before its rows are read.

    title: of the table, for messages. names: one a column. named: whether a header gave them. found: the kind that the
    content of each column shows, or None.
    """

    title: str
    names: Sequence[str]
    named: bool
    found: Sequence[str | None]


class Encoder:
    """The features of rows; use one for all rows of a run: they share their indices.

    Numeric columns come first, with their buckets, and dates, in the order of the first table's columns; then values as
    they first appear: by row, and within a row by column, so that the size of the blocks that rows are read in does not
    matter.

    values: Listed or Hashed. columns: of the first table, in its order; None before it, and for index formats.
    named: whether a header named them. learns: whether the content of the first table decides on columns that no option
    names. grows: whether values are added. barred: why categorical columns cannot be had, to follow their names in a
    message; None where they can. ids: the way from the ids of index formats to indices.
    """

    def __init__(
        self,
        values: Listed | Hashed | None = None,
        columns: Sequence[Column] | None = None,
        *,
        named: bool = True,
        learns: bool = True,
        grows: bool = True,
        barred: str | None = None,
        ids: IdMap | None = None,
    ) -> None:
        self.values = Listed() if values is None else values
        self.columns = None if columns is None else tuple(columns)
        self.named, self.learns, self.grows = named, learns, grows
        self.barred, self.ids = barred, ids or IdMap()
        self.output: str | None = None  # path of the vocabulary to write once rows are read
        self.indexed: int | bool = False  # whether rows have indices instead of columns; or how many features those are
        self._begun = len(self.values)
        self._begun_ids = 0 if self.ids.bits is not None else self.ids.feature_dim or 0
        self.pruned = False  # whether what it does not list are values that were dropped as rare
        self.seen: dict[str, dict[str, float]] = {}  # numeric column -> its range and missing fields
        self._cutting = Cutting()
        self._of_file: tuple[Entry, ...] | None = None  # own features that a vocabulary file lists
        self._own = self._placed()

    # ------------------------------------------------------------------------------------------------ dimensions
    @property
    def fixed(self) -> int:
        """Return how many features columns have of their own, before those of values."""
        return self._own.size

    @property
    def added(self) -> int:
        """Return how many values it has added to those that it began with; 0 where it began with none."""
        return len(self.values) - self._begun if self._begun and isinstance(self.values, Listed) else 0

    @property
    def feature_dim(self) -> int | None:
        """Return one more than the largest index there is, or None where only the rows show it."""
        if self.columns is None:
            return None if self.indexed is False else self.ids.feature_dim
        return self.fixed + len(self.values)

    @property
    def lists_values(self) -> bool:
        """Return whether rows of these columns, or ids, can show values that are to be added."""
        if self.columns is None:
            return self.ids.grows
        valued = any(column.is_valued for column in self.columns or ())
        return valued and self.grows and isinstance(self.values, Listed)

    def freeze(self) -> None:
        """Learn no more from here on: what is not listed is unknown."""
        self.learns = self.grows = False
        self.ids.freeze()

    # --------------------------------------------------------------------------------------------------- columns
    def bind(self, head: Heading, options: TableOptions, report: Any, *, by_position: bool = False) -> Binding:
        """Return where the columns are in a table about to be read.

        The first table decides on them, by the options and by what it shows; every other is matched by name.
        Raises DataError for a feature column that is missing, UsageError for columns that do not fit the options, and
        for a table where rows before had indices, or that has names where those before had none, and the reverse.
        """
        if self.columns is None:
            self._require_columns(head, by_position=by_position)
            self.columns, self.named = self._decided(head, options), head.named
            self._own = self._placed()
            binding = bound(head.names, self.columns)
            if binding.label is None and options.label is not None:
                report.note(label_absent(options.label))
            return binding
        if self.named != head.named and not by_position:
            raise self._unlike(head)
        names = self._by_position(head) if by_position or not self.named else head.names
        return matched(names, self.columns, options, report, head.title)

    def see(self, column: Column, numbers: np.ndarray) -> None:
        """Take fields of a numeric column, float64 with NaN where missing, into what is seen, until it is frozen."""
        if not (self.learns or self.grows):
            return
        present = numbers[~np.isnan(numbers)]
        found = self.seen.setdefault(column.name, {"missing": 0})
        found["missing"] += len(numbers) - len(present)
        if len(present):
            found["min"] = min(found.get("min", np.inf), float(present.min()))
            found["max"] = max(found.get("max", -np.inf), float(present.max()))

    def take_indices(self, title: str, *, by_position: bool = False) -> None:
        """Take note that rows of an index format come; raise UsageError where columns are known instead."""
        if self.columns is None:
            self.indexed = self.indexed or True
        elif not by_position:
            raise UsageError(
                f"{title} has indices instead of columns, but columns are known by {self._known_by()}; give a table, "
                "or take indices as the features of training, with their buckets, in their order, with --by-position"
            )

    def _require_columns(self, head: Heading, *, by_position: bool) -> None:
        if self.indexed is True or (self.indexed is not False and not by_position):
            other = "" if self.ids.own else ", or take columns as indices, in their order, with --by-position"
            raise UsageError(
                f"{head.title} is a table, but features are known by index instead of columns; give rows of the format "
                f"of training{other}"
            )

    def _known_by(self) -> str:
        names = [column.name for column in self.columns or () if column.is_feature]
        return f"name ({listed_plain(names)})" if self.named else f"number (0 to {len(self.columns or ()) - 1})"

    def _decided(self, head: Heading, options: TableOptions) -> tuple[Column, ...]:
        found = head.found if self.learns else [None] * len(head.names)
        _require_few(head)
        columns = columns_of(head.names, found, options)
        own = [name for column in columns for name in column.own]
        valued = [column.name for column in columns if column.is_valued]
        if self.indexed is not False and (valued or len(own) != self.indexed):
            what = f"{listed_plain(valued)} are categorical" if valued else f"{len(own)} feature columns"
            raise DataError(
                f"{what}; by position there must be {int(self.indexed)} numeric ones, as features are known by index",
                source=head.title,
            )
        if valued and self.barred and isinstance(self.values, Listed):
            raise UsageError(f"categorical columns ({listed_plain(valued)}) {self.barred}")
        if self._of_file is None and self.learns:
            self._cutting.plan(columns, options)
        elif self._of_file is not None and self._of_file != tuple(OwnFeatures(columns, self.buckets).entries()):
            listed = [name for name, bucket in self._of_file if bucket is None]
            raise UsageError(
                f"the vocabulary lists {', '.join(listed) or 'no'} as numeric columns, but {head.title} has "
                f"{', '.join(own) or 'none'}; --vocabulary-mode new builds another"
            )
        return columns

    def _placed(self) -> OwnFeatures:
        """Return the features of these columns and buckets."""
        own = OwnFeatures(self.columns or (), self.buckets)
        if own.size + len(self.values) > MAX_FEATURE_DIM:
            raise UsageError(f"the columns have more than {MAX_FEATURE_DIM} features")
        return own

    def _by_position(self, head: Heading) -> list[str]:
        """Return the schema's names for a table whose columns count by their position."""
        everything = [column.name for column in self.columns or ()]
        unlabelled = [column.name for column in self.columns or () if column.kind != LABEL]
        features = [column.name for column in self.columns or () if column.is_feature]
        for names in (everything, unlabelled, features):
            if len(names) == len(head.names):
                return names
        raise DataError(
            f"{len(head.names)} columns; by position it must have {len(everything)}, as the rows of training, or "
            f"{len(features)}, those of the features alone",
            source=head.title,
        )

    def _unlike(self, head: Heading) -> UsageError:
        if self.named:
            return UsageError(
                f"{head.title} has no header, but columns are known by {self._known_by()}; give a header, or take "
                "them in the order of training with --by-position"
            )
        return UsageError(
            f"{head.title} has a header, but the rows of training had none, so that columns are known by number alone; "
            "take them in the order of training with --by-position"
        )

    # -------------------------------------------------------------------------------------------------- features
    def first(self, column: Column) -> int:
        """Return the first of the indices that a column has by itself."""
        return self._own.first[column.name]

    def fields(self, columns: Sequence[Column]) -> np.ndarray:
        """Return the field of each feature column, int32: 0, 1, ... in the order of the schema."""
        return np.array([self._own.fields[column.name] for column in columns], np.int32)

    def encode(self, columns: Sequence[Values]) -> list[np.ndarray]:
        """Return the indices of the distinct values of columns, one int32 array a column, by code; -1 where unknown.

        New values are added while it grows.
        """
        found = [self.values.find(each.name, each.texts.values) for each in columns]
        if columns and self.grows and isinstance(self.values, Listed):
            grow(self.values, columns, found)
        return [np.where(indices < 0, indices, indices + np.int32(self.fixed)) for indices in found]

    def keep(self, counts: np.ndarray, least: int) -> tuple[int, int]:
        """Drop the values that fewer rows have than `least`; return how many rows have, and how many of these are kept.

        counts: int64, for each index from 0, in how many rows it is. What a model to start from knows stays.
        """
        self.pruned = True
        if self.columns is None:
            return self._keep_ids(counts, least)
        values = self.values
        counts = counts[self.fixed : self.fixed + len(values)]
        kept = np.zeros(len(values), bool)
        kept[: len(counts)] = counts >= least
        if isinstance(values, Listed):
            kept[: self._begun] = True
        if isinstance(values, Listed) or values.kept is None:
            values.keep(kept)
        return int((counts > 0).sum()), int((kept[: len(counts)] & (counts > 0)).sum())

    def _keep_ids(self, counts: np.ndarray, least: int) -> tuple[int, int]:
        kept = np.zeros(max(len(counts), self.ids.feature_dim or 0), bool)
        kept[: len(counts)] = counts >= least
        kept[: self._begun_ids] = True
        self.ids = self.ids.subset(kept)
        return int((counts > 0).sum()), int((kept[: len(counts)] & (counts > 0)).sum())

    def own_entries(self) -> list[Entry]:
        """Return the names of the features that columns have of their own, by index."""
        return list(self._own.entries())

    def expect_own(self, entries: Sequence[Entry], buckets: Mapping[str, Buckets]) -> None:
        """Note the own features and buckets that a vocabulary file lists, which those of the first table must be."""
        self._of_file, self._cutting = tuple(entries), Cutting(buckets)

    # ---------------------------------------------------------------------------------------------------- buckets
    def know_buckets(self, buckets: Mapping[str, Buckets]) -> None:
        """Take over the buckets of columns that are known."""
        self._cutting = Cutting(buckets)
        self._own = self._placed()

    @property
    def buckets(self) -> Mapping[str, Buckets]:
        """Return the buckets of columns that have any, by name."""
        return self._cutting.buckets

    @property
    def waits_for(self) -> int:
        """Return how many rows decide on buckets before any row can be encoded; 0 once these are known."""
        return self._cutting.waits_for

    def cut_columns(self, numbers: Callable[[str], np.ndarray]) -> str | None:
        """Decide on the buckets that are waited for; see Cutting.learn."""
        note = self._cutting.learn(numbers)
        self._own = self._placed()
        return note


def _require_few(head: Heading) -> None:
    """Raise UsageError for more columns than the header of a model file has room for."""
    if len(head.names) > MOST_COLUMNS or sum(map(len, head.names)) > MOST_LETTERS:
        raise UsageError(
            f"{head.title} has {len(head.names):,} columns; a model knows up to {MOST_COLUMNS:,}, whose names have "
            f"up to {MOST_LETTERS:,} letters together; give rows of so many features as libsvm or recordIO"
        )

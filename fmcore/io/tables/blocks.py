"""Some rows of a table, column by column."""

from collections.abc import Container
from typing import NamedTuple

import numpy as np

from fmcore.schema.coding import Texts
from fmcore.schema.texts import canonical_texts


class Lists(NamedTuple):
    """A column of lists. lengths: int64 (rows,), how many values each has; items: `Texts` of all, row after row."""

    lengths: np.ndarray
    items: Texts

    @classmethod
    def distinct(cls, rows: np.ndarray, size: int, texts: Texts) -> "Lists":
        """Return Lists of `size` rows that have each value once; rows: int64, ascending, the row of each code."""
        _, first = np.unique(rows * (len(texts.values) + 1) + texts.codes + 1, return_index=True)
        kept = np.sort(first[texts.codes[first] >= 0])
        return cls(np.bincount(rows[kept], minlength=size), Texts(texts.codes[kept], texts.values))

    def take(self, keep: np.ndarray) -> "Lists":
        """Return the rows where keep (bool, (rows,)) holds."""
        codes = self.items.codes[np.repeat(keep, self.lengths)]
        return Lists(self.lengths[keep], Texts(codes, self.items.values))


class Fault(NamedTuple):
    """A problem with one field. row: from 0 within the block; position: of the column."""

    row: int
    position: int
    problem: str


class ColumnBlock(NamedTuple):
    """Some rows of a table, by column position.

    rows: int64 (rows,), their numbers within the file, from 1.
    numbers: position -> float64 (rows,), NaN where missing. texts: position -> `Texts`. lists: position -> `Lists`.
    faults: list of `Fault`, fields that are no number or no text.
    """

    rows: np.ndarray
    numbers: dict[int, np.ndarray]
    texts: dict[int, Texts]
    lists: dict[int, Lists]
    faults: list[Fault]

    def take(self, keep: np.ndarray) -> "ColumnBlock":
        """Return the rows where keep (bool, (rows,)) holds, with their faults left behind."""
        return ColumnBlock(
            self.rows[keep],
            {p: column[keep] for p, column in self.numbers.items()},
            {p: Texts(t.codes[keep], t.values) for p, t in self.texts.items()},
            {p: column.take(keep) for p, column in self.lists.items()},
            [],
        )


def split(texts: Texts, separator: str, missing: Container[str]) -> Lists:
    """Return the lists that a column holds as text, each value canonical and once, without missing ones.

    separator: between values; where it is empty the text is one value.
    """
    distinct: dict[str, int] = {}
    parts = []
    for text in texts.values:
        parts_of = [part.strip() for part in text.split(separator)] if separator else [text]
        values = dict.fromkeys(value for value in canonical_texts(parts_of) if value not in missing)
        parts.append(np.array([distinct.setdefault(value, len(distinct)) for value in values], np.int32))
    lengths = np.array([*map(len, parts), 0], np.int64)
    starts = np.cumsum(lengths) - lengths
    flat = np.concatenate([np.empty(0, np.int32), *parts])
    rows = lengths[texts.codes]
    places = np.repeat(starts[texts.codes] - (np.cumsum(rows) - rows), rows) + np.arange(rows.sum())
    return Lists(rows, Texts(flat[places], list(distinct)))

"""Texts of a block of rows by codes, and how those that are new become listed values in the order of the rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fmcore.schema.features import Listed


class Texts(NamedTuple):
    """A column of text. codes: int32 (rows,), into values or -1 where missing; values: list of str, not empty."""

    codes: np.ndarray
    values: list[str]


class Values(NamedTuple):
    """The values of a column to be encoded.

    name: of the column. rows: int64, the row of each code, None for 0, 1, ...
    """

    name: str
    texts: Texts
    rows: np.ndarray | None = None


def grow(listed: Listed, columns: Sequence[Values], found: list[np.ndarray]) -> None:
    """Add the values of a block that are not listed, by row, and within a row by column.

    found: int32 for each column, the index of each distinct value; -1 becomes the new index, where a row has the value.
    """
    new = [_new(number, each, indices) for number, (each, indices) in enumerate(zip(columns, found, strict=True))]
    row, number, place, code = np.concatenate(new, axis=1)
    order = np.lexsort((place, number, row))
    number, code = number[order], code[order]
    texts = [columns[n].texts.values[c] for n, c in zip(number.tolist(), code.tolist(), strict=True)]
    indices = listed.extend([each.name for each in columns], number, texts)
    for n, of_column in enumerate(found):
        of_column[code[number == n]] = indices[number == n]


def _new(number: int, each: Values, indices: np.ndarray) -> np.ndarray:
    """Return int64 (4, n): row, number of the column, place in it and code of its values that have no index yet."""
    unknown = np.flatnonzero(indices < 0)
    places = _first_places(each.texts)[unknown]
    there = places < len(each.texts.codes)
    places, unknown = places[there], unknown[there]
    rows = places if each.rows is None else each.rows[places]
    return np.stack([rows, np.full(len(rows), number), places, unknown])


def _first_places(texts: Texts) -> np.ndarray:
    """Return for each code the first place that has it; the number of places where none has."""
    size = len(texts.codes)
    first = np.full(len(texts.values) + 1, size, np.int64)  # the last is for missing (-1)
    first[texts.codes[::-1]] = np.arange(size)[::-1]  # of several assignments to one place the last one stays
    return first[:-1]

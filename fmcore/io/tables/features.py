"""The columns of a block as the non-zeros of its rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fmcore.io.tables.blocks import ColumnBlock, Lists
from fmcore.schema import dates
from fmcore.schema.coding import Texts, Values
from fmcore.schema.columns import CATEGORICAL, DATE, LIST, LOG, Column
from fmcore.schema.encoder import Encoder


class Part(NamedTuple):
    """The non-zeros of one column, row after row.

    counts: (rows,), how many each row has. indices: int32 (non-zeros,). values: float32 (non-zeros,), None for ones.
    """

    counts: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None


class NonZeros(NamedTuple):
    """The non-zeros of rows, as `Batch` has them."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None
    fields: np.ndarray | None


def joined(parts: Sequence[Part], rows: int, fields: np.ndarray | None) -> NonZeros:
    """Return the non-zeros of rows whose columns follow each other; fields: int32, of each column, or None."""
    indptr = np.zeros(rows + 1, np.int64)
    np.cumsum(sum((part.counts for part in parts), np.zeros(rows, np.int64)), out=indptr[1:])
    indices = np.empty(indptr[-1], np.int32)
    values = None if all(part.values is None for part in parts) else np.ones(indptr[-1], np.float32)
    made_fields = None if fields is None else np.empty(indptr[-1], np.int32)
    place = indptr[:-1].copy()
    for number, part in enumerate(parts):
        at = place[part.counts] if part.counts.dtype == bool else _spread(place, part.counts)
        place += part.counts
        indices[at] = part.indices
        if values is not None and part.values is not None:
            values[at] = part.values
        if made_fields is not None and fields is not None:
            made_fields[at] = fields[number]
    return NonZeros(indptr, indices, values, made_fields)


def number_part(column: Column, numbers: np.ndarray, first: int) -> Part:
    """Return the Part of a numeric column; numbers: float64 (rows,), NaN where missing. Zeros are left out."""
    taken = float32(signed_log(numbers) if column.kind == LOG else numbers)
    present = (taken != 0) & ~np.isnan(taken)
    return Part(present, np.full(int(present.sum()), first, np.int32), taken[present])


def bucket_part(column: Column, numbers: np.ndarray, encoder: Encoder) -> Part | None:
    """Return the Part of a numeric column's buckets, None where it has none.

    numbers: float32 (rows,), NaN where missing.
    """
    buckets = encoder.buckets.get(column.name)
    if buckets is None:
        return None
    return value_part(buckets.indices(numbers, encoder.first(column) + len(column.own)))


def date_part(texts: Texts, first: int) -> Part:
    """Return the Part of a column of dates, all of which can be read."""
    seconds = [np.nan if (when := dates.seconds(text)) is None else when for text in texts.values]
    made = float32(dates.parts(np.array([*seconds, np.nan])))[texts.codes]
    present = (made != 0) & ~np.isnan(made)
    indices = np.broadcast_to(first + np.arange(made.shape[1], dtype=np.int32), made.shape)
    return Part(present.sum(axis=1), indices[present], made[present])


def value_part(indices: np.ndarray) -> Part:
    """Return the Part of a categorical column; indices: int32 (rows,), -1 for none."""
    present = indices >= 0
    return Part(present, indices[present], None)


def list_part(column: Column, lists: Lists, indices: np.ndarray) -> Part:
    """Return the Part of a column of lists; indices: int32, of each value of all rows, -1 for none."""
    rows = np.repeat(np.arange(len(lists.lengths)), lists.lengths)[indices >= 0]
    counts = np.bincount(rows, minlength=len(lists.lengths))
    values = (1 / lists.lengths[rows]).astype(np.float32) if column.mean else None
    return Part(counts, indices[indices >= 0], values)


def signed_log(numbers: np.ndarray) -> np.ndarray:
    """Return sign(x) log(1 + |x|)."""
    return np.copysign(np.log1p(np.abs(numbers)), numbers)


def float32(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as float32; those beyond its range become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(np.float32)


def encoded(
    features: Sequence[tuple[int, Column]], block: ColumnBlock, encoder: Encoder
) -> list[tuple[Column, Texts | Lists, np.ndarray]]:
    """Return (column, its texts or lists, int32 indices by row or by value) of the columns whose values are features.

    An index is -1 where a value is missing or unknown.
    """
    found: list[tuple[Column, Texts | Lists]] = []
    for position, column in features:
        if column.kind == CATEGORICAL:
            found.append((column, block.texts[position]))
        elif column.kind == LIST:
            found.append((column, block.lists[position]))
    asked = [
        Values(column.name, it.items, np.repeat(np.arange(len(it.lengths)), it.lengths))
        if isinstance(it, Lists)
        else Values(column.name, it)
        for column, it in found
    ]
    tables = encoder.encode(asked)
    return [
        (column, it, np.append(table, np.int32(-1))[each.texts.codes])
        for (column, it), each, table in zip(found, asked, tables, strict=True)
    ]


def parts_of(column: Column, position: int, block: ColumnBlock, encoder: Encoder) -> list[Part]:
    """Return the Part of a column of dates, or those of a numeric one: of its values and of its buckets."""
    if column.kind == DATE:
        return [date_part(block.texts[position], encoder.first(column))]
    numbers = block.numbers[position]
    encoder.see(column, numbers)
    found = [number_part(column, numbers, encoder.first(column)), bucket_part(column, float32(numbers), encoder)]
    return [part for part in found if part is not None]


def _spread(place: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the places of runs of `counts` that begin at `place`."""
    before = np.cumsum(counts) - counts
    return np.repeat(place - before, counts) + np.arange(counts.sum())

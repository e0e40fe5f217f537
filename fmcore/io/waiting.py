"""Rows that wait, as they were read, until the first of them have decided on buckets."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fmcore.io.indexing import Indexing
from fmcore.io.tables.blocks import ColumnBlock
from fmcore.rows.batch import Batch, RowOrigin
from fmcore.rows.blocks import BLOCK_NON_ZEROS, BLOCK_ROWS
from fmcore.schema.encoder import Encoder
from fmcore.schema.matching import Binding


class Held(Protocol):
    """Rows that wait; `held` are those so far, of one kind, in order."""

    def __len__(self) -> int:
        """Return how many rows they are."""

    def enough(self, held: Sequence[Any]) -> bool:
        """Return whether no more rows are needed."""

    def learn(self, held: Sequence[Any]) -> str | None:
        """Decide on the buckets; return what to note of them, or None."""

    def batch(self) -> Batch:
        """Return the rows with indices, once buckets are decided on."""


@dataclass(slots=True)
class HeldColumns:
    """Rows of a table, as columns. make: from their origin to their Batch, once they can be encoded."""

    encoder: Encoder
    columns: Binding
    block: ColumnBlock
    origin: RowOrigin
    make: Callable[[RowOrigin], Batch]

    def __len__(self) -> int:
        return len(self.block.rows)

    def enough(self, held: Sequence[HeldColumns]) -> bool:
        """See Held."""
        return sum(map(len, held)) >= self.encoder.waits_for

    def learn(self, held: Sequence[HeldColumns]) -> str | None:
        """See Held."""
        return self.encoder.cut_columns(lambda name: np.concatenate([each.numbers(name) for each in held]))

    def numbers(self, name: str) -> np.ndarray:
        """Return the numbers of a column, float64 (rows,), NaN where missing, as all are of a column that is absent."""
        position = next((place for place, column in self.columns.features if column.name == name), None)
        return np.full(len(self), np.nan) if position is None else self.block.numbers[position]

    def batch(self) -> Batch:
        """See Held."""
        return self.make(self.origin)


@dataclass(slots=True)
class HeldIds:
    """Rows of an index format, with ids. The first rows of a block decide (see fmcore.rows.blocks)."""

    indexing: Indexing
    ids: Batch

    def __len__(self) -> int:
        return len(self.ids)

    def enough(self, held: Sequence[HeldIds]) -> bool:
        """See Held."""
        sizes = [len(each.ids.indices) for each in held]
        return sum(map(len, held)) >= BLOCK_ROWS or sum(sizes) >= BLOCK_NON_ZEROS

    def learn(self, held: Sequence[HeldIds]) -> str | None:
        """See Held."""
        ends = np.cumsum(np.concatenate([np.diff(each.ids.indptr) for each in held])[:BLOCK_ROWS])
        size = int(ends[max(1, int(np.searchsorted(ends, BLOCK_NON_ZEROS, "right"))) - 1])
        ids, values = zip(*map(_numbers, held), strict=True)
        return self.indexing.learn(np.concatenate(ids)[:size], np.concatenate(values)[:size])

    def batch(self) -> Batch:
        """See Held."""
        return self.indexing.apply(self.ids)[0]


def _numbers(rows: HeldIds) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of all non-zeros, uint64, and their values, float32."""
    ids, values = rows.ids.indices.astype(np.uint64, copy=False), rows.ids.values
    return ids, np.ones(len(ids), np.float32) if values is None else values


def encoded(pieces: Iterable[Batch | Held], report: Any) -> Iterator[Batch]:
    """Yield the rows of pieces, in order, as batches; the first rows are held until they have decided on buckets.

    report: notes the buckets. What is held at once is a block of rows at most, and what the reader gives together.
    """
    held: list[Held] = []
    for piece in pieces:
        if not isinstance(piece, Batch):
            held.append(piece)
            if piece.enough(held):
                yield from _let_go(held, report)
            continue
        yield from _let_go(held, report)
        yield piece
    yield from _let_go(held, report)


def _let_go(held: list[Held], report: Any) -> Generator[Batch, None, None]:
    """Decide on the buckets and yield the rows held, none of which are kept."""
    if held and (note := held[0].learn(held)):
        report.note(note)
    while held:
        yield held.pop(0).batch()

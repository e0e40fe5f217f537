"""Rows of tables that wait, as columns, until the first rows have decided on the buckets of numeric columns."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmcore.io.tables.blocks import ColumnBlock
from fmcore.rows.batch import Batch, RowOrigin
from fmcore.schema.encoder import Encoder
from fmcore.schema.matching import Binding


@dataclass(slots=True)
class Waiting:
    """Rows of a table that cannot be encoded yet. make: from their origin to their Batch, once they can."""

    columns: Binding
    block: ColumnBlock
    origin: RowOrigin
    make: Callable[[RowOrigin], Batch]

    def __len__(self) -> int:
        return len(self.block.rows)

    def numbers(self, name: str) -> np.ndarray:
        """Return the numbers of a column, float64 (rows,), NaN where missing, as all are of a column that is absent."""
        position = next((place for place, column in self.columns.features if column.name == name), None)
        return np.full(len(self), np.nan) if position is None else self.block.numbers[position]

    def batch(self) -> Batch:
        """Return the rows encoded."""
        return self.make(self.origin)


def encoded(pieces: Iterable[Batch | Waiting], encoder: Encoder | None, report: Any) -> Iterator[Batch]:
    """Yield the rows of pieces, in order, as batches; the first rows are held until they have decided on buckets.

    encoder: of the rows that wait. report: notes the buckets. What is held at once is a block of rows at most, and what
    the reader gives together.
    """
    held: list[Waiting] = []
    for piece in pieces:
        if isinstance(piece, Waiting):
            held.append(piece)
            if encoder is None or sum(map(len, held)) < encoder.waits_for:
                continue
        if held:
            yield from _let_go(held, encoder, report)
        if not isinstance(piece, Waiting):
            yield piece
    if held:
        yield from _let_go(held, encoder, report)


def _let_go(held: list[Waiting], encoder: Encoder | None, report: Any) -> Generator[Batch, None, None]:
    """Decide on the buckets and yield the rows held, none of which are kept."""
    if encoder is not None and (note := encoder.cut_columns(lambda name: _joined(held, name))):
        report.note(note)
    while held:
        yield held.pop(0).batch()


def _joined(held: list[Waiting], name: str) -> np.ndarray:
    return np.concatenate([each.numbers(name) for each in held])

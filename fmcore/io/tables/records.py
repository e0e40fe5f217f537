"""Rows of JSON by name into batches: `{"features": {"price": 8.1, "site": "a.com", "genres": ["Action", "Comedy"]}}`.

An instance is as fmcore.io.requests.grammar describes it, with features that are an object from the name of a column to
a number, a text, a boolean, a list of these, or null for a missing value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from fmcore.errors import DataError
from fmcore.io.requests import grammar
from fmcore.io.requests.codec import UNITS, chunks
from fmcore.io.requests.grammar import Refused
from fmcore.io.tables.blocks import ColumnBlock, Fault, Lists
from fmcore.io.tables.kinds import kind_of
from fmcore.rows.batch import Batch
from fmcore.schema.coding import Texts
from fmcore.schema.columns import CATEGORICAL, LIST, NUMERIC
from fmcore.schema.matching import Binding
from fmcore.schema.texts import canonical, parse_number

ROWS = 1 << 12  # of a block
SAMPLE = 5000  # rows whose names and values show what columns there are


class Literal(str):
    """A number with a point or an exponent, in the digits in which JSON has it."""

    __slots__ = ()


class Instance(NamedTuple):
    """A row. number: of the instance or line, from 1; row_id: or None; features: by the names of columns."""

    number: int
    row_id: str | None
    features: dict[str, Any]


class Strictness(NamedTuple):
    """The rule for what is missing.

    missing: the texts of missing values. missing_columns: "error" where a row lacks a column, or "zero".
    """

    missing: frozenset[str]
    missing_columns: str


def is_named(features: Any) -> bool:
    """Return whether the features of an instance are an object by the names of columns, instead of by index."""
    return isinstance(features, dict) and not (
        features.keys() <= set(grammar.FEATURE_KEYS) and all(isinstance(value, list) for value in features.values())
    )


def read(
    stream: Any,
    format: str,  # noqa: A002 - ReadOptions' word
    bind: Callable,
    refuse: Callable[[DataError], None],
    strictness: Strictness,
) -> Iterator[Batch]:
    """Yield the rows of named instances as batches; origins count instances, or lines of JSON Lines.

    bind: from (names, named, kinds, examples) to (Binding, OneHot). refuse: called with the DataError of a bad
    instance, which it raises unless bad rows are left out.
    strictness: of what counts as missing.
    """
    instances = _instances(stream, format, refuse)
    head = list(islice(instances, SAMPLE))
    columns, rows = bind(*_shown(head))
    wanted = [] if strictness.missing_columns == "zero" else [columns.names[place] for place, _ in columns.features]
    whole = _complete(chain(head, instances), wanted, UNITS[format], refuse)
    while block := list(islice(whole, ROWS)):
        made = rows.batch(_block(columns, block, strictness.missing), _ids(block))
        if len(made):
            yield made


def _instances(stream: Any, format: str, refuse: Callable) -> Iterator[Instance]:  # noqa: A002
    lines = format == "jsonlines"
    pieces = chunks(stream, format)
    found: Iterable = _lines(pieces) if lines else grammar.document(next(pieces), Literal)
    for number, each in enumerate(found, 1):
        if lines and not each.strip():
            continue
        try:
            row_id, features, path = grammar.instance(grammar.parse(each, Literal) if lines else each)
            if not is_named(features):
                raise Refused("features by index among rows by name", path)  # noqa: TRY301
            yield Instance(number, row_id, features)
        except Refused as refused:
            refuse(DataError(refused.problem, unit=UNITS[format], number=number, field=refused.key))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from piece.removesuffix(b"\n").split(b"\n")


def _shown(head: Sequence[Instance]) -> tuple[list[str], bool, list[str | None], list[list[str]]]:
    """Return (names, True, the kind that the values of each show, some of its texts)."""
    values: dict[str, list] = {}
    for each in head:
        for name, value in each.features.items():
            values.setdefault(name, []).append(value)
    texts = [
        [_text(value) for value in column if not isinstance(value, list | type(None))] for column in values.values()
    ]
    return list(values), True, [_kind(column) for column in values.values()], texts


def _kind(values: Sequence[Any]) -> str | None:
    if any(isinstance(value, list) for value in values):
        return LIST
    present = [value for value in values if value is not None]
    if any(isinstance(value, bool) for value in present):
        return CATEGORICAL
    if all(_is_number(value) for value in present):
        return NUMERIC if present else None
    return kind_of(value for value in map(_text, present) if value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Literal) and not isinstance(value, bool)


def _complete(rows: Iterable[Instance], wanted: Sequence[str], unit: str, refuse: Callable) -> Iterator[Instance]:
    """Yield the rows that have all the wanted columns."""
    for row in rows:
        absent = [name for name in wanted if name not in row.features]
        if absent:
            problem = f"column {absent[0]!r} of the model is missing; null is a missing value"
            refuse(DataError(problem, unit=unit, number=row.number, field=f"features.{grammar.shown(absent[0])}"))
        else:
            yield row


def _block(columns: Binding, rows: Sequence[Instance], missing: frozenset[str]) -> ColumnBlock:
    block = ColumnBlock(np.array([row.number for row in rows], np.int64), {}, {}, {}, [])
    lists = {place: column for place, column in columns.features if column.kind == LIST}
    numeric = frozenset(columns.numbers)
    for place in columns.used:
        values = [row.features.get(columns.names[place]) for row in rows]
        if place in numeric:
            block.numbers[place], bad = _numbers(values, missing)
        elif place in lists:
            block.lists[place], bad = _lists(values, lists[place].separator, missing)
        else:
            block.texts[place], bad = _texts(values, missing)
        block.faults.extend(Fault(row, place, problem) for row, problem in bad)
    return block


def _numbers(values: Sequence[Any], missing: frozenset[str]) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Return (float64 (rows,), NaN where missing; (row, problem) pairs)."""
    found, bad = np.full(len(values), np.nan), []
    for row, value in enumerate(values):
        if value is None or (isinstance(value, str) and canonical(value) in missing):
            continue
        number = None if isinstance(value, list | dict) else parse_number(str(value).strip())
        if isinstance(value, bool):
            number = float(value)
        if number is None:
            found_text = repr(value[:40]) if isinstance(value, str) else grammar.kind(value)
            bad.append((row, f"{found_text} is not a number"))
        else:
            found[row] = number
    return found, bad


def _texts(values: Sequence[Any], missing: frozenset[str]) -> tuple[Texts, list[tuple[int, str]]]:
    """Return (Texts, (row, problem) pairs)."""
    codes, distinct, bad = np.full(len(values), -1, np.int32), {}, []
    for row, value in enumerate(values):
        text = None if isinstance(value, list | dict) else _text(value)
        if text is None:
            bad.append((row, f"{grammar.kind(value)} is not the value of one column"))
        elif "\0" in text or not _encodes(text):
            bad.append((row, "is not text"))
        elif text not in missing:
            codes[row] = distinct.setdefault(text, len(distinct))
    return Texts(codes, list(distinct)), bad


def _lists(values: Sequence[Any], separator: str, missing: frozenset[str]) -> tuple[Lists, list[tuple[int, str]]]:
    """Return (Lists, each value once a row; (row, problem) pairs)."""
    rows = [_items(value, separator) for value in values]
    texts, bad = _texts([item for row in rows for item in row], missing)
    row_of = np.repeat(np.arange(len(rows)), list(map(len, rows)))
    faults = [(int(row_of[place]), problem) for place, problem in bad]
    return Lists.distinct(row_of, len(rows), texts), faults


def _items(value: Any, separator: str) -> list:
    """Return the values of a list, which may be in one text."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and separator and not isinstance(value, Literal):
        return value.split(separator)
    return [] if value is None else [value]


def _text(value: Any) -> str:
    """Return the one text of a value; "" for null."""
    if value is None:
        return ""
    return canonical(str(value))


def _encodes(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _ids(rows: Sequence[Instance]) -> dict[int, str | None] | None:
    """Return number -> id of rows; None where none has one."""
    return {row.number: row.row_id for row in rows} if any(row.row_id is not None for row in rows) else None

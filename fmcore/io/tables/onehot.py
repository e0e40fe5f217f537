"""Columns of a table become rows of a `Batch`: numbers as they are, categorical values one-hot."""

import math
from typing import NamedTuple

import numpy as np

from fmcore.errors import DataError
from fmcore.rows.batch import Batch, RowOrigin

UNKNOWN = "unknown values"  # what a report counts them as, column by column


class Texts(NamedTuple):
    """A column of text. codes: int32 (rows,), into values or -1 where missing; values: list of str, not empty."""

    codes: np.ndarray
    values: list


class Fault(NamedTuple):
    """A problem with one field. row: from 0 within the block; position: of the column, -1 for the row as a whole."""

    row: int
    position: int
    problem: str


class ColumnBlock(NamedTuple):
    """Some rows of a table, by column position.

    rows: int64 (rows,), their numbers within the file, from 1.
    numbers: position -> float64 (rows,), NaN where missing. texts: position -> `Texts`.
    faults: list of `Fault`, fields that are no number or no text.
    """

    rows: np.ndarray
    numbers: dict
    texts: dict
    faults: list

    def take(self, keep):
        """Return the rows where keep (bool, (rows,)) holds, with their faults left behind."""
        return ColumnBlock(
            self.rows[keep],
            {p: column[keep] for p, column in self.numbers.items()},
            {p: Texts(t.codes[keep], t.values) for p, t in self.texts.items()},
            [],
        )


class OneHot:
    """The encoder of the blocks of one table as batches.

    columns: `Columns`. encoder: see fmcore.io.tables.vocabulary. labels: `Labels`. options: `ReadOptions`.
    report: receives the rows left out and the unknown values.
    """

    def __init__(self, source, columns, encoder, labels, options, report):
        self._source, self._columns, self._encoder, self._labels = source, columns, encoder, labels
        self._options, self._report = options, report
        self._indices = dict(
            zip(
                columns.numeric,
                encoder.bind(columns.named(columns.numeric), columns.named(columns.categorical)),
                strict=True,
            )
        )
        self._fields = None  # int32, of each feature column, where they are asked for
        if options.fields:
            self._fields = encoder.fields(columns.named(columns.features))
            report.learn("fields", int(self._fields.max()) + 1)

    def batch(self, block):
        """Return the block's rows as a `Batch`; raise DataError for the first bad row, or leave bad rows out."""
        labels, faults = self._label(block)
        faults += [*block.faults, *self._faults(block)]
        if faults:
            keep = self._keep(block, faults)
            block, labels = block.take(keep), labels[keep]
        weight, row_id = self._columns.weight, self._columns.row_id
        indptr, indices, values, fields = self._features(block)
        return Batch(
            indptr,
            indices,
            values,
            labels,
            None if weight is None else block.numbers[weight].astype(np.float32),
            None if row_id is None else _strings(block.texts[row_id]),
            RowOrigin(self._source, "row", block.rows),
            fields,
        )

    def _keep(self, block, faults):
        """Return the rows without a fault, bool (rows,). Raise the first fault where rows may not be skipped."""
        keep = np.ones(len(block.rows), bool)
        for fault in sorted(faults):
            if keep[fault.row]:
                self._complain(block, fault)
            keep[fault.row] = False
        return keep

    def _complain(self, block, fault):
        error = DataError(
            fault.problem,
            source=self._source,
            unit="row",
            number=int(block.rows[fault.row]),
            field=self._columns.names[fault.position] if fault.position >= 0 else None,
        )
        if self._options.on_error != "skip":
            raise error
        self._report.skip(error)

    def _faults(self, block):
        """Yield the faults: numbers that cannot be trained on, and missing fields where those are refused."""
        refuse_missing = self._options.table.missing == "error"
        for position in self._columns.numeric:
            yield from self._unsound(block, position, ~np.isinf(_float32(block.numbers[position])))
            if refuse_missing:
                yield from _missing(np.isnan(block.numbers[position]), position)
        if refuse_missing:
            for position in self._columns.categorical:
                yield from _missing(block.texts[position].codes < 0, position)
        if self._columns.weight is not None:
            weights = _float32(block.numbers[self._columns.weight])
            yield from self._unsound(block, self._columns.weight, (weights >= 0) & np.isfinite(weights))

    def _unsound(self, block, position, sound):
        role = "weight" if position == self._columns.weight else "feature value"
        expected = "a finite number from 0 up" if role == "weight" else "a finite 32-bit number"
        for row in np.flatnonzero(~sound).tolist():
            value = block.numbers[position][row]
            found = "no" if math.isnan(value) else f"{value:g} as"
            yield Fault(row, position, f"{found} {role}; expected {expected}")

    def _label(self, block):
        """Return (labels: float32 (rows,), faults of those that are none)."""
        position = self._columns.label
        if position is None:
            return np.full(len(block.rows), np.nan, np.float32), []
        texts = block.texts[position]
        with np.errstate(over="ignore"):
            mapped, valid = self._labels.from_texts([*texts.values, None])
        labels, bad = mapped[texts.codes], (~valid | np.isinf(mapped))[texts.codes]
        labels[bad] = np.nan
        faults = [
            Fault(
                row,
                position,
                f"label {texts.values[texts.codes[row]]!r} is not a finite number; "
                "name the label that means 1 with --positive-label",
            )
            for row in np.flatnonzero(bad).tolist()
        ]
        return labels, faults + self._check_classes(labels)

    def _check_classes(self, labels):
        """Map labels to {0, 1} in place where that is wanted; the faults of those that are neither."""
        if self._labels.positive is not None:  # mapped by their text
            return []
        bare = Batch(np.zeros(len(labels) + 1, np.int64), np.empty(0, np.int32), None, labels)
        return [
            Fault(row, self._columns.label, self._labels.error(bare, row).problem)
            for row in self._labels.apply(bare).tolist()
        ]

    def _features(self, block):
        """Return (indptr, indices, values, fields) of the rows; every array in the order of the columns in the file."""
        positions = self._columns.features
        indices = np.empty((len(block.rows), len(positions)), np.int32)
        values = np.ones(indices.shape, np.float32) if self._columns.numeric else None
        categorical = dict(zip(self._columns.categorical, self._encode(block), strict=True))
        for slot, position in enumerate(positions):
            if position in categorical:
                indices[:, slot] = categorical[position]
            else:
                numbers = _float32(block.numbers[position])
                present = (numbers != 0) & ~np.isnan(numbers)
                indices[:, slot] = np.where(present, self._indices[position], -1)
                values[:, slot] = numbers
        present = indices >= 0
        indptr = np.zeros(len(block.rows) + 1, np.int64)
        np.cumsum(present.sum(axis=1), out=indptr[1:])
        fields = None if self._fields is None else np.broadcast_to(self._fields, indices.shape)[present]
        return indptr, indices[present], None if values is None else values[present], fields

    def _encode(self, block):
        """Return int32 (rows,) for each categorical column: the value's index, -1 where it is missing or unknown."""
        names = self._columns.named(self._columns.categorical)
        columns = [(name, block.texts[p]) for name, p in zip(names, self._columns.categorical, strict=True)]
        rows = []
        for (name, texts), table in zip(columns, self._encoder.encode(columns), strict=True):
            rows.append(np.append(table, np.int32(-1))[texts.codes])
            unknown = np.flatnonzero((rows[-1] < 0) & (texts.codes >= 0))
            if len(unknown) and self._options.unseen == "error":
                value = texts.values[texts.codes[unknown[0]]]
                raise DataError(
                    f"the vocabulary holds no {value[:40]!r}",
                    source=self._source,
                    unit="row",
                    number=int(block.rows[unknown[0]]),
                    field=name,
                )
            self._report.count(f"{UNKNOWN} in column {name}", len(unknown))
        return rows


def _float32(numbers):
    with np.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(np.float32)


def _missing(missing, position):
    return [
        Fault(row, position, "is empty; --missing zero reads it as no feature")
        for row in np.flatnonzero(missing).tolist()
    ]


def _strings(texts):
    values = [*texts.values, None]
    return [values[code] for code in texts.codes.tolist()]

"""Rows of a table become rows of a `Batch`: labels, weights, ids, and the features that its columns make."""

import math
from functools import partial

import numpy as np

from fmcore.errors import DataError
from fmcore.io.options import RARE, UNKNOWN
from fmcore.io.tables.blocks import ColumnBlock, Fault, Lists
from fmcore.io.tables.features import bucket_part, encoded, float32, joined, list_part, parts_of, value_part
from fmcore.io.waiting import HeldColumns
from fmcore.rows.batch import Batch, RowOrigin
from fmcore.schema import dates
from fmcore.schema.coding import Texts
from fmcore.schema.columns import DATE, LIST

FEW = 5  # labels that a message lists


class OneHot:
    """The encoder of the blocks of one table as batches.

    columns: `Binding`. encoder: `Encoder`. labels: `Labels`. options: `ReadOptions`.
    report: receives the rows left out and the unknown values. unit: what the rows of blocks are numbered by.
    """

    def __init__(self, source, columns, encoder, labels, options, report, unit="row"):
        self._unit = unit
        self._source, self._columns, self._encoder, self._labels = source, columns, encoder, labels
        self._options, self._report = options, report
        if options.fields:
            fields = encoder.fields([column for _, column in columns.features])
            report.learn("fields", int(fields.max(initial=-1)) + 1)

    def batch(self, block: ColumnBlock, ids=None):
        """Return the block's rows as a `Batch`, or as `HeldColumns` where first rows are to decide on buckets.

        ids: row number -> id or None, for rows without a column of ids. Raises DataError for the first bad row, or
        leaves bad rows out.
        """
        labels, faults = self._label(block)
        faults += [*block.faults, *self._faults(block)]
        if faults:
            keep = self._keep(block, faults)
            block, labels = block.take(keep), labels[keep]
        rows = HeldColumns(
            self._encoder,
            self._columns,
            block,
            RowOrigin(self._source, self._unit, block.rows),
            partial(self._encoded, block, labels, ids),
        )
        return rows if self._encoder.waits_for else rows.batch()

    def _encoded(self, block, labels, ids, origin):
        weight, row_id = self._columns.weight, self._columns.row_id
        made = self._features(block)
        if row_id is not None:
            found = _strings(block.texts[row_id])
        else:
            found = [ids[number] for number in block.rows.tolist()] if ids else None
        return Batch(
            made.indptr,
            made.indices,
            made.values,
            labels,
            None if weight is None else block.numbers[weight].astype(np.float32),
            found,
            origin,
            made.fields,
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
            unit=self._unit,
            number=int(block.rows[fault.row]),
            field=self._columns.names[fault.position] if fault.position >= 0 else None,
        )
        if self._options.on_error != "skip":
            raise error
        self._report.skip(error)

    def _faults(self, block):
        """Yield the faults: numbers that cannot be trained on, no dates, missing fields where those are refused."""
        refuse_missing = self._options.table.missing == "error"
        for position, column in self._columns.features:
            if column.kind == DATE:
                yield from _no_dates(block.texts[position], position)
            elif column.is_number:
                yield from self._unsound(block, position, ~np.isinf(float32(block.numbers[position])))
            if refuse_missing:
                yield from _missing(_is_missing(block, position), position)
        if self._columns.weight is not None:
            weights = float32(block.numbers[self._columns.weight])
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
            mapped, valid = self._labels.from_texts([*texts.values, None], texts.codes)
        labels, bad = mapped[texts.codes], (~valid | np.isinf(mapped))[texts.codes]
        labels[bad] = np.nan
        problem = f"is not a finite number; name the label that means 1 with --positive-label{_one_of(texts.values)}"
        faults = [
            Fault(row, position, f"label {texts.values[texts.codes[row]]!r} {problem}")
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
        """Return the NonZeros of the rows, in the order of the schema's columns."""
        valued = {}
        for column, found, indices in encoded(self._columns.features, block, self._encoder):
            self._note_unknown(block, column, found, indices)
            is_list = column.kind == LIST
            valued[column.name] = list_part(column, found, indices) if is_list else value_part(indices)
        parts = [
            (column, part)
            for position, column in self._columns.features
            for part in (
                [valued[column.name]] if column.is_valued else parts_of(column, position, block, self._encoder)
            )
        ]
        parts += self._absent(len(block.rows))
        fields = self._encoder.fields([column for column, _ in parts]) if self._options.fields else None
        return joined([part for _, part in parts], len(block.rows), fields)

    def _absent(self, rows):
        """Return (column, Part) of the columns that the table lacks and whose missing values are a feature."""
        there, missing = {column.name for _, column in self._columns.features}, np.full(rows, np.nan, np.float32)
        absent = [column for column in self._encoder.columns if column.is_feature and column.name not in there]
        found = [(column, bucket_part(column, missing, self._encoder)) for column in absent]
        return [(column, part) for column, part in found if part is not None]

    def _note_unknown(self, block, column, found, indices):
        """Count the values without an index, or refuse the first."""
        texts = found.items if isinstance(found, Lists) else found
        unknown = np.flatnonzero((indices < 0) & (texts.codes >= 0))
        if len(unknown) and self._options.unseen == "error":
            row = unknown[0]
            if isinstance(found, Lists):
                row = np.searchsorted(np.cumsum(found.lengths), row, "right")
            raise DataError(
                f"the model holds no {texts.values[texts.codes[unknown[0]]][:40]!r}",
                source=self._source,
                unit=self._unit,
                number=int(block.rows[row]),
                field=column.name,
            )
        what = RARE if self._encoder.pruned else UNKNOWN
        self._report.count(f"{what} in column {column.name}", len(unknown))


def _one_of(labels: list[str]) -> str:
    """Return the labels to choose from, in brackets, where there are few."""
    return f" ({' or '.join(map(repr, labels))})" if 2 <= len(labels) <= FEW else ""


def _is_missing(block, position):
    """Return bool (rows,), the fields of a column that are missing."""
    if position in block.numbers:
        return np.isnan(block.numbers[position])
    return block.lists[position].lengths == 0 if position in block.lists else block.texts[position].codes < 0


def _no_dates(texts, position):
    bad = [code for code, text in enumerate(texts.values) if dates.seconds(text) is None]
    return [
        Fault(row, position, f"{texts.values[texts.codes[row]][:40]!r} is not {dates.EXPECTED}")
        for row in np.flatnonzero(np.isin(texts.codes, bad)).tolist()
    ]


def _missing(missing, position):
    return [
        Fault(row, position, "is empty; --missing zero reads it as no feature")
        for row in np.flatnonzero(missing).tolist()
    ]


def _strings(texts: Texts):
    values = [*texts.values, None]
    return [values[code] for code in texts.codes.tolist()]

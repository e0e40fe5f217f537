"""What must hold of the rows of a data set together, known once all of them have been read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fmcore.errors import DataError
from fmcore.io.labels import POSITIVE, found_labels
from fmcore.io.options import UNKNOWN

if TYPE_CHECKING:
    from fmcore.io.options import ReadOptions, Report
    from fmcore.rows.batch import Batch
    from fmcore.rows.source import LabelRule

ROWS, WEIGHTED, CLASSES = "rows", "rows of positive weight", ("rows of class 0", "rows of class 1")  # facts
ONE_CLASS = {  # training or not -> what comes of it
    True: "a classifier learns nothing from one class",
    False: "metrics of one class say little, and auc is not defined",
}
WEIGHTLESS = {True: "training needs rows of positive weight", False: "metrics need a positive one"}


class LabelSummary:
    """The labels of the rows of a pass: their range, and of two classes how many rows have each."""

    def __init__(self) -> None:
        self._range: list[float] | None = None
        self._ones = self._rows = 0

    def add(self, labels: np.ndarray) -> None:
        """Take in the labels of more rows, float32."""
        if len(labels):
            both = [*(self._range or ()), float(labels.min()), float(labels.max())]
            self._range = [min(both), max(both)]
            self._rows, self._ones = self._rows + len(labels), self._ones + int((labels == 1).sum())

    def as_dict(self, options: ReadOptions) -> dict[str, Any]:
        """Return {"classes": rows of label 0, of label 1} for a classification, else {"range": lowest, highest}."""
        if self._range is None:
            return {}
        return {"classes": [self._rows - self._ones, self._ones]} if options.binary else {"range": self._range}


def watched(batches: Iterable[Batch], report: Report) -> Iterator[Batch]:
    """Pass batches on, and keep in the report what `judge` asks for."""
    for batch in batches:
        if len(batch):
            report.learn(ROWS, 1)
            labels = batch.labels if batch.weights is None else batch.labels[batch.weights > 0]
            zeros, ones = (labels == 0).any(), (labels == 1).any()
            for fact, seen in zip((WEIGHTED, *CLASSES), (len(labels), zeros, ones), strict=True):
                if seen:
                    report.learn(fact, 1)
        yield batch


def judge(report: Report, options: ReadOptions, title: str, labels: LabelRule | None, *, training: bool) -> None:
    """Refuse or warn of rows that have been read by `options` and watched.

    title: what messages call them. labels: the rule for their labels, such as an Objective; None where they are only
    read. training: whether they are trained on; else they are scored, or read.
    Raises DataError where all rows have weight 0, or none of the training rows has the positive label.
    """
    facts = report.facts
    if ROWS not in facts:
        return
    if options.positive is not None and POSITIVE not in facts and report.labels:
        found = found_labels(report.labels, options.positive)
        sentence = f"no row has the positive label {options.positive!r}; {found}"
        if training:
            raise DataError(f"{sentence}; name one of them with --positive-label", source=title)
        report.warn(f"{title}: {sentence}; every row counts as 0")
    if labels is None:
        return
    if WEIGHTED not in facts:
        raise DataError(f"all rows have weight 0; {WEIGHTLESS[training]}", source=title)
    classes = [number for number, fact in enumerate(CLASSES) if fact in facts]
    if getattr(labels, "binary", False) and len(classes) == 1 and not report.labels:
        label = -1 if classes == [0] and "label -1" in facts else classes[0]
        report.warn(f"{title}: all rows have label {label}; {ONE_CLASS[training]}")
    if training:
        _warn_of_unknown(report, title)


def _warn_of_unknown(report: Report, title: str) -> None:
    """Warn of values of training rows that a fixed vocabulary does not hold."""
    unknown = {name.removeprefix(UNKNOWN): n for name, n in report.counts.items() if name.startswith(UNKNOWN)}
    if unknown:
        columns = ", ".join(f"{name.removeprefix(' in column ')} ({number:,})" for name, number in unknown.items())
        report.warn(
            f"{title}: {sum(unknown.values()):,} values of the rows to train on are not in the vocabulary, which is "
            f"fixed, and are dropped: {columns}"
        )

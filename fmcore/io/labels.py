"""Labels of a classification: {0, 1}, {-1, 1} or one positive label against the rest become 0 and 1."""

import unicodedata

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.schema.texts import canonical, parse_number

EXPECTED = "expected 0 and 1, or -1 and 1; for other labels name the one that means 1 with --positive-label"


class Labels:
    """The labels of one data set, mapped batch after batch; a NaN (no label) stays.

    binary: map and check at all; otherwise labels pass through.
    positive: the label that means 1, as written in the data; every other label means 0.
    negative: 0.0 or -1.0, whichever of the two there is, once seen.
    """

    def __init__(self, *, binary=False, positive=None):
        self.binary = binary or positive is not None
        self.positive = positive
        self.negative = None

    def apply(self, batch):
        """Map batch.labels in place; return the rows (int array) whose label is not valid in a classification."""
        if self.positive is not None:
            value = parse_number(self.positive)
            if value is None:
                raise UsageError(f"--positive-label {self.positive!r} is not a number, but the labels of this data are")
            known = ~np.isnan(batch.labels)
            batch.labels[known] = batch.labels[known] == np.float32(value)
        elif self.binary:
            return self._check(batch.labels)
        return np.empty(0, np.intp)

    def from_texts(self, texts):
        """Return float32 labels for distinct label texts (list of str or None), and for each whether it is valid.

        The positive label is compared in canonical texts of composed characters (NFC), or as a number.
        """
        numbers = [None if text is None else parse_number(text) for text in texts]
        if self.positive is not None:
            wanted, number = _composed(self.positive), parse_number(self.positive)
            hits = [
                t is not None and (_composed(t) == wanted or (n is not None and n == number))
                for t, n in zip(texts, numbers, strict=True)
            ]
            mapped = [np.nan if t is None else float(hit) for t, hit in zip(texts, hits, strict=True)]
            return np.array(mapped, np.float32), np.ones(len(texts), bool)
        words = {"true": 1.0, "false": 0.0} if self.binary else {}
        numbers = [
            words.get(t.lower()) if n is None and t is not None else n for t, n in zip(texts, numbers, strict=True)
        ]
        valid = np.array([t is None or n is not None for t, n in zip(texts, numbers, strict=True)], bool)
        return np.array([np.nan if n is None else n for n in numbers], np.float32), valid

    def error(self, batch, row):
        """Return the DataError for a row that `apply` returned."""
        return DataError(f"label {batch.labels[row]:g} in a classification; {EXPECTED}", **batch.place(row))

    def _check(self, labels):
        bad = ~(np.isnan(labels) | np.isin(labels, (-1, 0, 1)))
        if self.negative is None:
            first = labels[(labels == 0) | (labels == -1)][:1]
            self.negative = float(first[0]) if len(first) else None
        other = {0.0: -1.0, -1.0: 0.0}.get(self.negative)
        if other is not None:
            bad |= labels == other
        rows = np.flatnonzero(bad)
        labels[(labels == -1) & ~bad] = 0
        return rows


def _composed(text):
    return unicodedata.normalize("NFC", canonical(text))

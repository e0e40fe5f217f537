"""Labels of a classification: {0, 1}, {-1, 1} or one positive label against the rest become 0 and 1."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.schema.texts import canonical, parse_number

EXPECTED = "expected 0 and 1, or -1 and 1; for other labels name the one that means 1 with --positive-label"
POSITIVE = "rows with the positive label"  # a fact of a Report, where there are any
DISTINCT = 1000  # different labels that are counted while none is the positive one
SHOWN = 5  # of them in a message


class Labels:
    """The labels of one data set, mapped batch after batch; a NaN (no label) stays.

    binary: map and check at all; otherwise labels pass through.
    positive: the label that means 1, however one spells it (fmcore.schema.texts, Unicode); every other one means 0.
    negative: 0.0 or -1.0, whichever of the two there is, once seen.
    found: whether a row has the positive label. others: label as written -> rows, as long as none has.
    """

    def __init__(self, *, binary=False, positive=None):
        self.binary = binary or positive is not None
        self.positive = positive
        self.negative = None
        self.found, self.others = False, Counter()

    def apply(self, batch):
        """Map batch.labels in place; return the rows (int array) whose label is not valid in a classification."""
        if self.positive is not None:
            value = parse_number(self.positive.strip())
            if value is None:
                raise UsageError(f"--positive-label {self.positive!r} is not a number, but the labels of this data are")
            known = ~np.isnan(batch.labels)
            labels = batch.labels[known]
            hits = labels == np.float32(value)
            self._count(lambda: _counted(labels), found=bool(hits.any()))
            batch.labels[known] = hits
        elif self.binary:
            return self._check(batch.labels)
        return np.empty(0, np.intp)

    def from_texts(self, texts, codes=None):
        """Return float32 labels for distinct label texts (list of str or None), and for each whether it is valid.

        codes: int (rows,), which of the texts each row has, to learn what labels there are; None to learn nothing.
        """
        numbers = [None if text is None else parse_number(text) for text in texts]
        if self.positive is not None:
            hits = self._hits(texts, numbers)
            if codes is not None:
                rows = np.bincount(codes[codes >= 0], minlength=len(texts))
                pairs = [(text, int(n)) for text, n in zip(texts, rows, strict=True) if n and text is not None]
                self._count(lambda: pairs, found=bool(rows[hits].any()))
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
        label, other = batch.labels[row], self.negative
        beside = f" beside label {other:g}" if label in {0, -1} and other is not None else ""
        return DataError(f"label {label:g}{beside}; {EXPECTED}", **batch.place(row))

    def _hits(self, texts, numbers):
        """Return which texts are the positive label, bool (texts,)."""
        wanted, number = _plain(self.positive), parse_number(self.positive.strip())
        return np.array(
            [
                text is not None and (_plain(text) == wanted or (n is not None and n == number))
                for text, n in zip(texts, numbers, strict=True)
            ],
            bool,
        )

    def _count(self, pairs, *, found):
        """Take note whether rows have the positive label, else of the labels that they have.

        pairs: a function that returns (label, rows).
        """
        if found and not self.found:
            self.found, self.others = True, Counter()
        if not self.found:
            for label, rows in pairs():
                if label in self.others or len(self.others) < DISTINCT:
                    self.others[label] += rows

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


def found_labels(labels: Mapping[str, int], positive: str) -> str:
    """Return which labels were found, the most frequent first, and which of them is nearest to the positive one."""
    counted = sorted(labels.items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{label!r} ({rows:,})" for label, rows in counted[:SHOWN])
    more = f" and {len(counted) - SHOWN:,}{' or more' * (len(counted) >= DISTINCT)} others" * (len(counted) > SHOWN)
    near = [label for label, _ in counted if _plain(label).casefold() == _plain(positive).casefold()]
    hint = f", of which {near[0]!r} differs in case alone" if near else ""
    return f"the labels found are {shown}{more}{hint}"


def label_text(label: float) -> str:
    """Return a label (float) in as many digits as distinguish it from every other one; -0 is 0."""
    return f"{label + 0:.0f}" if label.is_integer() else str(np.float32(label))


def _counted(labels: np.ndarray) -> Iterable[tuple[str, int]]:
    found, rows = np.unique(labels, return_counts=True)
    return zip(map(label_text, found.tolist()), rows.tolist(), strict=True)


def _plain(text: str) -> str:
    """Return a label as it is compared."""
    return canonical(unicodedata.normalize("NFC", text).strip())

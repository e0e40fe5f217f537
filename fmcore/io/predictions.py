"""Writers of predictions: text, CSV, JSON, JSON Lines and recordIO.

A writer is asked for its parts: `begin()`, `rows(scores, ids, first)` for each batch, `end()`; each returns bytes. It
keeps nothing from call to call, so batches may be written in any order and from several threads at once.
scores: float32 (rows,), for classes probabilities. ids: list of str or None, one a row, or None. first: how many
rows come before the batch.
`predicted_label`, of an objective that has the column, is 1 where the score is at least 0.5, else 0. Scores have the
shortest text that reads back as the same float32. One that is not finite is `nan`, `inf` or `-inf` in text and CSV, and
`null` in JSON.
"""

import json

from fmcore.errors import UsageError
from fmcore.io.options import require_one_of

THRESHOLD = 0.5
COLUMNS = ("score",), ("score", "predicted_label")


def writer_for(format, columns):  # noqa: A002  (ReadOptions' word)
    """Return the writer of that format (a key of WRITERS) and an objective's columns; raise UsageError for others.

    columns: one of COLUMNS.
    """
    require_one_of("output format", format, tuple(WRITERS))
    if columns not in COLUMNS:
        raise UsageError(f"predictions have columns {columns!r}; expected one of {COLUMNS}")
    return WRITERS[format]("predicted_label" in columns)


class Text:
    """A score a line."""

    def __init__(self, labelled):
        self._labelled = labelled  # whether there is a predicted_label

    def begin(self):
        """Return the bytes before the first row."""
        return b""

    def rows(self, scores, ids=None, first=0):  # noqa: ARG002  (one interface for all formats)
        """Return the rows, encoded."""
        from fmcore.io import _format

        return _format.lines(scores)

    def end(self):
        """Return the bytes after the last row."""
        return b""


class Csv(Text):
    """`id,score,predicted_label`, without the last where there are no classes. A row without an id has its number.

    Rows are numbered from 1.
    """

    def begin(self):
        """Return the bytes before the first row."""
        return b"id,score,predicted_label\n" if self._labelled else b"id,score\n"

    def rows(self, scores, ids=None, first=0):
        """Return the rows, encoded."""
        from fmcore.io import _format

        numbers = range(first + 1, first + 1 + len(scores))
        if ids is None:
            prefixes = [b"%d," % number for number in numbers]
        else:
            prefixes = [
                b"%d," % number if row_id is None else quoted(row_id) + b","
                for number, row_id in zip(numbers, ids, strict=True)
            ]
        low, high = (b",0\n", b",1\n") if self._labelled else (b"\n", b"\n")
        return _format.table(scores, b"", low, high, prefixes)


class JsonLines(Text):
    """One object a line: `{"score":0.4,"predicted_label":0}`, with `id` first where the row has one."""

    start, stop = b"{", b"}\n"

    def rows(self, scores, ids=None, first=0):  # noqa: ARG002  (as above)
        """Return the rows, encoded."""
        from fmcore.io import _format

        low, high = (b',"predicted_label":0', b',"predicted_label":1') if self._labelled else (b"", b"")
        before, prefixes = self.start + b'"score":', None
        if ids is not None:
            before, prefixes = b'"score":', [self.start + _member(row_id) for row_id in ids]
        return _format.table(scores, before, low + self.stop, high + self.stop, prefixes, b"null")


class Json(JsonLines):
    """One document: `{"predictions":[{"score":0.4,"predicted_label":0},...]}`."""

    start, stop = b",{", b"}"

    def begin(self):
        """Return the bytes before the first row."""
        return b'{"predictions":['

    def rows(self, scores, ids=None, first=0):
        """Return the rows, encoded."""
        text = super().rows(scores, ids)
        return text if first else text[1:]  # no comma before the first row

    def end(self):
        """Return the bytes after the last row."""
        return b"]}\n"


class RecordIO(Text):
    """Records whose labels are `score` and, for classes, `predicted_label`; ids become `uid`."""

    def rows(self, scores, ids=None, first=0):  # noqa: ARG002  (as above)
        """Return the rows, encoded."""
        from fmcore.io.recordio import codec as recordio

        return recordio.encode_predictions(scores, scores >= THRESHOLD if self._labelled else None, ids)


WRITERS = {"text": Text, "csv": Csv, "json": Json, "jsonlines": JsonLines, "recordio": RecordIO}


def quoted(text):
    """Return a text as a CSV field (RFC 4180), encoded."""
    if any(char in text for char in ',"\r\n') or text != text.strip() or not text:
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


def _member(row_id):
    return b"" if row_id is None else f'"id":{json.dumps(row_id, ensure_ascii=False)},'.encode()

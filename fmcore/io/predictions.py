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
import re

from fmcore.errors import UsageError
from fmcore.io.options import require_one_of

THRESHOLD = 0.5
COLUMNS = ("score",), ("score", "predicted_label")
KEYS = ("id", *COLUMNS[1])  # of a CSV file
CHOSEN = re.compile(r'\s*(\w+)\s*(?:=\s*(?:"((?:[^"]|"")+)"\s*|([^\s",](?:[^",]*[^\s",])?)\s*))?(?:,(?=.)|$)')


def writer_for(format, columns, chosen=None):  # noqa: A002  (ReadOptions' word)
    """Return the writer of that format (a key of WRITERS) and an objective's columns; raise UsageError for others.

    columns: one of COLUMNS. chosen: the columns of a CSV file and their names, as `parse_columns` returns them.
    """
    require_one_of("output format", format, tuple(WRITERS))
    if columns not in COLUMNS:
        raise UsageError(f"predictions have columns {columns!r}; expected one of {COLUMNS}")
    labelled = "predicted_label" in columns
    if chosen is None:
        return WRITERS[format](labelled)
    if format != "csv":
        raise UsageError(f"columns are chosen of CSV, but {format} is written; add --to csv, or leave out --columns")
    for key, _ in chosen:
        if key not in ("id", *columns):
            raise UsageError(f"these predictions have no column {key!r}; expected {', '.join(('id', *columns))}")
    return ChosenColumns(labelled, chosen)


def row_ids(batch, writer):
    """Return the ids of a batch's rows for a writer.

    Where rows were left out, those without an id have their places among all rows, if the writer numbers rows.
    """
    places = batch.origin and batch.origin.places
    if places is None or not writer.numbered:
        return batch.ids
    given = batch.ids or [None] * len(batch)
    return [str(place) if row_id is None else row_id for place, row_id in zip(places.tolist(), given, strict=True)]


def parse_columns(text):
    """Return [(column, its name in the file), ...] of the option columns: id=PassengerId,score="a, b".

    A column alone keeps its name. Raises UsageError for other columns, none, or one name for two.
    """
    chosen, rest = [], text
    while found := CHOSEN.match(rest):
        key, in_quotes, bare = found.groups()
        chosen.append((key, bare or (in_quotes or key).replace('""', '"')))
        rest = rest[found.end() :]
        if not found[0].endswith(","):
            break
    if rest or not chosen:
        raise UsageError(f"found {text!r}; expected such as id=PassengerId,score=Survived, names with commas in quotes")
    for key, name in chosen:
        if key not in KEYS:
            raise UsageError(f"predictions have no column {key!r}; expected {', '.join(KEYS)}")
        if [other for _, other in chosen].count(name) > 1:
            raise UsageError(f"two columns are named {name!r}; expected one name a column")
    return chosen


class Text:
    """A score a line."""

    def __init__(self, labelled):
        self._labelled = labelled  # whether there is a predicted_label

    numbered = False  # whether a row without an id has its number for one

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

    numbered = True

    def begin(self):
        """Return the bytes before the first row."""
        return b"id,score,predicted_label\n" if self._labelled else b"id,score\n"

    def rows(self, scores, ids=None, first=0):
        """Return the rows, encoded."""
        from fmcore.io import _format

        low, high = (b",0\n", b",1\n") if self._labelled else (b"\n", b"\n")
        return _format.table(scores, b",", low, high, _ids(len(scores), ids, first))


class ChosenColumns(Csv):
    """CSV of chosen columns under chosen names; columns: see `parse_columns`."""

    def __init__(self, labelled, columns):
        super().__init__(labelled)
        self._columns = columns

    def begin(self):
        """Return the bytes before the first row."""
        return b",".join(quoted(name) for _, name in self._columns) + b"\n"

    def rows(self, scores, ids=None, first=0):
        """Return the rows, encoded."""
        from fmcore.io import _format

        fields = {
            "id": lambda: _ids(len(scores), ids, first),
            "score": lambda: _format.lines(scores).splitlines(),
            "predicted_label": lambda: [b"1" if label else b"0" for label in (scores >= THRESHOLD).tolist()],
        }
        columns = [fields[key]() for key, _ in self._columns]
        return b"".join(b",".join(row) + b"\n" for row in zip(*columns, strict=True))


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


def _ids(rows, ids, first):
    """Return the field of each row's id, or of its number where it has none."""
    numbers = range(first + 1, first + 1 + rows)
    if ids is None:
        return [b"%d" % number for number in numbers]
    return [b"%d" % number if row_id is None else quoted(row_id) for number, row_id in zip(numbers, ids, strict=True)]


def quoted(text):
    """Return a text as a CSV field (RFC 4180), encoded."""
    if any(char in text for char in ',"\r\n') or text != text.strip() or not text:
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


def _member(row_id):
    return b"" if row_id is None else f'"id":{json.dumps(row_id, ensure_ascii=False)},'.encode()

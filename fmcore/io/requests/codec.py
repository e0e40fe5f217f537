"""Decode inference requests in JSON and JSON Lines into rows.

The forms are those of SageMaker's factorization machines: `{"instances": [...]}`, or one instance a line. An instance
is `{"features": F}` or `{"data": {"features": F}}`, where F is a list (dense) or an object of `values`, and for sparse
rows `keys` and `shape` (which may be absent). `id` or `uid` (a string or an integer) names a row in the predictions;
`configuration` and `metadata` are ignored; any other key is refused.
"""

from array import array
from collections.abc import Sequence
from contextlib import nullcontext
from threading import Lock

import numpy as np

from fmcore.errors import DataError
from fmcore.io.options import require_one_of
from fmcore.io.pieces import Decoded
from fmcore.io.requests import _requests
from fmcore.io.requests.grammar import Refused, document, parse
from fmcore.io.requests.instance import PLAIN, Keys, row_of
from fmcore.rows.batch import Batch, RowOrigin

PIECE_BYTES = 1 << 20
UNITS = {"json": "row", "jsonlines": "line"}
SLOW_PATH = Lock()


def chunks(stream, format):  # noqa: A002  (ReadOptions' word)
    """Yield a binary stream in pieces to decode: runs of whole lines of about 1 MiB, or the whole JSON document."""
    require_one_of("format", format, tuple(UNITS))
    if format == "json":
        yield b"".join(iter(lambda: stream.read(PIECE_BYTES), b""))
        return
    begun = []  # parts of the next piece read so far
    while piece := stream.read(PIECE_BYTES):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*begun, piece[:end]])
            begun = []
        begun.append(piece[end:])
    if any(begun):
        yield b"".join(begun)


def decode(chunk, format, on_error="fail", *, index_base="auto", wide=False, width=None):  # noqa: A002  (ReadOptions' word)
    """Decode one piece into `Decoded`; row numbers count instances ("row"), or lines ("line") with blank ones.

    Labels are NaN: a request has none. Zeros of a dense list are left out.
    index_base: "0" and "auto" keep keys as they stand, "1" subtracts one. wide: whether the batch's indices are ids of
    64 bits, uint64. width: the number of features that a dense list or a shape must have, or None.
    Raises DataError with number and key for the first malformed instance, or with on_error="skip" leaves those out. A
    JSON document that is malformed as a whole is an error in both cases.
    """
    require_one_of("format", format, tuple(UNITS))
    require_one_of("index base", index_base, ("auto", "0", "1"))
    keys = Keys(int(index_base == "1"), wide, width)
    parsed = _requests.parse(chunk, format == "jsonlines", *keys)
    if parsed is None:
        return _uncommon(chunk, format, on_error, keys)
    *arrays, numbers = parsed
    units = len(numbers) if format == "json" else chunk.count(b"\n") + (chunk[-1:] not in {b"", b"\n"})
    return Decoded(_batch(*arrays, None, format, numbers), units)


def _uncommon(chunk, format, on_error, keys=PLAIN):  # noqa: A002  (ReadOptions' word)
    """Decode a request in any form in Python, slowly; this defines the grammar, and raises its errors.

    One thread at a time where the chunk is large: Python runs no two at once anyway, and each may take thirty times its
    chunk of memory.
    """
    with SLOW_PATH if len(chunk) > PIECE_BYTES else nullcontext():
        return _walked(chunk, format, on_error, keys)


def _walked(chunk, format, on_error, keys):  # noqa: A002  (ReadOptions' word)
    instances = document(chunk) if format == "json" else chunk.split(b"\n")
    units = len(instances) - (format == "jsonlines" and not instances[-1])
    rows, wrong = _Rows(format, keys), array("q")
    for number, instance in enumerate(instances, 1):
        error = rows.add(number, instance)
        if error is not None:
            if on_error != "skip":
                raise error
            wrong.append(number)
    return Decoded(rows.batch(), units, _Malformed(instances, wrong, format, keys))


class _Malformed(Sequence):
    """The DataErrors of malformed instances, each made anew when asked for, as a piece may hold nothing but those."""

    def __init__(self, instances, numbers, *rows):
        self._instances, self._numbers, self._rows = instances, numbers, rows

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, item):
        number = self._numbers[item]
        return _Rows(*self._rows).add(number, self._instances[number - 1])


class _Rows:
    """Rows collected one by one."""

    def __init__(self, format, keys):  # noqa: A002  (ReadOptions' word)
        self._format, self._keys = format, keys
        self._numbers, self._ids, self._indices, self._values = [], [], [], []

    def add(self, number, instance):
        """Add an instance (a parsed one, or a line); return the DataError of a malformed one, else None."""
        try:
            if self._format == "jsonlines":
                if not instance.strip():
                    return None
                instance = parse(instance)
            row_id, (indices, values) = row_of(instance, self._keys)
        except Refused as refused:
            return DataError(refused.problem, unit=UNITS[self._format], number=number, field=refused.key)
        self._numbers.append(number)
        self._ids.append(row_id)
        self._indices.append(indices)
        self._values.append(values)
        return None

    def batch(self):
        """Return all rows as a Batch; rows without an id have None, and ids is None where no row has one."""
        rows = len(self._numbers)
        indptr = np.zeros(rows + 1, np.int64)
        np.cumsum([len(indices) for indices in self._indices], out=indptr[1:])
        ids = self._ids if any(row_id is not None for row_id in self._ids) else None
        return _batch(
            indptr,
            np.concatenate([np.empty(0, self._keys.dtype), *self._indices]),
            np.concatenate([np.empty(0, np.float32), *self._values]),
            ids,
            self._format,
            np.array(self._numbers, np.int64),
        )


def _batch(indptr, indices, values, ids, format, numbers):  # noqa: A002  (ReadOptions' word)
    labels = np.full(len(numbers), np.nan, np.float32)
    return Batch(indptr, indices, values, labels, None, ids, RowOrigin(None, UNITS[format], numbers))

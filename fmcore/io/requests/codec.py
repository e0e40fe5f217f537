"""Decode inference requests in JSON and JSON Lines into rows.

The forms are those of SageMaker's factorization machines: `{"instances": [...]}`, or one instance a line. An instance
is `{"features": F}` or `{"data": {"features": F}}`, where F is a list (dense) or an object of `values`, and for sparse
rows `keys` and `shape` (which may be absent). `id` or `uid` (a string or an integer) names a row in the predictions;
`configuration` and `metadata` are ignored; any other key is refused.
"""

import json
from array import array
from collections.abc import Sequence
from contextlib import nullcontext
from threading import Lock

import numpy as np

from fmcore.errors import DataError
from fmcore.io.options import require_one_of
from fmcore.io.pieces import Decoded
from fmcore.io.requests import _requests
from fmcore.rows.batch import MAX_FEATURE_DIM, Batch, RowOrigin

PIECE_BYTES = 1 << 20
FLOAT32_END = 2.0**128 - 2.0**103  # rounds to infinity as a float32, as does all beyond
UNITS = {"json": "row", "jsonlines": "line"}
SLOW_PATH = Lock()
INSTANCE_KEYS = ("features", "data", "id", "uid", "configuration", "metadata")
FEATURE_KEYS = ("keys", "shape", "values")
KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


class _Refused(Exception):  # noqa: N818  (caught in this file, where it becomes a DataError with its row)
    """A problem in an instance, and the key where it is."""

    def __init__(self, problem, key=None):
        super().__init__(problem)
        self.problem, self.key = problem, key


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


def decode(chunk, format, on_error="fail"):  # noqa: A002  (ReadOptions' word)
    """Decode one piece into `Decoded`; row numbers count instances ("row"), or lines ("line") with blank ones.

    Labels are NaN: a request has none. Zeros of a dense list are left out.
    Raises DataError with number and key for the first malformed instance, or with on_error="skip" leaves those out. A
    JSON document that is malformed as a whole is an error in both cases.
    """
    require_one_of("format", format, tuple(UNITS))
    parsed = _requests.parse(chunk, format == "jsonlines")
    if parsed is None:
        return _uncommon(chunk, format, on_error)
    *arrays, numbers = parsed
    units = len(numbers) if format == "json" else chunk.count(b"\n") + (chunk[-1:] not in {b"", b"\n"})
    return Decoded(_batch(*arrays, None, format, numbers), units)


def _uncommon(chunk, format, on_error):  # noqa: A002  (ReadOptions' word)
    """Decode a request in any form in Python, slowly; this defines the grammar, and raises its errors.

    One thread at a time where the chunk is large: Python runs no two at once anyway, and each may take thirty times its
    chunk of memory.
    """
    with SLOW_PATH if len(chunk) > PIECE_BYTES else nullcontext():
        return _walked(chunk, format, on_error)


def _walked(chunk, format, on_error):  # noqa: A002  (ReadOptions' word)
    instances = _document(chunk) if format == "json" else chunk.split(b"\n")
    units = len(instances) - (format == "jsonlines" and not instances[-1])
    rows, wrong = _Rows(format), array("q")
    for number, instance in enumerate(instances, 1):
        error = rows.add(number, instance)
        if error is not None:
            if on_error != "skip":
                raise error
            wrong.append(number)
    return Decoded(rows.batch(), units, _Malformed(instances, wrong, format))


class _Malformed(Sequence):
    """The DataErrors of malformed instances, each made anew when asked for, as a piece may hold nothing but those."""

    def __init__(self, instances, numbers, format):  # noqa: A002  (ReadOptions' word)
        self._instances, self._numbers, self._format = instances, numbers, format

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, item):
        number = self._numbers[item]
        return _Rows(self._format).add(number, self._instances[number - 1])


class _Rows:
    """Rows collected one by one."""

    def __init__(self, format):  # noqa: A002  (ReadOptions' word)
        self._format = format
        self._numbers, self._ids, self._indices, self._values = [], [], [], []

    def add(self, number, instance):
        """Add an instance (a parsed one, or a line); return the DataError of a malformed one, else None."""
        try:
            if self._format == "jsonlines":
                if not instance.strip():
                    return None
                instance = _parse(instance)
            row_id, (indices, values) = _instance(instance)
        except _Refused as refused:
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
            np.concatenate([np.empty(0, np.int32), *self._indices]),
            np.concatenate([np.empty(0, np.float32), *self._values]),
            ids,
            self._format,
            np.array(self._numbers, np.int64),
        )


def _batch(indptr, indices, values, ids, format, numbers):  # noqa: A002  (ReadOptions' word)
    labels = np.full(len(numbers), np.nan, np.float32)
    return Batch(indptr, indices, values, labels, None, ids, RowOrigin(None, UNITS[format], numbers))


def _document(chunk):
    """Return the list of instances of a JSON document."""
    try:
        document = _expect(_parse(chunk), dict)
        _only(document, ("instances", "configuration"), "")
        return _expect(_member(document, "instances"), list, "instances")
    except _Refused as refused:
        raise DataError(refused.problem, unit="row", field=refused.key) from None


def _parse(data):
    """Return the JSON value in these bytes."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _Refused("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Refused(f"not JSON: {error}") from None
    except RecursionError:
        raise _Refused("not a request: nested too deeply") from None
    except ValueError:  # Python's limit on the digits of an integer
        raise _Refused("a number with thousands of digits") from None


def _no_constant(name):
    raise _Refused(f"{name} is not JSON; expected a finite number")


def _instance(instance):
    """Return (id or None, (int32 indices, float32 values)) of an instance."""
    _only(_expect(instance, dict), INSTANCE_KEYS, "")
    if ("features" in instance) == ("data" in instance):
        raise _Refused('expected one of the keys "features" and "data"')
    if "features" in instance:
        return _row_id(instance), _features(instance["features"], "features")
    data = _expect(instance["data"], dict, "data")
    _only(data, ("features",), "data.")
    return _row_id(instance), _features(_member(data, "features", "data"), "data.features")


def _row_id(instance):
    for key in ("id", "uid"):
        row_id = instance.get(key)
        if row_id is None:
            continue
        if type(row_id) not in {str, int}:
            raise _Refused(f"expected a string or an integer, found {_kind(row_id)}", key)
        try:
            return str(row_id).encode().decode()
        except UnicodeEncodeError:
            raise _Refused("half of a surrogate pair, which is not valid text", key) from None
    return None


def _features(features, path):
    if isinstance(features, list):
        return _dense(_numbers(features, path))
    _only(_expect(features, dict, path), FEATURE_KEYS, f"{path}.")
    size = _shape(features["shape"], f"{path}.shape") if "shape" in features else None
    written = features.get("values", []) if size is not None else _member(features, "values", path)
    values = _numbers(written, f"{path}.values")
    keys = _expect(features.get("keys", []), list, f"{path}.keys")
    if not keys and size in {None, len(values)}:
        return _dense(values)
    if len(keys) != len(values):
        raise _Refused(f"{len(keys)} keys but {len(values)} values", f"{path}.keys")
    return _keys(keys, MAX_FEATURE_DIM if size is None else size, f"{path}.keys"), values


def _numbers(values, path):
    """Return the float32 array of a list of finite numbers."""
    _only_numbers(_expect(values, list, path), {int, float}, "a number", path)
    if values and not (min(values) > -FLOAT32_END and max(values) < FLOAT32_END):
        raise _Refused("a number beyond the range of 32-bit floats", path)
    return np.array(values, np.float32)


def _dense(numbers):
    indices = np.flatnonzero(numbers)
    return indices.astype(np.int32), numbers[indices]


def _keys(keys, size, path):
    """Return the int32 array of a list of indices below size."""
    _only_numbers(keys, {int}, "an integer", path)
    for key in (min(keys, default=0), max(keys, default=0)):
        if keys and not 0 <= key < size:
            raise _Refused(f"key {str(key)[:40]}, expected 0 to {size - 1}", path)
    return np.array(keys, np.int32)


def _shape(shape, path):
    """Return the number of features that a shape states."""
    _only_numbers(_expect(shape, list, path), {int}, "an integer", path)
    if len(shape) != 1 or not 0 < shape[0] <= MAX_FEATURE_DIM:
        raise _Refused(f"expected one integer from 1 to {MAX_FEATURE_DIM}, the number of features", path)
    return shape[0]


def _member(mapping, key, path=None):
    if key not in mapping:
        raise _Refused(f'expected the key "{key}"', path)
    return mapping[key]


def _expect(value, kind, path=None):
    """Return the value, which must be of that kind."""
    if type(value) is not kind:
        raise _Refused(f"expected {KINDS[kind]}, found {_kind(value)}", path)
    return value


def _only_numbers(values, kinds, expected, path):
    if not set(map(type, values)) <= kinds:  # bool is a type of its own here
        place, value = next((p, v) for p, v in enumerate(values) if type(v) not in kinds)
        raise _Refused(f"expected {expected}, found {_kind(value)}", f"{path}[{place}]")


def _only(mapping, known, path):
    for key in mapping:
        if key not in known:
            shown = json.dumps(key[:40])[1:-1]  # in one line, and without half of a surrogate pair
            raise _Refused(f"unknown key; expected {', '.join(known)}", f"{path}{shown}")


def _kind(value):
    """Return the name of a JSON value's type, or the value, for a message."""
    return KINDS.get(type(value)) or str(value)[:40]

"""The grammar of an instance of a request in Python: any JSON to the features of a row, or what is wrong with it."""

import json
from typing import NamedTuple

import numpy as np

from fmcore.io.indexing import FROM_1, WIDER
from fmcore.rows.batch import MAX_FEATURE_DIM

FLOAT32_END = 2.0**128 - 2.0**103  # rounds to infinity as a float32, as does all beyond
INSTANCE_KEYS = ("features", "data", "id", "uid", "configuration", "metadata")
FEATURE_KEYS = ("keys", "shape", "values")
KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


class Keys(NamedTuple):
    """The reading of keys. base: subtracted from each. wide: whether they are ids of 64 bits."""

    base: int
    wide: bool

    @property
    def dtype(self):
        """Return the dtype of indices."""
        return np.uint64 if self.wide else np.int32

    @property
    def limit(self):
        """Return the number of indices that there are without a shape."""
        return 2**64 - self.base if self.wide else MAX_FEATURE_DIM


PLAIN = Keys(0, wide=False)


class Refused(Exception):  # noqa: N818  (caught in codec.py, where it becomes a DataError with its row)
    """A problem in an instance, and the key where it is."""

    def __init__(self, problem, key=None):
        super().__init__(problem)
        self.problem, self.key = problem, key


def parse(data):
    """Return the JSON value in these bytes."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error}") from None
    except RecursionError:
        raise Refused("not a request: nested too deeply") from None
    except ValueError:  # Python's limit on the digits of an integer
        raise Refused("a number with thousands of digits") from None


def _no_constant(name):
    raise Refused(f"{name} is not JSON; expected a finite number")


def instances_of(document):
    """Return the list of instances of a JSON document."""
    _only(_expect(document, dict), ("instances", "configuration"), "")
    return _expect(_member(document, "instances"), list, "instances")


def instance_of(instance, rule):
    """Return (id or None, (indices, float32 values)) of an instance."""
    _only(_expect(instance, dict), INSTANCE_KEYS, "")
    if ("features" in instance) == ("data" in instance):
        raise Refused('expected one of the keys "features" and "data"')
    if "features" in instance:
        return _row_id(instance), _features(instance["features"], "features", rule)
    data = _expect(instance["data"], dict, "data")
    _only(data, ("features",), "data.")
    return _row_id(instance), _features(_member(data, "features", "data"), "data.features", rule)


def _row_id(instance):
    for key in ("id", "uid"):
        row_id = instance.get(key)
        if row_id is None:
            continue
        if type(row_id) not in {str, int}:
            raise Refused(f"expected a string or an integer, found {_kind(row_id)}", key)
        try:
            return str(row_id).encode().decode()
        except UnicodeEncodeError:
            raise Refused("half of a surrogate pair, which is not valid text", key) from None
    return None


def _features(features, path, rule):
    if isinstance(features, list):
        return _dense(_numbers(features, path), rule)
    _only(_expect(features, dict, path), FEATURE_KEYS, f"{path}.")
    size = _shape(features["shape"], f"{path}.shape", rule) if "shape" in features else None
    written = features.get("values", []) if size is not None else _member(features, "values", path)
    values = _numbers(written, f"{path}.values")
    keys = _expect(features.get("keys", []), list, f"{path}.keys")
    if not keys and size in {None, len(values)}:
        return _dense(values, rule)
    if len(keys) != len(values):
        raise Refused(f"{len(keys)} keys but {len(values)} values", f"{path}.keys")
    return _keys(keys, size, f"{path}.keys", rule), values


def _numbers(values, path):
    """Return the float32 array of a list of finite numbers."""
    _only_numbers(_expect(values, list, path), {int, float}, "a number", path)
    if values and not (min(values) > -FLOAT32_END and max(values) < FLOAT32_END):
        raise Refused("a number beyond the range of 32-bit floats", path)
    return np.array(values, np.float32)


def _dense(numbers, rule):
    indices = np.flatnonzero(numbers)
    return indices.astype(rule.dtype), numbers[indices]


def _keys(keys, size, path, rule):
    """Return the array of a list of keys, less the base, all below the size that a shape states (None: without one)."""
    _only_numbers(keys, {int}, "an integer", path)
    last = (rule.limit if size is None else size) - 1 + rule.base
    for key in (min(keys, default=0), max(keys, default=0)):
        if keys and not rule.base <= key <= last:
            why = f"but {FROM_1}" if key == 0 else f"expected {rule.base} to {last}"
            wider = f"; {WIDER}" if key > last and size is None and not rule.wide else ""
            raise Refused(f"key {str(key)[:40]}, {why}{wider}", path)
    return np.array([key - rule.base for key in keys], rule.dtype)


def _shape(shape, path, rule):
    """Return the number of features that a shape states."""
    _only_numbers(_expect(shape, list, path), {int}, "an integer", path)
    if len(shape) != 1 or not 0 < shape[0] <= rule.limit:
        raise Refused(f"expected one integer from 1 to {rule.limit}, the number of features", path)
    return shape[0]


def _member(mapping, key, path=None):
    if key not in mapping:
        raise Refused(f'expected the key "{key}"', path)
    return mapping[key]


def _expect(value, kind, path=None):
    """Return the value, which must be of that kind."""
    if type(value) is not kind:
        raise Refused(f"expected {KINDS[kind]}, found {_kind(value)}", path)
    return value


def _only_numbers(values, kinds, expected, path):
    if not set(map(type, values)) <= kinds:  # bool is a type of its own here
        place, value = next((p, v) for p, v in enumerate(values) if type(v) not in kinds)
        raise Refused(f"expected {expected}, found {_kind(value)}", f"{path}[{place}]")


def _only(mapping, known, path):
    for key in mapping:
        if key not in known:
            shown = json.dumps(key[:40])[1:-1]  # in one line, and without half of a surrogate pair
            raise Refused(f"unknown key; expected {', '.join(known)}", f"{path}{shown}")


def _kind(value):
    """Return the name of a JSON value's type, or the value, for a message."""
    return KINDS.get(type(value)) or str(value)[:40]

"""The features by index of an instance of a request, in Python: from any JSON, or what is wrong with it."""

from typing import NamedTuple

import numpy as np

from fmcore.io.indexing import FROM_1, WIDER
from fmcore.io.requests import grammar
from fmcore.io.requests.grammar import Refused
from fmcore.rows.batch import MAX_FEATURE_DIM

FLOAT32_END = 2.0**128 - 2.0**103  # rounds to infinity as a float32, as does all beyond
FEATURE_KEYS = ("keys", "shape", "values")


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


def instance_of(found, rule):
    """Return (id or None, (indices, float32 values)) of an instance; rule: `Keys`. Raises grammar.Refused."""
    row_id, features, path = grammar.instance(found)
    return row_id, _features(features, path, rule)


def _features(features, path, rule):
    if isinstance(features, list):
        return _dense(_numbers(features, path), rule)
    grammar.only(grammar.expect(features, dict, path), FEATURE_KEYS, f"{path}.")
    size = _shape(features["shape"], f"{path}.shape", rule) if "shape" in features else None
    written = features.get("values", []) if size is not None else grammar.member(features, "values", path)
    values = _numbers(written, f"{path}.values")
    keys = grammar.expect(features.get("keys", []), list, f"{path}.keys")
    if not keys and size in {None, len(values)}:
        return _dense(values, rule)
    if len(keys) != len(values):
        raise Refused(f"{len(keys)} keys but {len(values)} values", f"{path}.keys")
    return _keys(keys, size, f"{path}.keys", rule), values


def _numbers(values, path):
    """Return the float32 array of a list of finite numbers."""
    _only_numbers(grammar.expect(values, list, path), {int, float}, "a number", path)
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
    _only_numbers(grammar.expect(shape, list, path), {int}, "an integer", path)
    if len(shape) != 1 or not 0 < shape[0] <= rule.limit:
        raise Refused(f"expected one integer from 1 to {rule.limit}, the number of features", path)
    return shape[0]


def _only_numbers(values, kinds, expected, path):
    if not set(map(type, values)) <= kinds:  # bool is a type of its own here
        place, value = next((p, v) for p, v in enumerate(values) if type(v) not in kinds)
        raise Refused(f"expected {expected}, found {grammar.kind(value)}", f"{path}[{place}]")

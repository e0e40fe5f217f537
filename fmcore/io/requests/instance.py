"""The grammar of features by index in Python: those of any instance of a request, or what is wrong with them."""

from typing import NamedTuple

import numpy as np

from fmcore.io.indexing import FROM_1, WIDER
from fmcore.io.requests.grammar import FEATURE_KEYS, Refused, expect, instance, kind, member, only
from fmcore.rows.batch import MAX_FEATURE_DIM

FLOAT32_END = 2.0**128 - 2.0**103  # rounds to infinity as a float32, as does all beyond


class Keys(NamedTuple):
    """The reading of keys.

    base: subtracted from each. wide: whether they are ids of 64 bits. width: the number of features that a list of all
    of them, or a shape, must have; None for any.
    """

    base: int
    wide: bool
    width: int | None = None

    @property
    def dtype(self):
        """Return the dtype of indices."""
        return np.uint64 if self.wide else np.int32

    @property
    def limit(self):
        """Return the number of indices that there are without a shape."""
        return 2**64 - self.base if self.wide else MAX_FEATURE_DIM


PLAIN = Keys(0, wide=False)


def row_of(found, rule):
    """Return (id or None, (indices, float32 values)) of an instance; rule: Keys."""
    row_id, features, path = instance(found)
    return row_id, _features(features, path, rule)


def _features(features, path, rule):
    if isinstance(features, list):
        return _dense(_numbers(features, path), path, rule)
    only(expect(features, dict, path), FEATURE_KEYS, f"{path}.")
    size = _shape(features["shape"], f"{path}.shape", rule) if "shape" in features else None
    written = features.get("values", []) if size is not None else member(features, "values", path)
    values = _numbers(written, f"{path}.values")
    keys = expect(features.get("keys", []), list, f"{path}.keys")
    if not keys and size in {None, len(values)}:
        return _dense(values, f"{path}.values", rule)
    if len(keys) != len(values):
        raise Refused(f"{len(keys)} keys but {len(values)} values", f"{path}.keys")
    return _keys(keys, size, f"{path}.keys", rule), values


def _numbers(values, path):
    """Return the float32 array of a list of finite numbers."""
    _only_numbers(expect(values, list, path), {int, float}, "a number", path)
    if values and not (min(values) > -FLOAT32_END and max(values) < FLOAT32_END):
        raise Refused("a number beyond the range of 32-bit floats", path)
    return np.array(values, np.float32)


def _dense(numbers, path, rule):
    _require_width(len(numbers), path, rule)
    indices = np.flatnonzero(numbers)
    return indices.astype(rule.dtype), numbers[indices]


def _require_width(size, path, rule):
    if rule.width not in {None, size}:
        raise Refused(f"{size} features, expected {rule.width} as the columns of training made", path)


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
    _only_numbers(expect(shape, list, path), {int}, "an integer", path)
    if len(shape) != 1 or not 0 < shape[0] <= rule.limit:
        raise Refused(f"expected one integer from 1 to {rule.limit}, the number of features", path)
    _require_width(shape[0], path, rule)
    return shape[0]


def _only_numbers(values, kinds, expected, path):
    if not set(map(type, values)) <= kinds:  # bool is a type of its own here
        place, value = next((p, v) for p, v in enumerate(values) if type(v) not in kinds)
        raise Refused(f"expected {expected}, found {kind(value)}", f"{path}[{place}]")

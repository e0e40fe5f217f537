"""The header of a model file: JSON in the layout of safetensors, written and checked by hand.

Layout (safetensors 0.x): uint64 LE length of the header, the header (one JSON object, padded with spaces), the tensors
without gaps. The header maps each tensor's name to dtype, shape and data_offsets [begin, end), counted from
the header's end, and `__metadata__` to texts. All that is ours is one text there, under "fmkit": JSON with sorted keys.

    format_version   2; 1 has no schema
    feature_dim      the length of linear
    hyperparameters  name -> value
    info             metrics, epochs done, ...
    schema           what the rows mean, or null; its values are tensors
    checksum         SHA-256 of all tensors' bytes in the order of the file
    header_checksum  SHA-256 of the JSON of all of the above and of the table of tensors

The largest tensor, of family fm the factors, lies on cache lines: only numbers of 8 bytes stand before it, and the
header is padded so that it begins at a multiple of 64 in the file. 16 factors are then one line instead of parts of
two, and a mapped model is scored twice as fast. Files in the library's own order, bias before factors and a header
padded to 8 bytes, are read as well.

The file is written here because the safetensors library wants all of it in memory or a path of its own, its calls
differ between its versions, and it aligns nothing beyond 8 bytes; it is read here because its import and its copies of
the tensors would cost more than scoring a few rows. A test reads it with the library.
"""

import hashlib
import json
import math
from typing import NamedTuple

import numpy as np

from fmcore.errors import DivergedError, ModelError

FORMAT_VERSION = 2
KEY = "fmkit"
METADATA = "__metadata__"
ALIGNMENT, CACHE_LINE = 8, 64  # bytes: of the header's length, of the first float32 in the file
MAX_LENGTH = 1 << 24  # of a header, in bytes, which is 60,000 epochs; parsed, a hostile one takes 30 times as much
MAX_DIMENSIONS = 8
MAX_SIZE = 2**60  # numbers in a tensor: their bytes fit into an int64
# In the order of the file: wide ones first keeps every tensor aligned.
DTYPES = {
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
CONTENT = {"feature_dim": int, "hyperparameters": dict, "info": dict, "checksum": str, "header_checksum": str}


class TensorEntry(NamedTuple):
    """The place of a tensor in the file; begin and end are bytes from the header's end."""

    dtype: str
    shape: tuple
    begin: int
    end: int


def layout(tensors, aligned):
    """Return the table name -> TensorEntry, in the order of the file, for a dict of arrays.

    aligned: the name of the one that comes first of its dtype.
    """

    def rank(name):
        return list(DTYPES).index(_dtype_of(name, tensors[name])), name != aligned, name

    table, end = {}, 0
    for name in sorted(tensors, key=rank):
        array = tensors[name]
        begin, end = end, end + array.nbytes
        table[name] = TensorEntry(NAMES[array.dtype], array.shape, begin, end)
    return table


def encode(table, content):
    """Return the first bytes of a model file, up to the first tensor.

    content: feature_dim, hyperparameters, info, schema and checksum. Raises DivergedError where it holds NaN or
    infinity, ValueError where the header exceeds MAX_LENGTH.
    """
    try:  # as a reader will have it: a key that is a number becomes a text, and sorts as one
        content = json.loads(_canonical({"format_version": FORMAT_VERSION, **content}))
    except ValueError:
        raise DivergedError("a metric of the model is not a finite number") from None
    text = _text(table, content)
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the model's info makes a header of {len(text)} bytes; at most {MAX_LENGTH} can be read")
    return len(text).to_bytes(8, "little") + text


def decode(text, available):
    """Return (content, table) of a header that `available` bytes of tensors follow; ModelError for every defect."""
    header = _parse(text, "not a safetensors file: its header is not a JSON object")
    content = _content(header.pop(METADATA, None))
    if len(text) % ALIGNMENT:
        raise ModelError(f"damaged: the header's length {len(text)} is no multiple of {ALIGNMENT}")
    table = {name: _tensor(name, entry) for name, entry in header.items()}
    table = dict(sorted(table.items(), key=lambda item: item[1][2:]))
    _require_contiguous(table, available)
    _require_intact(text, table, content)
    return content, table


def _text(table, content):
    """Return the header's bytes; content: as JSON gives it back, without the header's checksum."""
    digest = hashlib.sha256(_canonical([content, table]).encode()).hexdigest()
    header = {METADATA: {KEY: _canonical({**content, "header_checksum": digest})}}
    header |= {
        name: {"dtype": t.dtype, "shape": t.shape, "data_offsets": (t.begin, t.end)} for name, t in table.items()
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    first = next((t.begin for t in table.values() if t.dtype == "F32"), 0)
    behind = first // ALIGNMENT * ALIGNMENT
    return text + b" " * (-(8 + len(text) + behind) % CACHE_LINE)


def _dtype_of(name, array):
    if array.dtype not in NAMES:
        raise ValueError(f"{name} is {array.dtype}; a model file holds {', '.join(map(str, NAMES))}")
    return NAMES[array.dtype]


def _canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _parse(text, refusal):
    """Return the JSON object in text (bytes or str), without duplicate keys or numbers that are not finite."""
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):  # ValueError covers UnicodeDecodeError and JSONDecodeError
        raise ModelError(refusal) from None
    if not isinstance(value, dict):
        raise ModelError(refusal)
    return value


def _unique(pairs):
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("duplicate keys")
    return keys


def _no_constant(name):
    raise ValueError(f"{name} is no JSON")


def _content(metadata):
    """Return the text under "fmkit", parsed; its version is checked before anything that a later one may change."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise ModelError(f"a safetensors file, but no model of fmkit: its metadata has no {KEY!r}")
    content = _parse(metadata[KEY], f"damaged: the metadata {KEY!r} is not a JSON object")
    version = content.pop("format_version", None)
    if type(version) is not int or version < 1:
        raise ModelError(f"damaged: format_version is {version!r}; expected a positive integer")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"written in format version {version} by a newer fmkit; this one reads up to version "
            f"{FORMAT_VERSION}, so update fmkit"
        )
    for name, kind in CONTENT.items():
        if type(content.get(name)) is not kind:
            raise ModelError(f"damaged: its metadata has no {name}, or one of the wrong type")
    content["format_version"] = version
    return {name: value for name, value in content.items() if name != "header_checksum"}


def _tensor(name, entry):
    """Return a checked entry of the table; its numbers are plain integers, so that no product can overflow."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelError(f"damaged: tensor {name!r} needs dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ModelError(f"tensor {name!r} has dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
    if not _are_counts(shape, MAX_DIMENSIONS) or not _are_counts(offsets, 2) or len(offsets) != 2:
        raise ModelError(f"damaged: tensor {name!r} has shape {shape!r} and data_offsets {offsets!r}")
    begin, end = offsets
    if math.prod(length or 1 for length in shape) >= MAX_SIZE:  # NumPy counts so, even where a length is 0
        raise ModelError(f"damaged: tensor {name!r} has shape {shape}, which no file can hold")
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if end - begin != size:
        raise ModelError(
            f"damaged: tensor {name!r} of shape {shape} takes {size} bytes, but its data_offsets are {offsets}"
        )
    if begin % DTYPES[dtype].itemsize:
        raise ModelError(f"damaged: tensor {name!r} begins at {begin}, no multiple of its numbers' size")
    return TensorEntry(dtype, tuple(shape), begin, end)


def _require_intact(text, table, content):
    """Raise ModelError unless `encode` makes the same header, but for padding, of what was read from it."""
    try:
        expected = _text(table, content)
    except (ValueError, RecursionError):  # infinities, names that are not UTF-8, deep nesting: fmkit writes none
        expected = None
    if expected is None or text.rstrip(b" ") != expected.rstrip(b" "):
        raise ModelError("damaged: the header does not match its checksum, or was not written by fmkit")


def _are_counts(values, most):
    return isinstance(values, list) and len(values) <= most and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _require_contiguous(table, available):
    end = 0
    for name, tensor in table.items():
        if tensor.begin != end:
            raise ModelError(
                f"damaged: tensor {name!r} begins at {tensor.begin}; expected {end}, where the one before it ends"
            )
        end = tensor.end
    if end > available:
        raise ModelError(f"cut off: its tensors take {end} bytes, but only {available} follow")
    if end < available:
        raise ModelError(f"damaged: {available - end} bytes follow its last tensor")

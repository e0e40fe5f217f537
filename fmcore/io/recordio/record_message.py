"""Record messages through google protobuf: the schema, and the slow path for records the fast decoder declines."""

from functools import cache
from typing import NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from fmcore.errors import DataError
from fmcore.io.indexing import FROM_1, WIDER
from fmcore.rows.batch import MAX_FEATURE_DIM

PACKAGE = "aialgs.data"
FEATURES, LABEL, WEIGHT = "features.values", "label.values", "label.weight"
TENSORS = ("float32_tensor", "float64_tensor", "int32_tensor")


class Row(NamedTuple):
    """One row: int32 or uint64 indices, float32 values, its label (NaN: none), weight (1 without one), uid or None.

    feature_dim: its shape, else the length of a dense row, else -1. keyed: whether it is sparse.
    """

    indices: np.ndarray
    values: np.ndarray
    label: float
    weight: float
    uid: str | None
    feature_dim: int
    keyed: bool


@cache
def record_class():
    """Return the message class of aialgs.data.Record, made at run time in a descriptor pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_schema().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Record"))


def parse(payload):
    """Return the Record in the bytes, or None where protobuf refuses them."""
    try:
        return record_class().FromString(payload)
    except (DecodeError, ValueError, RecursionError):  # the pure-Python runtime lets the latter two through
        return None


def row_of(record, place, base=0, *, wide=False):
    """Return the `Row` of a Record message; place: keyword arguments of a DataError about it, besides the field.

    base: subtracted from keys. wide: whether indices are ids of 64 bits, uint64.
    """
    features = _only_values(record.features, place)
    indices, values, feature_dim, keyed = _features(features, place, base, wide)
    label = _scalar(record.label, "values", np.nan, place)
    if np.isinf(label):
        raise DataError("the label is not finite", field=LABEL, **place)
    weight = _scalar(record.label, "weight", 1.0, place)
    if not 0 <= weight < np.inf:
        raise DataError(f"the weight is {weight:g}; expected a finite number of at least 0", field=WEIGHT, **place)
    return Row(indices, values, label, weight, _uid(record, place), feature_dim, keyed)


def _only_values(features, place):
    if "values" not in features:
        raise DataError("the record has no features under the key 'values'", field="features", **place)
    if len(features) > 1:
        others = sorted(repr(key) for key in features if key != "values")
        raise DataError(f"features has the key {others[0]}; expected no other than 'values'", field="features", **place)
    return features["values"]


def _features(value, place, base, wide):
    tensor, values = _tensor(value, FEATURES, place)
    if not np.isfinite(values).all():
        position = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"value {position + 1} is not finite in float32", field=f"{FEATURES}.values", **place)
    feature_dim, dtype = _feature_dim(tensor.shape, place, wide), np.uint64 if wide else np.int32
    keys = np.array(tensor.keys, np.uint64)
    if len(keys):
        _check_keys(keys, len(values), feature_dim, place, base, wide)
        return (keys - np.uint64(base)).astype(dtype), values, min(feature_dim, MAX_FEATURE_DIM), True
    if len(values) and feature_dim not in {-1, len(values)}:
        raise DataError(f"{len(values)} dense values, but the shape is [{feature_dim}]", field=FEATURES, **place)
    indices = np.flatnonzero(values).astype(dtype)
    return indices, values[indices], min(max(feature_dim, len(values) or -1), MAX_FEATURE_DIM), False


def _check_keys(keys, size, feature_dim, place, base, wide):
    if len(keys) != size:
        raise DataError(f"{len(keys)} keys, but {size} values; expected as many", field=FEATURES, **place)
    if keys.min() < base:
        raise DataError(f"key 0, but {FROM_1}", field=f"{FEATURES}.keys", **place)
    limit = feature_dim if feature_dim >= 0 else 2**64 if wide else MAX_FEATURE_DIM
    if int(keys.max()) - base >= limit:
        bound = f"the largest index is {limit - 1}; {WIDER}" if feature_dim < 0 else f"the shape is [{feature_dim}]"
        beyond = keys[keys - np.uint64(base) >= limit][0]
        raise DataError(f"key {beyond} is out of range; {bound}", field=f"{FEATURES}.keys", **place)


def _feature_dim(shape, place, wide):
    """Return the last dimension of [d] or [1, d]; -1 without a shape."""
    shape = list(shape)
    if len(shape) > 2 or (len(shape) == 2 and shape[0] != 1):
        raise DataError(f"the shape is {shape}; expected one row, [d] or [1, d]", field=f"{FEATURES}.shape", **place)
    if shape and shape[-1] > MAX_FEATURE_DIM and not wide:
        problem = f"the shape is {shape}; the largest feature_dim is {MAX_FEATURE_DIM}; {WIDER}"
        raise DataError(problem, field=f"{FEATURES}.shape", **place)
    return shape[-1] if shape else -1


def _scalar(label, key, default, place):
    """Return the one value under that key of the label map, else the default."""
    if key not in label:
        return default
    tensor, values = _tensor(label[key], f"label.{key}", place)
    if len(values) != 1 or len(tensor.keys):
        found = f"{len(values)} values and {len(tensor.keys)} keys"
        raise DataError(f"{found}; expected one dense value", field=f"label.{key}", **place)
    return float(values[0])


def _tensor(value, field, place):
    """Return the tensor of a Value message, and its values as float32."""
    name = value.WhichOneof("value")
    if name not in TENSORS:
        raise DataError(f"the value holds {name or 'nothing'}; expected a tensor of numbers", field=field, **place)
    tensor = getattr(value, name)
    with np.errstate(all="ignore"):  # what does not fit becomes infinite, which the caller refuses
        return tensor, np.array(tensor.values, np.float64).astype(np.float32)


def _uid(record, place):
    try:
        uid = record.uid if record.HasField("uid") else None
    except UnicodeDecodeError:
        uid = b""
    if isinstance(uid, bytes):
        raise DataError("the uid is not UTF-8", field="uid", **place)
    return uid


def _schema():
    """Return the FileDescriptorProto of the record schema (proto2)."""
    file = descriptor_pb2.FileDescriptorProto(name="aialgs/data/record.proto", package=PACKAGE, syntax="proto2")
    for name, kind in (("Float32Tensor", "FLOAT"), ("Float64Tensor", "DOUBLE"), ("Int32Tensor", "INT32")):
        message = file.message_type.add(name=name)
        for number, (field, type_name) in enumerate((("values", kind), ("keys", "UINT64"), ("shape", "UINT64")), 1):
            _add(message, number, field, type_name, "REPEATED").options.packed = True
    message = file.message_type.add(name="Bytes")
    _add(message, 1, "value", "BYTES", "REPEATED")
    _add(message, 2, "content_type", "STRING")
    message = file.message_type.add(name="Value")
    message.oneof_decl.add(name="value")
    for number, field in ((2, "float32_tensor"), (3, "float64_tensor"), (7, "int32_tensor"), (9, "bytes")):
        type_name = "".join(word.capitalize() for word in field.split("_"))
        _add(message, number, field, type_name).oneof_index = 0
    _add_record(file.message_type.add(name="Record"))
    return file


def _add_record(message):
    for number, field in ((1, "features"), (2, "label")):
        entry = message.nested_type.add(name=f"{field.capitalize()}Entry")
        entry.options.map_entry = True
        _add(entry, 1, "key", "STRING")
        _add(entry, 2, "value", "Value")
        _add(message, number, field, f"Record.{entry.name}", "REPEATED")
    for number, field in ((3, "uid"), (4, "metadata"), (5, "configuration")):
        _add(message, number, field, "STRING")


def _add(message, number, name, type_name, label="OPTIONAL"):
    """Add a field; a type name other than a scalar's is a message of this package."""
    field = message.field.add(name=name, number=number)
    field.label = getattr(descriptor_pb2.FieldDescriptorProto, f"LABEL_{label}")
    scalar = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{type_name.upper()}", None)
    if scalar is not None and type_name.isupper():
        field.type = scalar
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{type_name}"
    return field

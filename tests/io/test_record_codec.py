"""The record codec against google protobuf: whatever the bytes, both read alike."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_bytes import features, field, floats, frame, label, sparse, varint

from fmcore.errors import DataError
from fmcore.io.recordio import _record, record_message
from fmcore.io.recordio import codec as recordio
from fmcore.rows.batch import Batch

Record = record_message.record_class()
KINDS = {
    "float32_tensor": st.floats(width=32),
    "float64_tensor": st.floats(),
    "int32_tensor": st.integers(-(2**31), 2**31 - 1),
}
TENSORS = list(KINDS)
some = st.sampled_from


def numbers(batch):
    """Return everything in a batch, comparable; NaN equals NaN."""
    values = np.ones(len(batch.indices), np.float32) if batch.values is None else batch.values
    weights = np.ones(len(batch), np.float32) if batch.weights is None else batch.weights
    return (
        batch.indptr.tolist(),
        batch.indices.tolist(),
        repr(values.tolist()),
        repr(batch.labels.tolist()),
        weights.tolist(),
        batch.ids or [None] * len(batch),
    )


def by_codec(payload):
    """Return the row or the error of one record by the decoder."""
    try:
        return numbers(recordio.decode(frame(payload)).batch)
    except DataError as error:
        return str(error)


def by_google(payload):
    """Return the same by google protobuf alone."""
    record = record_message.parse(payload)
    place = {"unit": "record", "number": 1, "offset": 0}
    if record is None:
        return str(DataError("the payload is no protobuf message of a Record", **place))
    try:
        row = record_message.row_of(record, place)
    except DataError as error:
        return str(error)
    return (
        [0, len(row.indices)],
        row.indices.tolist(),
        repr(row.values.tolist()),
        repr([row.label]),
        [row.weight],
        [row.uid],
    )


def is_fast(payload):
    """Return whether the fast decoder accepts the record."""
    return _record.RecordDecoder(frame(payload), 1).fill() is None


@st.composite
def records(draw):
    """Records of every kind, most of them good."""
    record = Record()
    kind = draw(some(TENSORS))
    tensor = getattr(record.features["values"], kind)
    finite = KINDS[kind] if kind == "int32_tensor" else st.floats(width=32, allow_nan=False, allow_infinity=False)
    values = draw(st.lists(draw(some([finite, finite, KINDS[kind], st.just(1)])), max_size=6))
    tensor.values.extend(values)
    dim = draw(some([len(values), 10, 1000, 2**31 - 1]))
    if draw(st.booleans()):
        tensor.keys.extend(draw(st.lists(st.integers(0, dim), min_size=len(values), max_size=len(values))))
    tensor.shape.extend(draw(some([[], [dim], [dim], [1, dim], [dim, 1], [2**40]])))
    for key, chance in (("values", 4), ("weight", 1)):
        if draw(st.integers(0, 4)) < chance:
            kind = draw(some(TENSORS))
            getattr(record.label[key], kind).values.extend(draw(st.lists(KINDS[kind], min_size=1, max_size=1)))
    for name in ("uid", "metadata", "configuration"):
        if draw(st.booleans()):
            setattr(record, name, draw(st.text(max_size=5)))
    return record


@settings(max_examples=400)
@given(records())
def test_random_records_decode_as_google_protobuf_reads_them(record):
    payload = record.SerializeToString()
    assert by_codec(payload) == by_google(payload)


@st.composite
def edited(draw):
    """The bytes of a record with a few bytes changed, inserted or deleted."""
    data = bytearray(draw(records()).SerializeToString())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


@settings(max_examples=600)
@given(edited() | st.binary(max_size=40))
def test_random_payloads_decode_as_google_protobuf_reads_them(payload):
    assert by_codec(payload) == by_google(payload)


def tensor_fields(draw):
    """Fields of a Float32Tensor in any number, order and encoding."""
    count = draw(st.integers(0, 4))
    packed = [field(1, floats(*range(count))), field(2, *(varint(k, draw(some([1, 3, 10]))) for k in range(count)))]
    loose = [b"\x0d" + floats(5), b"\x10" + varint(5), b"\x18" + varint(draw(some([7, 200])), draw(some([1, 5])))]
    unknown = [field(9, b"abc"), b"\x5b\x5c", b"\x5b", b"\x78\x01", field(3, varint(300), size=4), b"\x07"]
    return draw(st.permutations(packed + draw(st.lists(some(packed + loose + unknown), max_size=2))))


@st.composite
def composed(draw):
    """Records from correct pieces in unusual orders and numbers."""
    tensor = field(draw(some([2, 2, 2, 3, 7, 9])), *tensor_fields(draw))
    more = [field(2, field(3, b"\x09")), field(7, field(1, b"\x01"))]
    value, key = field(2, tensor, *draw(st.lists(some(more), max_size=1))), field(1, b"values")
    entry = draw(some([[key, value]] * 3 + [[value, key], [field(1, b"x"), value], [value]]))
    pieces = [field(1, *entry, size=draw(some([1, 4, 6]))), label(2.5)]
    extra = [
        field(1, *entry),
        label(3),
        label(2, b"weight"),
        label(-1, b"weight"),
        label(math.nan, b"weight"),
        label(4, b"other"),
        label(math.inf),
        label(math.nan),
        field(3, b"one"),
        field(3, "zwölf".encode()),
        field(3, b"\xff"),
        field(4, b"\xff"),
        field(6, b"new"),
        b"\x33\x34",
        sparse([4], [1], 5),
        features(key=b"other"),
        field(2),
        field(1),
        field(0),
        b"\x00",
    ]
    return b"".join(draw(st.permutations(pieces + draw(st.lists(some(extra), max_size=3)))))


@settings(max_examples=600)
@given(composed())
def test_fields_in_every_legal_order_and_repetition_decode_alike(payload):
    assert by_codec(payload) == by_google(payload)


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("keys", [[], [3, 200, 40_000, 3_000_000, 2**31 - 2]])
def test_records_in_the_common_form_take_the_fast_path(kind, keys):
    record = Record(uid="id 1", metadata="m", configuration="{}")
    getattr(record.features["values"], kind).values.extend([1, -2, 0, 4, 5])
    getattr(record.features["values"], kind).keys.extend(keys)
    getattr(record.features["values"], kind).shape.append(2**31 - 1 if keys else 5)
    getattr(record.label["values"], kind).values.append(3)
    getattr(record.label["weight"], kind).values.append(2)
    payload = record.SerializeToString()
    assert is_fast(payload)
    batch = recordio.decode(frame(payload)).batch
    assert numbers(batch) == (
        [0, 5 if keys else 4],
        keys or [0, 1, 3, 4],
        "[1.0, -2.0, 0.0, 4.0, 5.0]" if keys else "[1.0, -2.0, 4.0, 5.0]",
        "[3.0]",
        [2.0],
        ["id 1"],
    )


@pytest.mark.parametrize(
    ("payload", "field_name", "problem"),
    [
        (sparse([5], [1], 5), "features.values.keys", "key 5 is out of range; the shape is [5]"),
        (sparse([2**31 - 1], [1]), "features.values.keys", "out of range; the largest index is 2147483646"),
        (sparse([2**64 - 1], [1]), "features.values.keys", "key 18446744073709551615 is out of range"),
        (sparse([1, 2], [1], 5), "features.values", "2 keys, but 1 values"),
        (sparse([1], [math.nan], 5), "features.values.values", "value 1 is not finite"),
        (features(field(1, floats(1, math.inf))), "features.values.values", "value 2 is not finite"),
        (features(field(1, np.float64(1e39).tobytes()), kind=3), "features.values.values", "value 1 is not finite"),
        (sparse([1], [1], 2, 5), "features.values.shape", "the shape is [2, 5]; expected one row"),
        (sparse([1], [1], 2**31), "features.values.shape", "the largest feature_dim is 2147483647"),
        (sparse([], [1, 2], 3), "features.values", "2 dense values, but the shape is [3]"),
        (b"", "features", "no features under the key 'values'"),
        (sparse([], []) + features(key=b"more"), "features", "the key 'more'"),
        (features(field(1, b"jpeg"), kind=9), "features.values", "holds bytes; expected a tensor"),
        (field(1, field(1, b"values"), field(2)), "features.values", "holds nothing; expected a tensor"),
        (sparse([], []) + label(-math.inf), "label.values", "the label is not finite"),
        (sparse([], []) + label(-1, b"weight"), "label.weight", "the weight is -1"),
        (sparse([], []) + features(number=2), "label.values", "0 values and 0 keys; expected one dense value"),
        (sparse([], []) + field(3, b"\xff"), "uid", "not UTF-8"),
        (b"\x0a", None, "no protobuf message of a Record"),
    ],
)
def test_errors_of_bad_records_give_number_and_field(payload, field_name, problem):
    with pytest.raises(DataError) as caught:
        recordio.decode(frame(sparse([], [])) + frame(payload))
    error = caught.value
    assert (error.unit, error.number, error.field) == ("record", 2, field_name)
    assert error.offset == len(frame(sparse([], [])))
    assert problem in error.problem


@st.composite
def batches(draw):
    """Batches of every kind, with an id, weights or values or without."""
    lengths = draw(st.lists(st.integers(0, 4), max_size=5))
    rows, nnz = len(lengths), sum(lengths)

    def floats_of(size, **kind):
        return np.array(draw(st.lists(st.floats(width=32, **kind), min_size=size, max_size=size)), np.float32)

    keys = st.one_of(st.integers(0, 300), st.integers(0, 2**31 - 2))
    finite = {"allow_nan": False, "allow_infinity": False}
    return Batch(
        np.cumsum([0, *lengths], dtype=np.int64),
        np.array(draw(st.lists(keys, min_size=nnz, max_size=nnz)), np.int32),
        draw(st.sampled_from([None, floats_of(nnz, **finite)])),
        floats_of(rows, allow_infinity=False),
        draw(st.sampled_from([None, np.abs(floats_of(rows, **finite))])),
        draw(st.none() | st.lists(st.none() | st.text(max_size=4), min_size=rows, max_size=rows)),
    )


@settings(max_examples=300)
@given(batches(), st.booleans())
def test_encoded_rows_read_back_here_and_by_google_protobuf(batch, is_wide):
    feature_dim = 2**31 - 1 if is_wide else batch.feature_dim
    data = recordio.encode(batch, feature_dim)
    assert numbers(recordio.decode(data).batch) == numbers(batch)
    at = 0
    for row in range(len(batch)):
        expected = Record()
        tensor = expected.features["values"].float32_tensor
        keys = slice(batch.indptr[row], batch.indptr[row + 1])
        tensor.keys.extend(batch.indices[keys].tolist())
        tensor.values.extend([1] * len(tensor.keys) if batch.values is None else batch.values[keys].tolist())
        tensor.shape.append(feature_dim)
        if not np.isnan(batch.labels[row]):
            expected.label["values"].float32_tensor.values.append(batch.labels[row])
        if batch.weights is not None:
            expected.label["weight"].float32_tensor.values.append(batch.weights[row])
        if batch.ids is not None and batch.ids[row] is not None:
            expected.uid = batch.ids[row]
        framed = frame(expected.SerializeToString(deterministic=True))
        assert data[at : at + len(framed)] == framed
        at += len(framed)
    assert at == len(data)

"""SageMaker's contract, section 5: the record schema, every form a row may take, and the form that is written."""

import json

import pytest
import sdk as official
from google.protobuf import descriptor_pb2
from record_bytes import frame
from shell import records

from fmcore.io.recordio.record_message import record_class

Record = record_class()
Field = descriptor_pb2.FieldDescriptorProto
TENSOR_FIELDS = (("keys", 2, "UINT64"), ("shape", 3, "UINT64"))
SCHEMA = {  # message -> {field: (number, type, whether repeated, whether packed)}, after the published .proto
    **{
        f"{name}Tensor": {
            "values": (1, kind, True, True),
            **{field: (number, type_, True, True) for field, number, type_ in TENSOR_FIELDS},
        }
        for name, kind in (("Float32", "FLOAT"), ("Float64", "DOUBLE"), ("Int32", "INT32"))
    },
    "Bytes": {"value": (1, "BYTES", True, False), "content_type": (2, "STRING", False, False)},
    "Value": {
        "float32_tensor": (2, "Float32Tensor", False, False),
        "bytes": (9, "Bytes", False, False),
        "float64_tensor": (3, "Float64Tensor", False, False),
        "int32_tensor": (7, "Int32Tensor", False, False),
    },
    "Record": {
        "features": (1, "Record.FeaturesEntry", True, False),
        "label": (2, "Record.LabelEntry", True, False),
        "uid": (3, "STRING", False, False),
        "metadata": (4, "STRING", False, False),
        "configuration": (5, "STRING", False, False),
    },
    **{
        f"Record.{entry}Entry": {"key": (1, "STRING", False, False), "value": (2, "Value", False, False)}
        for entry in ("Features", "Label")
    },
}


def fields(file):
    """Return a FileDescriptorProto in the form of SCHEMA."""
    found = {}
    for message in file.message_type:
        found[message.name] = _fields(message)
        found.update({f"{message.name}.{nested.name}": _fields(nested) for nested in message.nested_type})
    return found


def _fields(message):
    def type_of(field):
        return field.type_name.removeprefix(".aialgs.data.") or Field.Type.Name(field.type).removeprefix("TYPE_")

    return {
        field.name: (field.number, type_of(field), field.label == Field.LABEL_REPEATED, field.options.packed)
        for field in message.field
    }


def file_of(serialized):
    return descriptor_pb2.FileDescriptorProto.FromString(serialized)


def test_the_record_schema_is_the_published_one():
    file = file_of(Record.DESCRIPTOR.file.serialized_pb)
    assert (file.package, file.syntax or "proto2") == ("aialgs.data", "proto2")  # protobuf leaves its default out
    assert fields(file) == SCHEMA
    assert all(entry.GetOptions().map_entry for entry in Record.DESCRIPTOR.nested_types)
    assert [one.name for one in Record.DESCRIPTOR.file.message_types_by_name["Value"].oneofs] == ["value"]


def test_the_record_schema_is_that_of_the_sdk(record_sdk):
    file = file_of(record_sdk(official.schema))
    assert (file.package, fields(file)) == ("aialgs.data", SCHEMA)


# ------------------------------------------------------------------------------------------------------ what is read
def record(values=(), keys=(), shape=(), *, kind="float32", label=1, label_kind="float32", **more):
    """Return a framed Record, made by google protobuf. more: uid, metadata, configuration, weight."""
    made = Record()
    tensor = getattr(made.features["values"], f"{kind}_tensor")
    tensor.values.extend(values)
    tensor.keys.extend(keys)
    tensor.shape.extend(shape)
    tensor.SetInParent()
    if label is not None:
        getattr(made.label["values"], f"{label_kind}_tensor").values.append(label)
    if "weight" in more:
        made.label["weight"].float32_tensor.values.append(more.pop("weight"))
    for name, text in more.items():
        setattr(made, name, text)
    return frame(made.SerializeToString())


def text(fm, data, **expected):
    """Return the records as libsvm text."""
    return fm("convert", "-", "-o", "-", "--to", "libsvm", "-q", "--format", "recordio", stdin=data, **expected)


def test_every_kind_of_tensor_is_read_dense_and_sparse(fm):
    kinds = ("float32", "float64", "int32")
    dense = [record([0, 2, 0, -3], kind=kind, label_kind=other) for kind in kinds for other in kinds]
    sparse = [record([2, -3], [1, 3], [4], kind=kind, label_kind=other) for kind in kinds for other in kinds]
    assert text(fm, b"".join([*dense, *sparse])).out == "1 1:2 3:-3\n" * 18


@pytest.mark.parametrize(
    "row", [{"shape": [4]}, {}, {"values": [0, 0, 0]}, {"values": [0, 0], "shape": [2]}, {"shape": [1, 4]}]
)
def test_every_form_of_an_empty_row_is_read(fm, row):
    assert text(fm, record(**row) + record([5], [1], [4])).out == "1\n1 1:5\n"


def test_a_shape_may_be_left_out_or_have_two_dimensions(fm):
    assert text(fm, record([5], [1]) + record([5], [1], [1, 9]) + record([0, 5], shape=[2])).out == "1 1:5\n" * 3


def test_keys_in_any_order_and_the_largest_key_are_read(fm):
    assert text(fm, record([1, 2], [9, 3], [10]) + record([1], [2**31 - 2])).out == "1 9:1 3:2\n1 2147483646:1\n"


def test_numbers_of_records_round_to_the_nearest_float32(fm):
    data = record([0.1, 1e-60], [0, 1], kind="float64", label=0.1, label_kind="float64")
    assert text(fm, data).out == "0.1 0:0.1 1:0\n"
    assert "not finite in float32" in text(fm, record([1e39], [0], kind="float64"), code=3).err


def test_the_shape_is_the_feature_dim_of_a_model(fm):
    fm.write("rows.rec", record([1], [0], [30]) + record([2], [1], [30], label=0))
    fm("train", "rows.rec", "-o", "m.fm", "--predictor-type", "regressor", "-q")
    assert json.loads(fm("inspect", "m.fm", "--json").out)["feature_dim"] == 30


def test_a_weight_of_a_record_counts_and_metadata_does_not(fm):
    rows = record([1], [0], [2], weight=0.5, uid="a", metadata="m", configuration="{}") + record([1], [0], [2], uid="b")
    assert text(fm, rows).out == "1:0.5 0:1\n1:1 0:1\n"
    fm.write("rows.rec", rows)
    fm("train", "rows.rec", "-o", "m.fm", "--predictor-type", "regressor", "-q")
    assert [row.split(",")[0] for row in fm("predict", "m.fm", "rows.rec", "--to", "csv").out.splitlines()] == [
        "id",
        "a",
        "b",
    ]
    assert [one.uid for one in records(fm("predict", "m.fm", "rows.rec", "--to", "recordio", binary=True).out)] == [
        "a",
        "b",
    ]


def test_a_label_of_a_record_is_needed_only_to_train(fm):
    fm.write("rows.rec", record([1], [0], [2]) + record([1], [1], [2], label=None))
    said = fm("train", "rows.rec", "-o", "m.fm", "--predictor-type", "regressor", code=3).err
    assert "rows.rec, record 2" in said
    fm.write("labelled.rec", record([1], [0], [2]))
    fm("train", "labelled.rec", "-o", "m.fm", "--predictor-type", "regressor", "-q")
    assert len(fm("predict", "m.fm", "rows.rec").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (record([1], [4], [4]), "key 4 is out of range; the shape is [4]"),
        (record([1, 2], [1], [4]), "1 keys, but 2 values"),
        (record([1, 2], shape=[3]), "2 dense values, but the shape is [3]"),
        (record([1], [0], [2, 3]), "expected one row"),
        (frame(Record(uid="x").SerializeToString()), "no features under the key 'values'"),
        (frame(b"\x0a\x12\x0a\x06values\x12\x08\x4a\x06\x0a\x04jpeg"), "holds bytes; expected a tensor of numbers"),
    ],
)
def test_records_that_are_no_row_are_named(fm, data, problem):
    said = text(fm, record([1], [0]) + data, code=3).err
    assert "stdin, record 2, " in said
    assert problem in said


# --------------------------------------------------------------------------------------------------- what is written
def test_records_are_written_as_float32_with_keys_and_shape(fm):
    fm.write("rows.svm", "1:0.5 2:1.5 0:-1\n0\n")
    first, second = records(fm("convert", "rows.svm", "-o", "-", "--feature-dim", 9, "-q", binary=True).out)
    assert set(first.features) == set(second.features) == {"values"}
    tensor = first.features["values"].float32_tensor
    assert (list(tensor.keys), list(tensor.values), list(tensor.shape)) == ([2, 0], [1.5, -1], [9])
    assert {key: list(value.float32_tensor.values) for key, value in first.label.items()} == {
        "values": [1],
        "weight": [0.5],
    }
    tensor = second.features["values"].float32_tensor
    assert (list(tensor.keys), list(tensor.values), list(tensor.shape)) == ([], [], [9])
    assert {key: list(value.float32_tensor.values) for key, value in second.label.items()} == {
        "values": [0],
        "weight": [1],
    }
    assert not second.HasField("uid")

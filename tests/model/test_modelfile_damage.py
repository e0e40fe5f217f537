"""Model files that are cut, changed, foreign or hostile: each is refused with a ModelError that states what it is."""

import json
import os

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from models import HYPERPARAMETERS, small_model
from shell import ROOT

from fmcore.errors import ModelError
from fmcore.model import header as modelheader
from fmcore.model.file import load, save

GOLDEN = [ROOT / "tests" / "golden" / f"model-v{version}.fm" for version in (1, 2)]
DATA = GOLDEN[0].read_bytes()
F32 = {"bias": [1], "linear": [5], "factors": [5, 3]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.fm"


def refused(path, data, **options):
    path.write_bytes(data)
    with pytest.raises(ModelError) as raised:
        load(path, **options)
    assert str(raised.value).startswith(f"{path}: ")
    assert raised.value.exit_code == 4
    return str(raised.value)[len(str(path)) + 2 :]


def framed(header, room=0):
    """Return a file with that header (text, or an object for JSON) and zeros behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(room)


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def content(**changes):
    values = {
        "format_version": 1,
        "feature_dim": 5,
        "hyperparameters": HYPERPARAMETERS,
        "info": {},
        "checksum": "",
        "header_checksum": "",
        **changes,
    }
    return {"__metadata__": {"fmkit": json.dumps(values)}}


def sealed(tensors, **changes):
    """Write a file of those tensors (name -> shape) whose header checksum is right."""
    table = modelheader.layout({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, "factors")
    values = {"feature_dim": 5, "hyperparameters": HYPERPARAMETERS, "info": {}, "checksum": "", **changes}
    return modelheader.encode(table, values) + bytes(sum(t.end - t.begin for t in table.values()))


@pytest.fixture(params=GOLDEN, ids=["version 1", "version 2"])
def data(request):
    """Return the bytes of a model file of that version."""
    return request.param.read_bytes()


def start_of(data):
    """The place where the tensors begin."""
    return 8 + int.from_bytes(data[:8], "little")


def test_every_truncation_is_refused(path, data):
    for size in range(len(data)):
        problem = refused(path, data[:size])
        assert "cut off" in problem or "empty" in problem


def test_bytes_at_the_end_are_refused(path, data):
    assert refused(path, data + b"x") == "damaged: 1 bytes follow its last tensor"


def test_every_changed_bit_of_the_header_is_refused(path, data):
    for position in range(start_of(data)):
        for bit in range(8) if data == DATA else (position % 8,):
            changed = bytes([data[position] ^ 1 << bit])
            refused(path, data[:position] + changed + data[position + 1 :])


def test_every_changed_byte_of_the_tensors_is_found_by_verify(path, data):
    for position in range(start_of(data), len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        problem = refused(path, changed, verify=True)
        assert problem == "damaged: the tensors do not match their checksum" or "categorical values" in problem


def test_verify_finds_numbers_that_are_not_finite_under_a_right_checksum(path, monkeypatch):
    monkeypatch.setattr("fmcore.model.model.Model.check_finite", lambda model: None)
    model = small_model()
    model.linear[2] = np.inf
    save(model, path)
    monkeypatch.undo()
    load(path)
    assert refused(path, path.read_bytes(), verify=True).startswith("linear[2] is inf")


def test_a_missing_file_a_folder_and_a_pipe_are_refused_as_models(tmp_path):
    with pytest.raises(ModelError, match="none: No such file"):
        load(tmp_path / "none")
    with pytest.raises(ModelError, match="it is a folder; expected a model file"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="not a regular file"):
        load(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_model_without_read_permission_is_refused(path):
    path.write_bytes(DATA)
    path.chmod(0)
    with pytest.raises(ModelError, match="Permission denied"):
        load(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(100), b"1 3:1 4:1\n" * 9, b"{" * 100, bytes(500), b"\xff" * 64])
def test_files_of_other_kinds_are_refused_as_models(path, data):
    assert refused(path, data) == "not a safetensors file; expected a model written by fmkit"


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_hostile_lengths_of_the_header_are_refused(path, length):
    refused(path, length.to_bytes(8, "little") + DATA[8:])


def test_a_safetensors_file_of_another_program_is_refused(path):
    tensors = {"weight": np.zeros((2, 2), np.float16)}
    for metadata in (None, {"format": "pt"}):
        assert refused(path, safetensors.numpy.save(tensors, metadata)).startswith("a safetensors file, but no model")


@pytest.mark.parametrize("version", [3, 10**30])
def test_a_newer_format_is_named_before_anything_else_is_looked_at(path, version):
    problem = refused(path, framed({"__metadata__": {"fmkit": json.dumps({"format_version": version})}, "x": 1}))
    assert problem.startswith(f"written in format version {version} by a newer fmkit")


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 0},
        {"format_version": True},
        {"format_version": "1"},
        {"format_version": None},
        {"feature_dim": 5.0},
        {"feature_dim": None},
        {"hyperparameters": []},
        {"info": None},
        {"checksum": 1},
        {"header_checksum": None},
    ],
)
def test_metadata_of_a_wrong_type_are_refused(path, changes):
    assert refused(path, framed(content(**changes))).startswith("damaged: ")


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"{}x",
        b"[]",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"\xff":1}',
        b"{" + b'"a":{' * 5000,
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"__metadata__":{"fmkit":"{}","fmkit":"{}"}}',
        b'{"__metadata__":[]}',
        b'{"__metadata__":{"fmkit":{}}}',
        b'{"__metadata__":{"fmkit":"[]"}}',
        b'{"__metadata__":{"fmkit":"{\\"format_version\\":1,\\"format_version\\":1}"}}',
    ],
)
def test_headers_that_are_no_json_or_of_another_shape_are_refused(path, header):
    refused(path, framed(header))


@pytest.mark.parametrize(
    "tensor",
    [
        1,
        [],
        {},
        {"dtype": "F32", "shape": [1]},
        {**entry([1], 0, 4), "extra": 1},
        entry([1], 0, 4, "F16"),
        entry([1], 0, 4, ["F32"]),
        entry([1], 0, 4, None),
        entry(1, 0, 4),
        entry([1.0], 0, 4),
        entry([True], 0, 4),
        entry([-1], 0, 4),
        entry([-1, -1], 0, 4),
        entry([1] * 9, 0, 4),
        entry([2**62, 4], 0, 0),
        entry([2**32, 2**32], 0, 0),
        entry([2**63], 0, 4),
        entry([int("9" * 4000)] * 8, 0, 4),
        entry([1], -4, 0),
        entry([1], 4, 0),
        entry([1], 0, 2**63),
        entry([1], 2**63 - 4, 2**63),
        entry([1], 0, 4.0),
        entry([1], 0, 8),
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": "04"},
    ],
)
def test_hostile_tensors_are_refused(path, tensor):
    assert "tensor 'bias'" in refused(path, framed({**content(), "bias": tensor}, 4))


@pytest.mark.parametrize(
    ("tensors", "room", "problem"),
    [
        ({"bias": entry([1], 0, 4), "linear": entry([1], 0, 4)}, 4, "begins at 0; expected 4"),
        ({"bias": entry([2], 0, 8), "linear": entry([1], 4, 8)}, 8, "begins at 4; expected 8"),
        ({"bias": entry([1], 4, 8)}, 8, "begins at 4; expected 0"),
        ({"bias": entry([1], 0, 4), "linear": entry([1], 8, 12)}, 12, "begins at 8; expected 4"),
        ({"bias": entry([1], 0, 4), "state.a": entry([1], 4, 12, "I64")}, 12, "no multiple"),
        ({"bias": entry([2**40], 0, 2**42)}, 4, "cut off: its tensors take 4398046511104 bytes, but only 4 follow"),
        ({"bias": entry([1], 0, 4)}, 5, "1 bytes follow"),
    ],
)
def test_tensors_that_overlap_leave_gaps_or_reach_outside_are_refused(path, tensors, room, problem):
    assert problem in refused(path, framed({**content(), **tensors}, room))


def test_a_header_whose_length_would_leave_tensors_unaligned_is_refused(path):
    text = json.dumps({**content(), "bias": entry([1], 0, 4)}).encode()
    text += b" " * (-len(text) % 8 + 1)
    assert "no multiple of 8" in refused(path, len(text).to_bytes(8, "little") + text + bytes(4))


@pytest.mark.parametrize(
    "odd",
    [
        content(info={"a": "X"}) | {"state.\ud800": entry([1], 0, 4)},
        content(info={"\ud800": "\ud800"}),
        content(info={"a": 10**400}),
    ],
)
def test_headers_that_fmkit_never_writes_are_refused(path, odd):
    room = 4 if len(odd) > 1 else 0
    assert refused(path, framed(odd, room)).startswith("damaged: the header does not match its checksum")


@pytest.mark.parametrize("depth", [100, 300, 400, 900, 950, 990, 20_000, 200_000])
def test_headers_nested_too_deep_are_refused(path, depth):
    nested = json.dumps(content(info={"a": "X"})).replace(r"\"X\"", "[" * depth + "]" * depth)
    assert refused(path, framed(nested.encode())).startswith("damaged: ")


def test_an_edited_header_is_refused(path):
    edited = DATA.replace(b'\\"epochs\\":7', b'\\"epochs\\":9')
    assert edited != DATA
    infinite = json.dumps(content()).replace(r"\"info\": {}", r"\"info\": {\"a\": 1e999}")
    spaced = json.dumps(json.loads(DATA[8 : start_of(DATA)])).encode()
    for data in (edited, framed(infinite.encode()), framed(spaced) + DATA[start_of(DATA) :]):
        assert refused(path, data).startswith("damaged: the header does not match its checksum")


@pytest.mark.parametrize(
    ("tensors", "changes", "problem"),
    [
        ({**F32, "linear": [6]}, {}, "tensor 'linear' has dtype F32 and shape [6]; expected F32 [5]"),
        ({**F32, "factors": [5, 4]}, {}, "tensor 'factors' has dtype F32 and shape [5, 4]; expected F32 [5, 3]"),
        ({**F32, "factors": [15]}, {}, "tensor 'factors' has dtype F32 and shape [15]; expected F32 [5, 3]"),
        ({**F32, "bias": []}, {}, "tensor 'bias' has dtype F32 and shape []; expected F32 [1]"),
        ({"bias": [1], "linear": [5]}, {}, "tensor 'factors' is missing; expected F32 [5, 3]"),
        (F32, {"feature_dim": 6}, "expected F32 [6] by the header's feature_dim 6"),
        ({**F32, "linear": [0], "factors": [0, 3]}, {"feature_dim": 0}, "feature_dim is 0; expected 1 to"),
        (F32, {"feature_dim": 2**31}, "feature_dim is 2147483648; expected 1 to"),
        ({**F32, "momentum": [1]}, {}, "unknown tensor 'momentum'"),
        (F32, {"hyperparameters": {**HYPERPARAMETERS, "num_factors": 4}}, "expected F32 [5, 4]"),
        (F32, {"hyperparameters": {**HYPERPARAMETERS, "epochs": 0}}, "epochs is 0; expected an integer of at least 1"),
        (
            F32,
            {"hyperparameters": {**HYPERPARAMETERS, "beta": 1}},
            "newer fmkit: Additional properties are not allowed",
        ),
        (F32, {"hyperparameters": {}}, "predictor_type is required"),
    ],
)
def test_a_header_that_disagrees_with_the_tensors_is_refused(path, tensors, changes, problem):
    path.write_bytes(sealed(F32))
    load(path)
    assert problem in refused(path, sealed(tensors, **changes))


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_are_refused(tmp_path_factory, data, as_header):
    refused(tmp_path_factory.getbasetemp() / "any.fm", framed(b"{" + data) if as_header else data)

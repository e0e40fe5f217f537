"""Model archives as SageMaker and MXNet pack them, and in malformed ways; the golden ones are MXNet's own."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fmcore.errors import ModelError, UsageError
from fmcore.model.archive import network

GOLDEN = Path(__file__).parents[1] / "golden"
SPARSE, DENSE = "sparse-classifier", "dense-regressor"
B, W, V = np.array([0.5], np.float32), np.arange(4, dtype=np.float32)[:, None], np.arange(12, dtype=np.float32) / 8
PLAIN = {"w0_weight": B, "w1_weight": W, "v": V.reshape(4, 3)}
NONE = struct.pack("<IiI", 0xF993FAC9, 0, 0)  # an array that MXNet has not made yet


def archive_of(name):
    return (GOLDEN / f"{name}.tar.gz").read_bytes()


def members_of(name):
    """Return the members of a golden archive: name -> bytes."""
    with tarfile.open(GOLDEN / f"{name}.tar.gz") as file:
        inner = file.extractfile("model_algo-1").read()
    with zipfile.ZipFile(io.BytesIO(inner)) as file:
        return {member: file.read(member) for member in file.namelist()}


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in members.items() if isinstance(members, dict) else members:
            file.writestr(name, data)
    return out.getvalue()


def tarred(*entries, form=tarfile.PAX_FORMAT):
    """Return a tar of (name, bytes), or of whole TarInfos."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for entry in entries:
            info, data = entry if isinstance(entry, tuple) else (entry, b"")
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size, info.mtime = len(data), 1.5  # a broken time makes a remark before the member
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def entry(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "params"
    return info


def shape(*sizes):
    return struct.pack(f"<I{len(sizes)}q", len(sizes), *sizes)


def dense(array, magic=0xF993FAC9, storage=0, dtype=0):
    return struct.pack("<Ii", magic, storage) + shape(*array.shape) + struct.pack("<3i", 1, 0, dtype) + array.tobytes()


def row_sparse(whole, rows, values, stored=None, counted=None, dtype=6):
    values, rows = np.asarray(values, np.float32), np.asarray(rows, np.int64)
    return (
        struct.pack("<Ii", 0xF993FAC9, 1)
        + shape(*(values.shape if stored is None else stored))
        + shape(*whole)
        + struct.pack("<4i", 1, 0, 0, dtype)
        + shape(*(rows.shape if counted is None else counted))
        + values.tobytes()
        + rows.tobytes()
    )


def params(arrays, count=None, names=None):
    """Return the bytes of an NDArray list; arrays: name -> array, or its bytes."""
    coded = [array if isinstance(array, bytes) else dense(array) for array in arrays.values()]
    names = list(arrays) if names is None else names
    texts = [name if isinstance(name, bytes) else f"arg:{name}".encode() for name in names]
    return (
        struct.pack("<3Q", 0x112, 0, len(coded) if count is None else count)
        + b"".join(coded)
        + struct.pack("<Q", len(texts))
        + b"".join(struct.pack("<Q", len(text)) + text for text in texts)
    )


PARAMS = params(PLAIN)


def loaded(path, data, predictor_type="regressor", **options):
    path.write_bytes(data)
    return network.load(path, predictor_type=predictor_type, **options)


def refused(path, data, **options):
    """Return the error message for bytes that must be refused."""
    with pytest.raises(ModelError) as raised:
        loaded(path, data, **options)
    assert str(raised.value).startswith(f"{path}: ")
    assert raised.value.exit_code == 4
    return str(raised.value)[len(str(path)) + 2 :]


def refused_or_sound(path, data):
    """Assert that damaged bytes are refused with an error that names the file, or give a model of equal shape."""
    path.write_bytes(data)
    try:
        model = network.load(path, predictor_type="regressor")
    except (ModelError, UsageError) as error:
        return str(error).startswith(f"{path}: ")
    return model.factors.shape == (7, 3) and all(np.isfinite(array).all() for array in model.tensors().values())

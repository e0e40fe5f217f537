"""The model file: a `Model` written as a safetensors file, and mapped back without reading its tensors."""

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fmcore.errors import ModelError, ResourceError, UsageError
from fmcore.families import family_of
from fmcore.hyper.params import Hyperparameters
from fmcore.model import header as modelheader
from fmcore.model.model import Model
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema.schema import Schema
from fmcore.system import publish
from fmcore.system._mapped import Mapping
from fmcore.system.apart import is_url

PREFIX, SCHEMA = "state.", "schema."  # of the optimizer's tensors, and of those that say what rows mean
CHUNK = 1 << 24  # bytes written at once


class MappedFile(NamedTuple):
    """The file that a model's arrays are mapped from, and its size and time of change as they were then."""

    path: str
    mapping: Mapping
    state: tuple


def dump(model, handle):
    """Write the model to a buffered binary handle; the same model gives the same bytes.

    Nothing is written where a number is NaN or infinite (DivergedError). The tensors are hashed, then written from
    where they lie, never copied.
    """
    head, arrays = _encode(model)
    handle.write(head)
    for array in arrays:
        data = _bytes(array)
        for start in range(0, data.size, CHUNK):
            handle.write(memoryview(data[start : start + CHUNK]))


def save(model, path):
    """Publish the model at `path`, which may be the file it is mapped from; at once, whatever else is being written."""
    with publish.whole(path, at_once=True) as handle:
        dump(model, handle)


def load(path, *, verify=False, finite=False):
    """Return the `Model` in a file, its arrays mapped read-only: a page is read when a number on it is used.

    finite: read everything and refuse numbers that are not finite. verify: compare the checksum as well.
    Raises ModelError where the file is missing, unreadable, damaged, not fmkit's or newer than this version.
    The file may be replaced meanwhile (by a rename), but not cut or written over in place: see `require_unchanged`.
    """
    try:
        mapping, state = _mapped(path)
        view, content, table = _content(mapping)
        model = _model(view, content, table)
        model.origin = MappedFile(os.fspath(path), mapping, state)
        if verify:
            _verify(model, table, content["checksum"])
        if verify or finite:
            model.require_finite()
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return model


def digest(model):
    """Return a short text that almost certainly differs where any number differs."""
    return _checksum(np.require(array, requirements="C") for array in _tensors(model).values())[:16]


def require_unchanged(model):
    """Raise ModelError where the file that a loaded model's arrays are mapped from is no longer what it was.

    What was computed from them meanwhile is wrong then. Call it before a result is returned.
    """
    if model.origin is not None:
        path, mapping, state = model.origin
        if mapping.lost or _state(mapping.fileno()) != state:
            raise ModelError(
                f"{path}: cut off or written over while it was read; replace a model by renaming another "
                "one to it, as fm train does, and run this again"
            )


def path_of(model: Model) -> str | None:
    """Return the path of the file that a loaded model's arrays are mapped from; None for a model that was made."""
    return None if model.origin is None else model.origin.path


def _encode(model):
    """Return the file's first bytes and the arrays that follow, in order."""
    model.check_finite()
    tensors = {name: np.require(array, requirements="C") for name, array in _tensors(model).items()}
    table = modelheader.layout(tensors, model.family.tensors[-1].name)
    arrays = [tensors[name] for name in table]
    head = modelheader.encode(
        table,
        {
            "feature_dim": model.feature_dim,
            "hyperparameters": model.hyperparameters.as_dict(),
            "info": model.info,
            "schema": None if model.schema is None else model.schema.as_dict(),
            "checksum": _checksum(arrays),
        },
    )
    return head, arrays


def _tensors(model):
    return model.tensors() | model.schema_tensors()


def _bytes(array):
    return array.reshape(-1).view(np.uint8)


def _checksum(arrays):
    """Return the SHA-256 in hexadecimal over the bytes of the arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(_bytes(array))
    return digest.hexdigest()


def _mapped(path):
    """Return the file's Mapping and state."""
    try:
        if Path(path).is_dir():
            raise ModelError("it is a folder; expected a model file")
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a named pipe would wait for a writer
            raise ModelError("not a regular file; a model is mapped into memory and cannot come through a pipe")
        with Path(path).open("rb") as handle:
            state = _state(handle.fileno())
            _header_length(handle.read(8), handle.read(1), state[0])
            return Mapping(handle.fileno(), state[0]), state
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise ResourceError(f"{path}: no address space left to map the model; lift the memory limit") from None
        if is_url(path):
            raise ModelError("it is a URL, which is not read; download the model first") from None
        raise ModelError(error.strerror or str(error)) from None


def _state(descriptor):
    """Return (size, time of change) of an open file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def _content(mapping):
    """Return the tensors' bytes as a mapped array, and the header's content and table."""
    data = np.frombuffer(mapping, np.uint8)
    length = _header_length(bytes(data[:8]), bytes(data[8:9]), data.size)
    content, table = modelheader.decode(bytes(data[8 : 8 + length]), data.size - 8 - length)
    return data[8 + length :], content, table


def _header_length(prefix, first, size):
    """Return the bytes of the header, from the file's first 8 bytes and the one after them."""
    if size < 9:
        raise ModelError(
            "the file is empty; expected a model"
            if size == 0
            else f"not a model, or cut off: the file has only {size} bytes"
        )
    length = int.from_bytes(prefix, "little")
    if first != b"{" or not 2 <= length <= modelheader.MAX_LENGTH:
        raise ModelError("not a safetensors file; expected a model written by fmkit")
    if length > size - 8:
        raise ModelError(f"cut off: its header takes {length} bytes, but only {size - 8} follow")
    return length


def _model(view, content, table):
    try:
        hyperparameters = Hyperparameters.from_dict(content["hyperparameters"])
    except UsageError as error:
        raise ModelError(f"damaged, or written by a newer fmkit: {error}") from None
    d, k = content["feature_dim"], hyperparameters.num_factors
    if not 1 <= d <= MAX_FEATURE_DIM:
        raise ModelError(f"damaged: feature_dim is {d}; expected 1 to {MAX_FEATURE_DIM}")
    family = family_of(hyperparameters)
    for kind in family.tensors:
        name, shape, dtype = kind.name, kind.shape(hyperparameters, d), modelheader.NAMES[np.dtype(kind.dtype)]
        tensor = table.get(name)
        found = "is missing" if tensor is None else f"has dtype {tensor.dtype} and shape {list(tensor.shape)}"
        if tensor is None or (tensor.dtype, tensor.shape) != (dtype, shape):
            raise ModelError(
                f"tensor {name!r} {found}; expected {dtype} {list(shape)} by the header's feature_dim {d} and "
                f"num_factors {k}"
            )
    if hyperparameters.feature_dim not in {None, d}:
        raise ModelError(
            f"damaged: feature_dim is {hyperparameters.feature_dim} among the hyperparameters, and {d} beside them"
        )
    arrays = {name: _array(view, tensor) for name, tensor in table.items()}
    weights = {tensor.name: arrays.pop(tensor.name) for tensor in family.tensors}
    meanings = {name: arrays.pop(name) for name in list(arrays) if name.startswith(SCHEMA)}
    for name in arrays:
        if not name.startswith(PREFIX):
            raise ModelError(f"unknown tensor {name!r}; expected {', '.join(weights)}, {PREFIX}... or {SCHEMA}...")
    state = {name[len(PREFIX) :]: array for name, array in arrays.items()}
    schema = _schema(content.get("schema"), {name[len(SCHEMA) :]: array for name, array in meanings.items()}, d)
    return Model(hyperparameters, weights, state=state, info=content["info"], schema=schema)


def _schema(found, tensors, feature_dim):
    if found is None:
        if tensors:
            raise ModelError(f"damaged: it has tensors {', '.join(tensors)} of a schema, but no schema")
        return None
    schema = Schema.from_dict(found, tensors)
    schema.require_fits(feature_dim)
    return schema


def _array(view, tensor):
    return view[tensor.begin : tensor.end].view(modelheader.DTYPES[tensor.dtype]).reshape(tensor.shape)


def _verify(model, table, checksum):
    tensors = _tensors(model)
    if _checksum(tensors[name] for name in table) != checksum:
        raise ModelError("damaged: the tensors do not match their checksum")

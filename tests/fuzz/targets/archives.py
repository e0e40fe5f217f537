"""SageMaker's model archives: the containers, MXNet's arrays, and the JSON beside them."""

import numpy as np
from archives import PARAMS, zipped
from fuzz.checks import outcome
from fuzz.places import written

from fmcore.errors import ModelError, UsageError
from fmcore.model.archive import network, tar

LIMIT = 1 << 20  # bytes that an archive may unpack to here


def archive(data):
    """Check an archive as it is, and as a tar whose headers have right checksums."""
    _load(data)
    if data[:2] not in (b"\x1f\x8b", b"PK"):
        _load(_sealed(data))


def params(data):
    """Check a file of arrays alone."""
    _load(data)


def meta(data):
    """Check symbol and meta in an otherwise sound archive, a NUL between the two."""
    symbol, _, meta_json = data.partition(b"\0")
    _load(zipped({"params": PARAMS, "symbol.json": symbol, "meta.json": meta_json}, 0))


def _load(data):
    path = written("model", data)
    plain, _ = outcome((ModelError, UsageError), network.load, path, limit=LIMIT)
    chosen, _ = outcome(ModelError, network.load, path, predictor_type="regressor", limit=LIMIT)
    for model in (plain, chosen):
        if model is not None:
            assert all(np.isfinite(array).all() for array in model.tensors().values())
            assert model.hyperparameters.feature_dim == model.feature_dim
            assert model.hyperparameters.num_factors == model.num_factors


def _sealed(data):
    out, at = bytearray(data), 0
    while at + tar.BLOCK <= len(out) and any(out[at : at + tar.BLOCK]):
        header = out[at : at + tar.BLOCK]
        out[at + 148 : at + 156] = b"%06o\0 " % tar._checksum(header)
        size = tar._size(bytes(header[124:136])) or 0
        at += tar.BLOCK + -(-size // tar.BLOCK) * tar.BLOCK
    return bytes(out)

"""Model files, as they are and with their checksums corrected; files of hyperparameters."""

import hashlib
import io
import json

import numpy as np
from fuzz.checks import outcome
from fuzz.places import written

from fmcore.errors import DataError, ModelError, UsageError
from fmcore.hyper import file as hyperfile
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.presets import PRESETS, resolve
from fmcore.model import file as modelfile
from fmcore.model import header as modelheader
from fmcore.model.header import ALIGNMENT, KEY, METADATA, TensorEntry


def model(data):
    """Check that a file is refused, or gives a model that is the same once written and read again."""
    _load(data)
    signed = _signed(data)
    if signed is not None:
        _load(signed)


def hyperparameters(data):
    """Check that a file is refused, or gives values that are valid together or refused together."""
    read, error = outcome((DataError, UsageError), hyperfile.read_file, written("hyperparameters.json", data))
    if error is not None:
        return
    typed, ignored = read
    assert all(name.startswith("_") for name in ignored)
    for preset in PRESETS:
        chosen, _ = outcome(UsageError, resolve, preset, **{"predictor_type": "regressor", **typed})
        if chosen is not None:
            assert Hyperparameters.from_dict(json.loads(json.dumps(chosen.as_dict(), allow_nan=False))) == chosen


def _load(data):
    path = written("model.fm", data)
    found, error = outcome(ModelError, modelfile.load, path)
    if error is not None:
        assert str(error).startswith(f"{path}: ")
    whole, refused = outcome(ModelError, modelfile.load, path, verify=True)
    assert error is None or str(error) == str(refused)
    if whole is None:
        return
    assert all(np.isfinite(array).all() for array in whole.tensors().values())
    buffer = io.BytesIO()
    modelfile.dump(whole, buffer)
    again = modelfile.load(written("again.fm", buffer.getvalue()), verify=True)
    assert (again.hyperparameters, again.info) == (found.hyperparameters, found.info)
    assert again.tensors().keys() == found.tensors().keys()
    for name, array in found.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], array, strict=True)


def _signed(data):
    """Return the file with right checksums; None where its header cannot be used."""
    text = data[8:].decode("latin-1")
    try:
        header, end = json.JSONDecoder().raw_decode(text)
        content = json.loads(header.pop(METADATA)[KEY])
        content.pop("header_checksum")
        table = {
            name: TensorEntry(entry["dtype"], entry["shape"], *entry["data_offsets"]) for name, entry in header.items()
        }
        tensors = data[8 + -(-end // ALIGNMENT) * ALIGNMENT :]
        content["checksum"] = hashlib.sha256(tensors).hexdigest()
        return modelheader.encode(table, content) + tensors
    except Exception:  # noqa: BLE001  (whatever it is that stands there, it is no header)
        return None

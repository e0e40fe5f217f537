"""Inference requests: the fast path against the slow one, in one piece against many, and written again."""

import io
import json

import numpy as np
from fuzz.checks import agree, check_batch, outcome, rows_of

from fmcore.errors import DataError
from fmcore.io.requests import codec as requests
from fmcore.io.requests.instance import Keys

MANY = 300  # bytes from which the slow comparison is left out


def json_document(data):
    """Check {"instances": [...]}."""
    _check(data, "json")


def json_lines(data):
    """Check an instance a line."""
    decoded = _check(data, "jsonlines")
    assert b"".join(requests.chunks(io.BytesIO(data), "jsonlines")) == data
    if len(data) > MANY:
        return
    batches, skipped, units = [], [], 0
    for line in io.BytesIO(data):
        part = requests.decode(line, "jsonlines", on_error="skip")
        batches.append(part.batch)
        skipped += [str(error.moved(None, units)) for error in part.skipped]
        units += part.units
    assert rows_of(batches) == rows_of([decoded.batch])
    assert (units, skipped) == (decoded.units, [str(error) for error in decoded.skipped])


def _check(data, form):
    for base in (0, 1):
        _check_wide(data, form, Keys(base, wide=True))
    decoded, error = outcome(DataError, requests.decode, data, form, on_error="skip")
    slow, refused = outcome(DataError, requests._uncommon, data, form, "skip")
    assert (error and str(error)) == (refused and str(refused))
    if error is not None:
        str(error).encode()  # as an answer over HTTP will
        return None
    check_batch(decoded.batch)
    assert rows_of([decoded.batch]) == rows_of([slow.batch])
    assert decoded.batch.origin.numbers.tolist() == slow.batch.origin.numbers.tolist()
    assert decoded.units == slow.units
    assert len(decoded.skipped) == len(slow.skipped)
    for bad, same in zip(decoded.skipped, slow.skipped, strict=True):
        assert str(bad).encode() == str(same).encode()
    agree(outcome(DataError, requests.decode, data, form), decoded)
    _check_written(decoded.batch)
    return decoded


def _check_wide(data, form, keys):
    """Check that ids of 64 bits are read alike on both paths."""
    decoded, error = outcome(DataError, requests.decode, data, form, index_base=str(keys.base), wide=True)
    slow, refused = outcome(DataError, requests._uncommon, data, form, "fail", keys)
    assert (error and str(error)) == (refused and str(refused))
    if error is None:
        assert decoded.batch.indices.tolist() == slow.batch.indices.tolist()
        assert decoded.batch.indptr.tolist() == slow.batch.indptr.tolist()


def _check_written(batch):
    """Check that the rows as a client would send them are the same rows."""
    rows = range(len(batch))
    spans = [slice(batch.indptr[row], batch.indptr[row + 1]) for row in rows]
    instances = [
        {
            "features": {"keys": batch.indices[span].tolist(), "values": batch.values[span].tolist()},
            "id": batch.ids and batch.ids[row],
        }
        for row, span in zip(rows, spans, strict=True)
    ]
    written = json.dumps({"instances": instances}, allow_nan=False).encode()
    again = requests.decode(written, "json").batch
    assert rows_of([again]) == rows_of([batch])
    assert np.isnan(again.labels).all()

"""recordIO: one Record's payload against google protobuf, and a stream of frames in one piece against many."""

import io

import numpy as np
from fuzz.checks import check_batch, numbers_of, outcome, rows_of
from record_bytes import frame

from fmcore.errors import DataError
from fmcore.io.recordio import _record, record_message
from fmcore.io.recordio import codec as recordio
from fmcore.rows.batch import Batch

PLACE = {"unit": "record", "number": 1, "offset": 0}
PIECE = 128  # bytes


def record(payload):
    """Check that a payload decodes as protobuf reads it, and is the same once written and read again."""
    message = record_message.parse(payload)
    row, error = (None, None) if message is None else outcome(DataError, record_message.row_of, message, PLACE)
    decoded, refused = outcome(DataError, recordio.decode, frame(payload))
    if row is None:
        assert refused is not None
        assert error is None or str(error) == str(refused)
        return
    assert refused is None, refused
    check_batch(decoded.batch)
    assert rows_of([decoded.batch]) == rows_of([_batch_of(row)])
    assert dict(decoded.facts).get("feature_dim", -1) == row.feature_dim
    _check_written(decoded.batch)
    for base in (0, 1):
        _check_wide(payload, message, base)


def _check_wide(payload, message, base):
    """Check that ids of 64 bits are read as protobuf reads them."""
    row, error = outcome(DataError, record_message.row_of, message, PLACE, base, wide=True)
    decoded, refused = outcome(DataError, recordio.decode, frame(payload), index_base=str(base), wide=True)
    assert (error and str(error)) == (refused and str(refused))
    if row is not None:
        assert decoded.batch.indices.tolist() == row.indices.tolist()


def stream(data):
    """Check that a stream has the same rows and errors in one piece as in many, and no byte outside is overwritten."""
    batches, skipped, error, read = _in_pieces(data)
    whole, refused = outcome(DataError, recordio.decode, data, on_error="skip")
    assert (error and str(error)) == (refused and str(refused))
    if whole is None:
        whole = recordio.decode(data[:read], on_error="skip")
    check_batch(whole.batch)
    assert rows_of(batches) == rows_of([whole.batch])
    assert np.concatenate([[], *map(numbers_of, batches)]).tolist() == numbers_of(whole.batch).tolist()
    assert skipped == [str(bad) for bad in whole.skipped]
    assert whole.units == len(whole.batch) + len(skipped)
    strict, first = outcome(DataError, recordio.decode, data[:read])
    assert (strict is None) == bool(skipped)
    assert first is None or str(first) == skipped[0]
    _record.patch_shapes(bytearray(data), 1 << 28)


def _in_pieces(data):
    """Return (batches, texts of skipped errors, the error that ends the stream or None, bytes before it)."""
    pieces, batches, skipped, units, read = recordio.chunks(io.BytesIO(data), PIECE), [], [], 0, 0
    while True:
        piece, error = outcome(DataError, next, pieces, None)
        if piece is None:
            return batches, skipped, error, read
        decoded = recordio.decode(piece, on_error="skip")
        origin = decoded.batch.origin
        decoded.batch.origin = origin._replace(numbers=origin.numbers + units)
        batches.append(decoded.batch)
        skipped += [str(bad.moved(None, units, read)) for bad in decoded.skipped]
        units, read = units + decoded.units, read + len(piece)


def _batch_of(row):
    return Batch(
        np.array([0, len(row.indices)]),
        row.indices,
        row.values,
        np.array([row.label], np.float32),
        np.array([row.weight], np.float32),
        None if row.uid is None else [row.uid],
    )


def _check_written(batch):
    patched = bytearray(recordio.encode(batch, None))
    assert _record.patch_shapes(patched, batch.feature_dim) == (len(batch), len(patched))
    for data in (recordio.encode(batch, batch.feature_dim), patched):
        assert rows_of([recordio.decode(data).batch]) == rows_of([batch])

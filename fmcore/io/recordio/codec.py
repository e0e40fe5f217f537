"""recordIO-protobuf, SageMaker's training format: streams to chunks of whole records, chunks to rows, rows to bytes."""

import itertools
import struct
from pathlib import Path

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.indexing import SHIFTED
from fmcore.io.options import require_one_of
from fmcore.io.pieces import Decoded
from fmcore.io.recordio import _record
from fmcore.io.recordio._record_encode import RecordEncoder
from fmcore.rows.batch import MAX_FEATURE_DIM, Batch, RowOrigin

MAGIC = bytes.fromhex("0a23d7ce")  # 0xced7230a in little-endian order
CHUNK = 2 << 20  # bytes; half as many cost a tenth more for passing pieces on, twice as many overflow the cache
LENGTH_MASK = (1 << 29) - 1  # of a frame's second word; the three bits above hold the part flag


def chunks(stream, size=CHUNK):
    """Cut a binary stream (`read(n)`) into bytes-like pieces of whole records, about `size` bytes or one record each.

    Raises DataError (unit "record", number and offset counted from the stream's start) at a wrong magic, a part flag
    out of order or a truncated record, after the whole records before it have been given out.
    """
    pending, wanted, records, offset = b"", size, 0, 0
    ended = False
    while not ended:
        data, ended = _fill(stream, pending, wanted)
        consumed, count, fault, at = _record.split(data)
        if consumed:
            yield memoryview(data)[:consumed]
        records, pending = records + count, data[consumed:]
        if fault or (ended and pending):
            raise _framing_error(data, fault, at).moved(None, records, offset)
        offset += consumed
        wanted = max(size, 2 * len(pending))


def decode(chunk, on_error="fail", *, index_base="auto", wide=False):
    """Decode a bytes-like piece of whole records into `Decoded`; numbers and offsets count from the piece's start.

    on_error "skip" leaves out records whose payload is bad; wrong framing is a DataError all the same.
    index_base: "0" and "auto" keep the keys of sparse rows as they stand, "1" subtracts one; then facts holds
    (SHIFTED, 1) where there are any. wide: whether the batch's indices are ids of 64 bits, uint64; if not, facts
    holds ("feature_dim", n) where shapes or dense rows give it: the largest of them.
    May run in several threads at once.
    """
    require_one_of("index base", index_base, ("auto", "0", "1"))
    base = int(index_base == "1")
    consumed, units, fault, at = _record.split(chunk)
    if consumed < len(chunk):
        raise _framing_error(chunk, fault, at).moved(None, units)
    decoder = _record.RecordDecoder(chunk, units, base, wide)
    skipped = []
    while (declined := decoder.fill()) is not None:
        number, start, stop = declined
        try:
            decoder.append(_row(chunk[start:stop], {"unit": "record", "number": number, "offset": start}, base, wide))
        except DataError as error:
            if on_error != "skip":
                raise
            skipped.append(error.with_traceback(None))  # the traceback keeps far more than the error in memory
    *arrays, feature_dim, shifted = decoder.finish()
    numbers = np.delete(np.arange(1, units + 1), [error.number - 1 for error in skipped])
    facts = [("feature_dim", feature_dim)] if feature_dim >= 0 and not wide else []
    facts += [(SHIFTED, 1)] if shifted else []
    return Decoded(Batch(*arrays, RowOrigin(None, "record", numbers)), units, tuple(skipped), tuple(facts))


def encode(batch, feature_dim):
    """Return the rows of a Batch as framed Records: sparse Float32 features, shape [feature_dim], label, weight, uid.

    feature_dim None leaves space for it in every record, to be filled by `patch_feature_dim`; such records are not
    readable before. Raises DataError for an index beyond feature_dim and for a payload of 2**29 bytes or more.
    """
    if feature_dim is not None:
        _require_feature_dim(feature_dim)
        if batch.feature_dim > feature_dim:
            _refuse_index(batch, feature_dim)
    encoder = RecordEncoder(len(batch))
    encoder.add_features(batch.indptr, batch.indices, batch.values, feature_dim)
    encoder.add_label(b"values", batch.labels, optional=True)
    if batch.weights is not None:
        encoder.add_label(b"weight", batch.weights)
    return _encoded(encoder, batch.ids, batch.place)


def encode_dense(vectors, labels=None, ids=None):
    """Return Records (bytes) of dense Float32 features, as the SageMaker SDK writes arrays, with any labels and uids.

    vectors: float32 (rows, n). labels: float32 (rows,). ids: list of str or None, one a row.
    """
    rows, size = vectors.shape
    encoder = RecordEncoder(rows)
    encoder.add_dense_features(np.arange(rows + 1, dtype=np.int64) * size, np.ascontiguousarray(vectors).reshape(-1))
    if labels is not None:
        encoder.add_label(b"values", labels)
    return _encoded(encoder, ids, lambda row: {"unit": "row", "number": row + 1})


def encode_predictions(scores, predicted_labels=None, ids=None):
    """Return prediction Records (bytes), as SageMaker's endpoints answer.

    They hold label["score"], label["predicted_label"] and uid.
    scores, predicted_labels: float (rows,). ids: list of str or None, one a row.
    """
    encoder = RecordEncoder(len(scores))
    encoder.add_label(b"score", np.ascontiguousarray(scores, np.float32))
    if predicted_labels is not None:
        encoder.add_label(b"predicted_label", np.ascontiguousarray(predicted_labels, np.float32))
    return _encoded(encoder, ids, lambda row: {"unit": "row", "number": row + 1})


def patch_feature_dim(path, feature_dim, sizes, workers):
    """Write feature_dim into every record of a file that was encoded with feature_dim None, in place.

    sizes: bytes of each run of whole records, of which the file consists; Workers take them one by one.
    """
    _require_feature_dim(feature_dim)

    def patched(span):  # not by mapping the file, whose pages would count as memory in use
        start, size = span
        piece = bytearray(size)
        with Path(path).open("r+b") as file:
            file.seek(start)
            file.readinto(piece)
            count, done = _record.patch_shapes(piece, feature_dim)
            file.seek(start)
            file.write(memoryview(piece)[:done])
        return count, start + done, done == size

    records = 0
    spans = zip(itertools.accumulate(sizes, initial=0), sizes, strict=False)  # the last sum begins no run
    for count, at, whole in workers.map(patched, spans):
        records += count
        if not whole:
            raise DataError(
                "there is no space for a feature_dim here; expected a record encoded without one",
                source=str(path),
                unit="record",
                number=records + 1,
                offset=at,
            )


def _fill(stream, pending, size):
    """Return (pending and what follows it in the stream, about `size` bytes; whether the stream has ended)."""
    blocks, missing = [pending], size - len(pending)
    while missing > 0:
        block = stream.read(missing)
        if not block:
            return b"".join(blocks), True
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks), False


def _framing_error(data, fault, at):
    """Return the DataError for a fault that `split` found at byte `at`; its number counts from the last good record."""
    head = bytes(data[at : at + 8])
    if fault == "magic":
        problem = f"a record begins with {MAGIC.hex(' ')}, found {head[:4].hex(' ')}; is this recordIO-protobuf?"
    elif fault == "flag":
        problem = f"part flag {head[7] >> 5} is out of order; expected 0 (whole) or 1 (first), then 2 to 3 (last)"
    elif fault == "length":
        problem = "a record in several parts has 2**29 bytes or more"
    elif len(head) < 8:
        problem = f"truncated: {len(head)} bytes of a frame's 8-byte header, then the end"
    else:
        claimed = struct.unpack("<4xI", head)[0] & LENGTH_MASK
        problem = f"truncated: the header states {claimed} bytes (and padding to 4), but {len(data) - at - 8} follow"
    return DataError(problem, unit="record", number=1, offset=at)


def _row(frames, place, base, wide):
    """Return the row of a record that the fast decoder declined, by google protobuf."""
    from fmcore.io.recordio import record_message  # its import takes a tenth of a second, and most files need none

    payloads = list(_parts(frames))
    for joint in (MAGIC, b""):  # dmlc's writer drops a magic where it splits; other writers drop nothing
        record = record_message.parse(joint.join(payloads))
        if record is not None:
            return record_message.row_of(record, place, base, wide=wide)
    raise DataError("the payload is no protobuf message of a Record", **place)


def _parts(frames):
    """Yield the payloads of one record's frames."""
    at = 0
    while at < len(frames):
        size = struct.unpack_from("<4xI", frames, at)[0] & LENGTH_MASK
        yield bytes(frames[at + 8 : at + 8 + size])
        at += 8 + (size + 3) // 4 * 4


def _encoded(encoder, ids, place):
    if ids is not None:
        encoder.add_ids(*_id_spans(ids, place))
    row = encoder.measure()
    if row >= 0:
        raise DataError("the row is too long for a record; its payload has 2**29 bytes or more", **place(row))
    return encoder.encode()


def _id_spans(ids, place):
    """Return all ids as UTF-8 bytes, and each one's start (-1 for None) and size in them: int64 (rows, 2)."""
    texts = [None if row_id is None else _utf8(row_id, row, place) for row, row_id in enumerate(ids)]
    sizes = np.array([len(text or b"") for text in texts], np.int64)
    spans = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1)
    spans[[text is None for text in texts], 0] = -1
    return b"".join(filter(None, texts)), spans


def _utf8(row_id, row, place):
    try:
        return row_id.encode()
    except UnicodeEncodeError:  # a lone surrogate, as JSON may hold
        raise DataError(f"the row id {row_id!r} is not Unicode text", **place(row)) from None


def _refuse_index(batch, feature_dim):
    position = int(np.argmax(batch.indices >= feature_dim))
    row = int(np.searchsorted(batch.indptr, position, "right")) - 1
    problem = f"index {batch.indices[position]} is out of range; feature_dim is {feature_dim}"
    raise DataError(problem, **batch.place(row))


def _require_feature_dim(feature_dim):
    if not 0 <= feature_dim <= MAX_FEATURE_DIM:
        raise UsageError(f"feature_dim is {feature_dim}; expected 0 to {MAX_FEATURE_DIM}")

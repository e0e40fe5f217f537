"""libsvm and libffm text against their grammar in plain Python, in one piece against many, and written again."""

import io
import re

import numpy as np
from fuzz.checks import agree, check_batch, numbers_of, outcome, rows_of

from fmcore.errors import DataError
from fmcore.io.text import codec as text

PIECE = 64  # bytes
NUMBER = rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
HEAD = re.compile(rb"(%s)(?::(%s))?" % (NUMBER, NUMBER))
PAIR = {False: re.compile(rb"()([0-9]+):(%s)" % NUMBER), True: re.compile(rb"([0-9]+):([0-9]+):(%s)" % NUMBER)}
MAX_INDEX = 2**31 - 2
MANY = 300  # bytes from which the slow comparisons are left out


def libsvm(data):
    """Check lines of libsvm."""
    _check(data, text.decode_libsvm, fields=False)


def libffm(data):
    """Check lines of libffm."""
    _check(data, text.decode_libffm, fields=True)


def _check(data, decode, *, fields):
    decoded = decode(data, on_error="skip")
    check_batch(decoded.batch)
    agree(outcome(DataError, decode, data), decoded)
    _check_base(data, decode, decoded)
    kept = decode(data, on_error="skip", groups=True, **({"fields": True} if fields else {}))
    _check_kept(decoded, kept, fields)
    assert all(map(str, decoded.skipped))
    if len(data) <= MANY:
        _check_lines(data, decoded, fields)
        _check_fields(data, kept, fields)
        _check_pieces(data, decode, decoded)
    written = text.encode_libsvm(decoded.batch)
    assert rows_of([text.decode_libsvm(written).batch]) == rows_of([decoded.batch])


def _check_base(data, decode, decoded):
    """Check that with indices from 1, rows are the same except those with index 0 or one above the largest."""
    shifted = decode(data, index_base="1", on_error="skip")
    check_batch(shifted.batch)
    if numbers_of(shifted.batch).tolist() == numbers_of(decoded.batch).tolist():
        assert (shifted.batch.indices + 1 == decoded.batch.indices).all()
    wide, wide_shifted = (decode(data, index_base=base, on_error="skip", wide=True).batch for base in "01")
    same = np.flatnonzero(np.isin(numbers_of(wide), numbers_of(decoded.batch)))
    assert wide.take(same).indices.tolist() == decoded.batch.indices.tolist()
    if len(wide_shifted) == len(wide):
        assert (wide_shifted.indices + np.uint64(1) == wide.indices).all()


def _check_kept(decoded, kept, fields):
    """Fields and groups come beside the same rows, less those whose qid is no int64."""
    plain, batch = decoded.batch, kept.batch
    assert (plain.fields, plain.groups) == (None, None)
    assert len(batch.groups) == len(batch)
    assert (len(batch.fields) == len(batch.indices)) if fields else batch.fields is None
    rows = np.flatnonzero(np.isin(numbers_of(plain), numbers_of(batch)))
    assert rows_of([plain.take(rows)]) == rows_of([batch])
    assert len(plain) - len(batch) == len(kept.skipped) - len(decoded.skipped)


def _check_fields(data, kept, fields):
    """The qid and the fields of each row are those of its line."""
    batch, lines = kept.batch, data.split(b"\n")
    for row, number in enumerate(numbers_of(batch).tolist()):
        tokens = [token for token in re.split(rb"[ \t\r\v\f]+", lines[number - 1].split(b"#")[0]) if token][1:]
        has = bool(tokens) and tokens[0].startswith(b"qid:")
        assert batch.groups[row] == (int(tokens.pop(0)[4:]) if has else -1)
        if fields:
            found = batch.fields[batch.indptr[row] : batch.indptr[row + 1]]
            assert found.tolist() == [int(token.split(b":")[0]) for token in tokens]


def _check_lines(data, decoded, fields):
    batch, wrong = decoded.batch, {error.number for error in decoded.skipped}
    rows = iter(range(len(batch)))
    numbers, lines = numbers_of(batch).tolist(), data.split(b"\n")
    assert decoded.units == len(lines) - (not lines[-1])
    for number, line in enumerate(lines, 1):
        expected = _row(line, fields)
        assert (expected is None) == (number in wrong), line
        if expected:
            row = next(rows)
            items = slice(batch.indptr[row], batch.indptr[row + 1])
            assert numbers[row] == number
            label, weight, indices, values = expected
            assert batch.labels[row] == label
            assert (1 if batch.weights is None else batch.weights[row]) == weight
            assert batch.indices[items].tolist() == indices
            assert (np.ones(len(indices)) if batch.values is None else batch.values[items]).tolist() == values
    assert next(rows, None) is None


def _row(line, fields):
    """Return (label, weight, indices, values) of a line, () where it holds no row, None where it is wrong."""
    head, *tokens = [token for token in re.split(rb"[ \t\r\v\f]+", line.split(b"#")[0]) if token] or [None]
    if head is None:
        return ()
    if tokens and re.fullmatch(rb"qid:[0-9]+", tokens[0]):
        del tokens[0]
    found = [HEAD.fullmatch(head), *(PAIR[fields].fullmatch(token) for token in tokens)]
    if None in found:
        return None
    numbers = [_float32(found[0][1]), _float32(found[0][2] or b"1"), *(_float32(pair[3]) for pair in found[1:])]
    indices = [_integer(pair[2]) for pair in found[1:]]
    largest = max([*indices, *(_integer(pair[1] or b"0") for pair in found[1:])], default=0)
    if not np.isfinite(numbers).all() or numbers[1] < 0 or largest > MAX_INDEX:
        return None
    return numbers[0], numbers[1], indices, numbers[2:]


def _float32(token):
    with np.errstate(over="ignore"):
        return float(np.float32(float(token)))


def _integer(token):
    return int(token) if len(token) < 4000 else MAX_INDEX + 1


def _check_pieces(data, decode, decoded):
    mark = len(data) - len(data.removeprefix(text.BOM))
    if mark:  # it is left out at the start of a stream, and no number begins with it
        return
    units, batches, skipped = 0, [], []
    for piece in text.chunks(io.BytesIO(data), PIECE):
        part = decode(piece, on_error="skip")
        batches.append(part.batch)
        skipped += [str(error.moved(None, units)) for error in part.skipped]
        units += part.units
    assert units == decoded.units
    assert rows_of(batches) == rows_of([decoded.batch])
    assert skipped == [str(error) for error in decoded.skipped]

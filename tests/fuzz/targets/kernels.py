"""The compiled scanners alone: few checks of their own, as the sanitizers look on, and so many more inputs a second."""

from record_bytes import frame

from fmcore.io.recordio import _record
from fmcore.io.requests import _requests
from fmcore.io.text import _text


def libsvm(data):
    """Scan lines of libsvm."""
    _check_rows(_text.parse(data, False, 0, len(data) + 1))
    _check_kept(data, fields=False)


def libffm(data):
    """Scan lines of libffm, with indices from 1."""
    _check_rows(_text.parse(data, True, 1, len(data) + 1))
    _check_kept(data, fields=True)


def json(data):
    """Scan a JSON document."""
    _check_rows(_requests.parse(data, False))


def jsonlines(data):
    """Scan an instance a line."""
    _check_rows(_requests.parse(data, True))


def record(payload):
    """Scan one payload."""
    recordio(frame(payload))


def recordio(data):
    """Scan a stream of frames: the records in the common form, then shapes overwritten."""
    read, records, *_ = _record.split(data)
    rows = _record.RecordDecoder(data[:read], records)
    while rows.fill() is not None:
        pass
    _check_rows(rows.finish())
    patched = bytearray(data)
    count, done = _record.patch_shapes(patched, 1 << 30)
    assert len(patched) == len(data)
    assert patched[done:] == data[done:]
    assert 0 <= count <= records
    assert count <= done <= read


def _check_rows(found):
    if found is not None:
        indptr, indices = found[:2]
        assert indptr[0] == 0
        assert indptr[-1] == len(indices)


def _check_kept(data, *, fields):
    indptr, indices, *_, numbers, _, _, _, qids = _text.parse(data, fields, 0, len(data) + 1)
    of_non_zeros, of_rows, offsets = _text.extras(data, numbers, indptr, fields)
    assert len(of_rows) == len(offsets) == len(numbers)
    assert (of_rows != -1).sum() >= (of_rows >= 0).sum() <= qids
    if fields:
        assert len(of_non_zeros) == len(indices)
        assert (of_non_zeros >= 0).all()

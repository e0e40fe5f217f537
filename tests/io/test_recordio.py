import bisect
import io
import itertools
import math
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_bytes import (
    MAGIC,
    features,
    field,
    floats,
    frame,
    in_parts,
    label,
    record_ends,
    sparse,
    split_as_dmlc,
    varint,
)
from shell import ROOT

from fmcore.errors import DataError, UsageError
from fmcore.io.parallel import Workers
from fmcore.io.recordio import codec as recordio
from fmcore.io.recordio import record_message
from fmcore.rows.batch import Batch, concatenate

GOLDEN = ROOT / "tests" / "golden" / "records.rec"
MAGIC_FLOAT = np.frombuffer(MAGIC, np.float32)[0]  # a finite float whose bytes are the magic
GOLDEN_ROWS = [  # indices, values, label, weight, id
    ([3, 200], [1.5, -2], 1, 1, None),
    ([0, 999, 40], [1, 1, 1], 0, 0.5, "row-2"),
    ([1, 3], [np.float32(0.1), np.float32(-3e30)], 7, 1, None),  # dense Float64, label Int32
    ([0, 2], [-5, 300], -0.5, 1, None),  # dense Int32, label Float64
    ([], [], math.nan, 1, None),
    ([70_000], [2], 1, 1, "строка"),
    ([1, 2], [4, 5], 1, 1, None),  # shape [1, 1000]
    ([6, 7, 8], [MAGIC_FLOAT, 8, MAGIC_FLOAT], 1, 1, "dd"),  # in parts, magics dropped
    ([4, 5], [9, 10], 0, 1, None),  # in parts, nothing dropped
    ([11], [3], 1, 1, None),  # shape as a longer varint than needed
    ([12], [12], 0, 1, None),
]  # unpacked


def rows(batch):
    """Return the batch's rows as tuples (indices, values, label, weight, id)."""
    values = np.ones(len(batch.indices), np.float32) if batch.values is None else batch.values
    weights = np.ones(len(batch)) if batch.weights is None else batch.weights
    parts = [slice(*pair) for pair in itertools.pairwise(batch.indptr)]
    return [
        (
            batch.indices[part].tolist(),
            values[part].tolist(),
            float(batch.labels[i]),
            float(weights[i]),
            batch.ids and batch.ids[i],
        )
        for i, part in enumerate(parts)
    ]


def read(data, size=recordio.CHUNK):
    """Return every row of a file."""
    return [row for chunk in recordio.chunks(io.BytesIO(data), size) for row in rows(recordio.decode(chunk).batch)]


def some_batch(count=50, keys=3):
    random = np.random.default_rng(1)
    return Batch(
        np.arange(count + 1, dtype=np.int64) * keys,
        random.integers(0, 1000, count * keys).astype(np.int32),
        random.normal(size=count * keys).astype(np.float32),
        random.normal(size=count).astype(np.float32),
    )


class Trickle(io.BytesIO):
    """A stream that gives at most a few bytes a read, as a pipe may."""

    def read(self, n=-1):
        return super().read(min(n, 7))


def test_the_golden_recordio_file_stays_readable():
    assert repr(read(GOLDEN.read_bytes())) == repr(
        [
            (indices, [float(v) for v in values], float(label_), float(weight), row_id)
            for indices, values, label_, weight, row_id in GOLDEN_ROWS
        ]
    )


@pytest.mark.parametrize("size", [1, 50, 200, 10_000])
def test_chunks_hold_whole_records_whatever_their_size(size):
    data = GOLDEN.read_bytes()
    pieces = list(recordio.chunks(Trickle(data), size))
    assert b"".join(pieces) == data
    assert sum(recordio.decode(piece).units for piece in pieces) == len(GOLDEN_ROWS)
    assert all(len(piece) <= max(size, 300) for piece in pieces)


def test_an_empty_stream_and_an_empty_chunk_have_no_records():
    assert list(recordio.chunks(io.BytesIO())) == []
    assert (len(recordio.decode(b"").batch), recordio.decode(b"").units) == (0, 0)


def test_every_truncation_of_records_gives_earlier_rows_and_the_place():
    data = GOLDEN.read_bytes()
    ends = record_ends(data)
    for size in range(len(data)):
        whole = bisect.bisect_right(ends, size) - 1
        if size == ends[whole]:
            assert len(read(data[:size])) == whole
            continue
        given_out = []
        with pytest.raises(DataError, match="truncated") as caught:
            given_out.extend(recordio.chunks(io.BytesIO(data[:size]), 100))
        assert b"".join(given_out) == data[: ends[whole]]
        assert caught.value.number == whole + 1
        assert ends[whole] <= caught.value.offset <= size
        with pytest.raises(DataError, match="truncated"):
            recordio.decode(data[:size])


def test_every_flipped_bit_of_records_gives_rows_or_a_data_error():
    data = GOLDEN.read_bytes()
    for at, bit in itertools.product(range(len(data)), range(8)):
        bad = bytearray(data)
        bad[at] ^= 1 << bit
        try:
            units = recordio.decode(bytes(bad)).units
        except DataError as error:
            units = error.number
        assert 1 <= units <= len(GOLDEN_ROWS) + 1


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"\x0a\x23\xd7\xcf" + bytes(8), "found 0a 23 d7 cf"),
        (frame(b"", 2), "part flag 2 is out of order"),
        (frame(b"", 3), "part flag 3"),
        (frame(b"", 4), "part flag 4"),
        (frame(b"", 7), "part flag 7"),
        (MAGIC, "4 bytes of a frame's 8-byte header"),
        (MAGIC + struct.pack("<I", 100) + b"abc", "the header states 100 bytes (and padding to 4), but 3 follow"),
    ],
)
def test_wrong_framing_comes_after_the_rows_before_it_with_its_place(bad, problem):
    good = frame(sparse([1], [1], 5))
    stream = recordio.chunks(io.BytesIO(good * 5 + bad), 2 * len(good))
    given_out = []
    with pytest.raises(DataError) as caught:
        given_out.extend(stream)
    assert b"".join(given_out) == good * 5
    assert (caught.value.unit, caught.value.number, caught.value.offset) == ("record", 6, 5 * len(good))
    assert problem in caught.value.problem
    with pytest.raises(DataError) as caught:
        recordio.decode(good * 5 + bad, on_error="skip")
    assert (caught.value.number, caught.value.offset) == (6, 5 * len(good))


def test_a_fault_within_a_record_of_parts_names_the_frame():
    parts = frame(b"abc", 1) + frame(b"defg", 1)
    with pytest.raises(DataError, match="part flag 1 is out of order") as caught:
        recordio.decode(parts)
    assert (caught.value.number, caught.value.offset) == (1, 12)


def test_a_record_of_parts_may_not_grow_without_bound():
    data = np.zeros(2**29 + 16, np.uint8)  # pages that nobody touches take no memory
    for part, at in ((1, 0), (3, 2**28 + 8)):
        data[at : at + 8] = np.frombuffer(MAGIC + struct.pack("<I", part << 29 | 2**28), np.uint8)
    with pytest.raises(DataError, match=r"in several parts has 2\*\*29 bytes or more"):
        recordio.decode(data)


def test_skipping_counts_bad_payloads_and_keeps_the_others_numbers():
    good, bad = frame(sparse([1], [1], 5) + field(3, b"a")), frame(sparse([9], [1], 5))
    decoded = recordio.decode(good + bad + frame(b"\x0a") + good, on_error="skip")
    assert rows(decoded.batch) == [([1], [1], pytest.approx(math.nan, nan_ok=True), 1, "a")] * 2
    assert (decoded.units, decoded.batch.place(1)["number"], decoded.batch.place(1)["unit"]) == (4, 4, "record")
    assert [(e.number, e.offset) for e in decoded.skipped] == [(2, len(good)), (3, len(good) + len(bad))]
    with pytest.raises(DataError, match="key 9 is out of range"):
        recordio.decode(good + bad)


def test_values_weights_and_ids_are_none_where_all_are_default():
    batch = recordio.decode(frame(sparse([1, 2], [1, 1])) + frame(features(field(1, floats(0, 1, 0))))).batch
    assert (batch.values, batch.weights, batch.ids) == (None, None, None)
    assert (batch.indices.tolist(), batch.indptr.tolist()) == ([1, 2, 1], [0, 2, 3])
    weighted = frame(sparse([1], [1]) + label(2, b"weight")) + frame(sparse([1], [3]) + field(3))
    batch = recordio.decode(frame(sparse([7], [1])) + weighted).batch
    assert (batch.values.tolist(), batch.weights.tolist(), batch.ids) == ([1, 1, 3], [1, 2, 1], [None, None, ""])


@pytest.mark.parametrize(
    ("payloads", "facts"),
    [
        ([sparse([1], [1])], ()),
        ([sparse([1], [1], 9), sparse([], [], 12)], (("feature_dim", 12),)),
        ([features(field(1, floats(1, 0, 0)))], (("feature_dim", 3),)),
        ([sparse([1], [1], 1, 50)], (("feature_dim", 50),)),
    ],
)
def test_shapes_and_dense_rows_give_the_feature_dim(payloads, facts):
    assert recordio.decode(b"".join(map(frame, payloads))).facts == facts


def test_dense_integers_of_a_byte_each_grow_the_arrays():
    values = [1, 2, 0, 3] * 50
    batch = recordio.decode(frame(features(field(1, bytes(values)), kind=7)) * 3).batch
    assert batch.values.tolist() == [1, 2, 3] * 150
    assert batch.indices.tolist() == np.flatnonzero(values).tolist() * 3


@pytest.mark.parametrize("shift", range(4))
def test_a_record_split_at_its_magics_by_dmlc_is_joined(shift):
    values = [MAGIC_FLOAT, 1, MAGIC_FLOAT, MAGIC_FLOAT]
    payload = field(3, b"x" * shift) + sparse([1, 2, 3, 4], values, 5) + label(0)
    assert read(split_as_dmlc(payload)) == read(frame(payload))
    assert read(frame(payload))[0][1] == values


def test_some_payload_of_the_dmlc_records_was_split():
    payloads = (field(3, b"x" * shift) + sparse([1], [MAGIC_FLOAT]) for shift in range(4))
    assert sum(split_as_dmlc(payload) != frame(payload) for payload in payloads) == 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_a_record_in_parts_without_dropped_magics_is_joined(sizes):
    payload = sparse([1, 2, 300], [1, 2, 3], 1000) + label(4)
    cuts = np.cumsum([0, *sizes])
    parts = [payload[a:b] for a, b in itertools.pairwise([*cuts.tolist(), len(payload)])]
    assert read(in_parts(parts) + frame(payload)) == [([1, 2, 300], [1, 2, 3], 4, 1, None)] * 2


def test_parts_that_join_to_no_record_are_an_error():
    with pytest.raises(DataError, match="no protobuf message"):
        recordio.decode(in_parts([b"\x0a", b"\x55", b""]))


@pytest.mark.parametrize(
    "data",
    [
        MAGIC + struct.pack("<I", 2**29 - 1),
        frame(field(1)[:-1] + varint(2**28)),
        frame(features(field(2, b"\xff" * 9 + b"\x01"), field(1)[:-1] + varint(2**27))),
        frame(b"\x0a" + varint(2**64 - 1)),
        frame(sparse([], [], 2**31 - 1) + sparse([], [], 2**63)),
    ],
)
def test_hostile_lengths_take_no_memory(data):
    record_message.record_class()  # made once, not part of the measure
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read(data, 1000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_records_decode_alike_in_many_threads():
    pieces = [recordio.encode(some_batch(2000), 1000) + GOLDEN.read_bytes()] * 16
    with ThreadPoolExecutor(4) as threads:
        decoded = list(threads.map(lambda piece: repr(rows(recordio.decode(piece).batch)), pieces))
    assert set(decoded) == {repr(rows(recordio.decode(pieces[0]).batch))}


@settings(max_examples=50)
@given(st.sampled_from([1, 127, 128, 1000, 2**21, 2**31 - 1]), st.booleans())
def test_a_file_patched_with_feature_dim_equals_one_encoded_with_it(tmp_path_factory, feature_dim, is_labelled):
    path = tmp_path_factory.mktemp("patched") / "rows.rec"
    batch = some_batch(8)
    batch.indices %= feature_dim
    batch.weights = np.full(8, 2, np.float32)
    batch.ids = [None, *"abcdefg"]
    if not is_labelled:
        batch.labels[:] = np.nan
    pieces = [recordio.encode(batch.take(part), None) for part in (slice(5), slice(5, 8))]
    path.write_bytes(b"".join(pieces))
    for dim, threads in ((feature_dim - 1, 1), (feature_dim, 2)):  # patched once more is patched
        with Workers(threads) as workers:
            recordio.patch_feature_dim(path, dim, [len(piece) for piece in pieces], workers)
    known = recordio.decode(recordio.encode(batch, feature_dim))
    patched = recordio.decode(path.read_bytes())
    assert repr(rows(patched.batch)) == repr(rows(known.batch))
    assert patched.facts == known.facts == (("feature_dim", feature_dim),)


def test_a_file_whose_feature_dim_was_not_filled_in_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"key \d+ is out of range; the shape is \[0\]"):
        recordio.decode(recordio.encode(some_batch(), None))
    path, workers = tmp_path / "known.rec", Workers()
    pieces = [recordio.encode(some_batch(1), feature_dim) for feature_dim in (None, 1000)]
    for sizes in ([sum(map(len, pieces))], [*map(len, pieces)]):
        path.write_bytes(b"".join(pieces))
        with pytest.raises(
            DataError, match=rf"known.rec, record 2, byte {len(pieces[0])}: there is no space for a feature_dim"
        ):
            recordio.patch_feature_dim(path, 5, sizes, workers)
    recordio.patch_feature_dim(path, 5, [], workers)
    with pytest.raises(UsageError, match="feature_dim is 2147483648"):
        recordio.patch_feature_dim(path, 2**31, [], workers)


def test_encoding_refuses_an_index_beyond_the_dimension_with_its_row():
    batch = some_batch()
    batch.indices[10] = 1000
    with pytest.raises(DataError, match="row 4: index 1000 is out of range; feature_dim is 1000"):
        recordio.encode(batch, 1000)


def test_encoding_refuses_an_id_that_is_not_unicode():
    with pytest.raises(DataError, match=r"row 2: the row id .* is not Unicode text"):
        recordio.encode_predictions([0.5, 0.5], ids=["a", "\ud800"])


def test_encoding_refuses_a_payload_of_two_to_the_29():
    count = 2**29 // 5  # keys of one byte and values of four
    batch = Batch(np.array([0, 0, count], np.int64), np.zeros(count, np.int32), None, np.zeros(2, np.float32))
    with pytest.raises(DataError, match="row 2: the row is too long for a record"):
        recordio.encode(batch, 1)


@pytest.mark.parametrize("has_labels", [True, False])
@pytest.mark.parametrize("ids", [None, ["a", None, "", "ö"]])
def test_prediction_records_are_read_by_google_protobuf(has_labels, ids):
    scores, labels = np.array([0.25, -1, math.nan, 3], np.float64), np.array([0, 1, 1, 0])
    data = recordio.encode_predictions(scores, labels if has_labels else None, ids)
    at, record_class = 0, record_message.record_class()
    for row in range(4):
        size = struct.unpack_from("<4xI", data, at)[0]
        record = record_class.FromString(data[at + 8 : at + 8 + size])
        expected = {"score": scores[row], **({"predicted_label": labels[row]} if has_labels else {})}
        got = {key: list(value.float32_tensor.values) for key, value in record.label.items()}
        assert repr(got) == repr({key: [float(expected[key])] for key in got})
        assert set(got) == set(expected)
        assert (record.uid if record.HasField("uid") else None) == (ids and ids[row])
        at += 8 + (size + 3) // 4 * 4
    assert at == len(data)
    assert recordio.encode_predictions([], []) == b""


def test_encoded_batches_join_to_the_file_of_all():
    batch = some_batch()
    halves = [batch.take(slice(0, 20)), batch.take(slice(20, None))]
    data = b"".join(recordio.encode(half, 1000) for half in halves)
    assert data == recordio.encode(concatenate(halves), 1000)
    assert rows(recordio.decode(data).batch) == rows(batch)

"""Ids of 64 bits and the index base, in every format that has ids: what decoders give, and what a reader makes of it."""

import json

import numpy as np
import pytest
from record_bytes import features, field, floats, frame, sparse

from fmcore.errors import DataError
from fmcore.io.data import Data
from fmcore.io.indexing import UNKNOWN_IDS
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.recordio import codec as recordio
from fmcore.io.requests import codec as requests
from fmcore.io.sources.source import find
from fmcore.io.text import codec as text
from fmcore.rows.batch import concatenate
from fmcore.schema.ids import HashedIds
from fmcore.schema.options import TableOptions
from fmcore.schema.vocabulary import new_encoder

LARGEST = 2**64 - 1
IDS = [0, 5, 127, 128, 2**14, 2**21 - 1, 2**21, 2**31 - 1, 2**32, 2**40 + 3, 2**63 - 1, 2**63, LARGEST]
SUFFIXES = {"libsvm": "svm", "libffm": "ffm", "recordio": "rec", "json": "json", "jsonlines": "jsonl"}


def spelled(name, rows, values=None):
    """Return rows of ids, lists of int, as bytes of a format; every value is 1 unless they are given."""
    values = values or [[1] * len(row) for row in rows]
    pairs = [list(zip(row, row_values, strict=True)) for row, row_values in zip(rows, values, strict=True)]
    if name == "libsvm":
        return "".join("1 " + " ".join(f"{i}:{v}" for i, v in row) + "\n" for row in pairs).encode()
    if name == "libffm":
        return "".join("1 " + " ".join(f"7:{i}:{v}" for i, v in row) + "\n" for row in pairs).encode()
    if name == "recordio":
        return b"".join(frame(sparse(row, one)) for row, one in zip(rows, values, strict=True))
    instances = [{"features": {"keys": row, "values": one}} for row, one in zip(rows, values, strict=True)]
    if name == "json":
        return json.dumps({"instances": instances}).encode()
    return "".join(json.dumps(each) + "\n" for each in instances).encode()


def decoded(name, data, **options):
    """Return the Decoded of one piece of a format."""
    if name == "libsvm":
        return text.decode_libsvm(data, **options)
    if name == "libffm":
        return text.decode_libffm(data, **options)
    if name == "recordio":
        return recordio.decode(data, **options)
    return requests.decode(data, name, **options)


def reading(folder, files, encoder=None, **options):
    """Return (one batch of all rows, report) of files, name -> bytes."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    report, table = Report(), TableOptions(hash_bits=options.pop("hash_bits", None))
    read = ReadOptions(table=table, **options)
    paths = [str(folder / name) for name in files]
    return concatenate(list(read_batches(find(paths), read, report, encoder=encoder))), report


@pytest.mark.parametrize("name", SUFFIXES)
def test_wide_ids_are_read_whole_and_less_the_base(name):
    rows = [IDS, [], [3, 3]]
    batch = decoded(name, spelled(name, rows), wide=True).batch
    assert batch.indices.dtype == np.uint64
    assert batch.indices.tolist() == [*IDS, 3, 3]
    assert batch.indptr.tolist() == [0, len(IDS), len(IDS), len(IDS) + 2]
    shifted = decoded(name, spelled(name, [IDS[1:]]), wide=True, index_base="1").batch
    assert shifted.indices.tolist() == [each - 1 for each in IDS[1:]]


@pytest.mark.parametrize("name", SUFFIXES)
def test_ids_beyond_32_bits_are_refused_with_what_takes_them(name):
    for large in (2**31 - 1, 2**40, LARGEST):
        with pytest.raises(DataError) as caught:
            decoded(name, spelled(name, [[1], [large]]))
        assert "--hash-bits hashes larger ids, and --compact counts those that there are" in str(caught.value)
        assert caught.value.number == 2
    assert decoded(name, spelled(name, [[2**31 - 1]]), index_base="1").batch.indices.tolist() == [2**31 - 2]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", SUFFIXES)
def test_an_index_0_is_refused_by_its_row_where_ids_count_from_1(name, wide):
    data = spelled(name, [[1, 4], [2, 0, 3]])
    with pytest.raises(
        DataError, match=r"indices begin at 1.*--index-base 0|ids count from 1 \(--index-base 0"
    ) as caught:
        decoded(name, data, index_base="1", wide=wide)
    assert caught.value.number == 2
    skipped = decoded(name, data, index_base="1", wide=wide, on_error="skip")
    assert skipped.batch.indices.tolist() == [0, 3]
    assert [error.number for error in skipped.skipped] == [2]
    assert decoded(name, data, index_base="0", wide=wide).batch.indices.tolist() == [1, 4, 2, 0, 3]


def test_ids_of_text_beyond_64_bits_are_refused():
    for large in (LARGEST + 1, 10**20, 10**30):
        with pytest.raises(DataError, match=f"found '{large}:1'; the largest id allowed is {LARGEST}"):
            text.decode_libsvm(f"1 0:1\n0 {large}:1\n".encode(), wide=True)
    assert text.decode_libsvm(f"1 {'0' * 30}{LARGEST}:1\n".encode(), wide=True).batch.indices.tolist() == [LARGEST]
    with pytest.raises(DataError, match="key 18446744073709551616, expected 0 to 18446744073709551615"):
        requests.decode(b'{"features": {"keys": [18446744073709551616], "values": [1]}}', "jsonlines", wide=True)


def test_a_shape_of_d_allows_keys_from_1_to_d():
    for name, fits, beyond in (
        ("recordio", frame(sparse([1, 4], [1, 1], 4)), frame(sparse([5], [1], 4))),
        (
            "jsonlines",
            b'{"features": {"keys": [1, 4], "values": [1, 1], "shape": [4]}}',
            b'{"features": {"keys": [5], "values": [1], "shape": [4]}}',
        ),
    ):
        for wide in (False, True):
            good = decoded(name, fits, index_base="1", wide=wide)
            assert good.batch.indices.tolist() == [0, 3]
            assert dict(good.facts).get("feature_dim") == (4 if name == "recordio" and not wide else None)
            with pytest.raises(DataError, match="key 5"):
                decoded(name, beyond, index_base="1", wide=wide)
            with pytest.raises(DataError, match="key 4"):
                decoded(name, fits, index_base="0", wide=wide)


def test_positions_of_dense_rows_count_from_the_first_whatever_the_base():
    dense = frame(features(field(1, floats(0, 2, 3))))
    for name, data in (("recordio", dense), ("jsonlines", b'{"features": [0, 2, 3]}')):
        for base in ("0", "1"):
            for wide in (False, True):
                found = decoded(name, data, index_base=base, wide=wide)
                assert found.batch.indices.tolist() == [1, 2]
                assert "keys from 1" not in dict(found.facts)


def test_records_that_google_protobuf_reads_have_wide_ids_as_well():
    far = frame(sparse([7, LARGEST], [1, 2], 1, LARGEST))
    with pytest.raises(DataError, match=rf"key {LARGEST} is out of range; the shape is \[{LARGEST}\]"):
        recordio.decode(far, wide=True)
    found = recordio.decode(far, wide=True, index_base="1")
    assert found.batch.indices.tolist() == [6, LARGEST - 1]
    assert dict(found.facts) == {"keys from 1": 1}
    mixed = frame(sparse([1], [1], 1, 9)) + frame(sparse([2], [1])) + frame(sparse([LARGEST], [1]))
    assert recordio.decode(mixed, wide=True).batch.indices.tolist() == [1, 2, LARGEST]


@pytest.mark.parametrize("name", SUFFIXES)
def test_ids_are_hashed_alike_in_every_format(tmp_path, name):
    batch, report = reading(tmp_path, {f"a.{SUFFIXES[name]}": spelled(name, [IDS[:4], IDS[4:]])}, hash_bits=9)
    assert batch.indices.dtype == np.int32
    assert batch.indices.tolist() == HashedIds(9).map(np.array(IDS, np.uint64)).tolist()
    assert not {"min_index", "feature_dim"} & report.facts.keys()


def test_a_position_is_hashed_like_the_id_that_counts_it(tmp_path):
    for base in ("0", "1"):
        keys = [int(base), int(base) + 2]
        rows = f'{{"features": [4, 0, 3]}}\n{{"features": {{"keys": {keys}, "values": [4, 3]}}}}\n'
        batch, _ = reading(tmp_path, {"a.jsonl": rows.encode()}, hash_bits=20, index_base=base)
        assert (
            batch.indices[:2].tolist()
            == batch.indices[2:].tolist()
            == HashedIds(20).map(np.array([0, 2], np.uint64)).tolist()
        )


ROWS = [[int(each) for each in row] for row in np.random.default_rng(4).integers(0, 2**63, (40, 3))]
MANY = [ROWS[n % 40] + ROWS[(n * 7 + n // 40) % 40] for n in range(300)]


def numbered(rows):
    """Return the index of each id of rows, by a dict."""
    numbers = {}
    return [numbers.setdefault(each, len(numbers)) for row in rows for each in row]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["libsvm", "libffm", "recordio", "jsonlines"])
def test_compact_ids_are_numbered_in_the_order_of_rows(tmp_path, monkeypatch, name, threads):
    module = {"recordio": recordio, "jsonlines": requests}.get(name, text)
    if name == "jsonlines":
        monkeypatch.setattr(requests, "PIECE_BYTES", 500)
    else:
        monkeypatch.setattr(module.chunks, "__defaults__", (500,))
    half, suffix = len(MANY) // 2, SUFFIXES[name]
    files = {f"a.{suffix}": spelled(name, MANY[:half]), f"b.{suffix}": spelled(name, MANY[half:])}
    encoder = new_encoder(TableOptions(), compact=True)
    batch, _ = reading(tmp_path, files, encoder, compact=True, threads=threads)
    assert batch.indices.dtype == np.int32
    assert batch.indices.tolist() == numbered(MANY)
    assert encoder.ids.feature_dim == 120
    encoder.freeze()
    again, report = reading(tmp_path, files, encoder, compact=True, threads=threads)
    assert again.indices.tolist() == batch.indices.tolist()
    assert report.counts == {}


def test_rows_that_are_left_out_number_no_ids(tmp_path):
    rows = b"1 8:1\nx 9:1\n7 10:1\n0 11:1 8:1\n"
    encoder = new_encoder(TableOptions(), compact=True)
    batch, report = reading(tmp_path, {"a.svm": rows}, encoder, compact=True, on_error="skip", binary=True)
    assert batch.indices.tolist() == [0, 1, 0]
    assert encoder.ids.ids_at(np.arange(2)).tolist() == [8, 11]
    assert report.counts == {"rows skipped": 2}


@pytest.mark.parametrize("threads", [1, 2])
def test_unknown_ids_are_left_out_and_counted(tmp_path, threads):
    encoder = new_encoder(TableOptions(), compact=True)
    reading(tmp_path, {"a.svm": b"1 8:1 2:1\n"}, encoder, compact=True)
    encoder.freeze()
    new = {"b.ffm": b"1 0:99:1 3:2:4 1:8:5\n0 4:77:1\n"}
    batch, report = reading(tmp_path, new, encoder, compact=True, fields=True, threads=threads)
    assert (batch.indptr.tolist(), batch.indices.tolist(), batch.values.tolist()) == ([0, 2, 2], [1, 0], [4, 5])
    assert batch.fields.tolist() == [3, 1]
    assert report.counts == {UNKNOWN_IDS: 2}


def test_the_first_unknown_id_is_named_where_unseen_is_an_error(tmp_path):
    encoder = new_encoder(TableOptions(), compact=True)
    reading(tmp_path, {"a.svm": b"1 8:1 2:1\n"}, encoder, compact=True, index_base="1")
    encoder.freeze()
    new = b"1 8:1\n\n0 2:1 5000000000:1 7:1\n"
    with pytest.raises(DataError, match=r"b.svm, line 3: id 5000000000 is unknown to the model"):
        reading(tmp_path, {"b.svm": new}, encoder, compact=True, unseen="error", index_base="1")


def test_a_reader_knows_the_dimension_of_its_map(tmp_path):
    path = tmp_path / "a.svm"
    path.write_text("1 3000000000:1\n0 4000000000:1\n")
    for options, dimension in (
        (ReadOptions(compact=True), 2),
        (ReadOptions(table=TableOptions(hash_bits=6)), 64),
    ):
        reader = Data([str(path)], options).reader(new_encoder(options.table, compact=options.compact))
        seen = max(batch.feature_dim for batch in reader.batches()[0])
        assert reader.complete(seen, None, None) == dimension


def test_recordio_counted_from_1_by_the_model_is_noted_once(tmp_path):
    keyed, dense = spelled("recordio", [[1], [2]]), frame(features(field(1, floats(1, 2))))
    for given, data, noted in (((), keyed, 1), (("index_base",), keyed, 0), ((), dense, 0)):
        batch, report = reading(tmp_path, {"a.rec": data, "b.rec": data}, index_base="1", given=frozenset(given))
        assert set(batch.indices.tolist()) == {0, 1}
        assert [note.split(";")[0] for note in report.notes] == [
            "keys of recordIO are counted from 1, as indices were in training"
        ] * noted


def test_no_base_is_guessed_for_ids_that_are_mapped(tmp_path):
    for options in ({"compact": True}, {"hash_bits": 4}):
        assert reading(tmp_path, {"a.svm": b"1 1:1\n"}, **options)[1].notes == []
    assert len(reading(tmp_path, {"a.svm": b"1 1:1\n"})[1].notes) == 1


def test_options_of_a_model_of_tables_leave_ids_as_they_stand(tmp_path):
    batch, _ = reading(tmp_path, {"a.svm": b"1 3:1\n"}, hash_bits=4, hash_ids=False)
    assert batch.indices.tolist() == [3]


def test_ids_are_read_as_the_map_takes_them_whatever_the_options_say(tmp_path):
    plain, compact = new_encoder(TableOptions()), new_encoder(TableOptions(), compact=True)
    for options in ({"compact": True}, {"hash_bits": 4}, {}):
        for encoder, indices in ((plain, [7, 9]), (compact, [0, 1])):
            batch, _ = reading(tmp_path, {"a.svm": b"1 7:1 9:1\n"}, encoder, **options)
            assert batch.indices.dtype == np.int32
            assert batch.indices.tolist() == indices

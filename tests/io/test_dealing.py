import bz2
import gzip
import io
import itertools
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from rows import random_rows

from fmcore.errors import DataError, UsageError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources.dealing import SMALLEST, ShardedFile, cuttable, deal, in_order, row_bytes, shard
from fmcore.io.sources.ranges import ByteRange, cut
from fmcore.io.sources.source import Source, find
from fmcore.rows.blocks import generator

AUTO = ReadOptions()
folder_kept = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbered(path, rows, first=0, ending=b"\n"):
    """Write a libsvm file whose rows have the labels first, first + 1, ...; return its Source."""
    Path(path).write_bytes(b"".join(b"%d %d:1%b" % (first + n, n % 50, ending) for n in range(rows)))
    return find([path])[0]


def labels(sources, options=AUTO):
    """Return labels of all rows, in order."""
    return [int(label) for batch in read_batches(sources, options, Report()) for label in batch.labels]


def sizes(parts):
    return [sum(source.size for source in part) for part in parts]


CONTENTS = {
    "a.svm": (b"0 1:1\n", "libsvm"),
    "a.ffm": (b"0 1:1:1\n", "libffm"),
    "empty": (b"", "libsvm"),
    "a.rec": (recordio.encode(random_rows(), 30), "recordio"),
    "a.jsonl": (b'{"features": [1]}\n{"features": [2]}\n', "jsonlines"),
    "a.json": (b'{"instances": [{"features": [1]}]}', None),
    "a.csv": (b"a,b\n1,2\n", None),
    "a.tsv": (b"a\tb\n1\t2\n", None),
    "a.svm.gz": (gzip.compress(b"0 1:1\n"), None),
    "no_suffix": (bz2.compress(b"0 1:1\n"), None),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_cuttable_names_the_format_of_files_that_can_be_cut(name):
    Path(name).write_bytes(CONTENTS[name][0])
    assert cuttable(*find([name]), AUTO) == CONTENTS[name][1]


def test_cuttable_follows_the_given_format_and_needs_a_plain_file():
    Path("a").write_bytes(b"1,2\n")
    (source,) = find(["a"])
    assert [cuttable(source, ReadOptions(format=name)) for name in ("csv", "libffm")] == [None, "libffm"]
    parquet.write_table(pa.table({"a": [1]}), "a.parquet")
    assert cuttable(*find(["a.parquet"]), AUTO) is None
    os.mkfifo("pipe")
    assert [cuttable(source, AUTO) for source in find(["-", "pipe"])] == [None, None]
    with pytest.raises(DataError, match="nowhere: cannot be opened"):
        cuttable(Source("nowhere", 5), AUTO)
    Path("a").write_bytes(b"\x7fELF")
    with pytest.raises(DataError, match="a: the content is of no known format"):
        cuttable(source, AUTO)


def test_row_bytes_estimates_the_size_of_a_row():
    def measured(content, name):
        Path("x").write_bytes(content)
        return row_bytes(*find(["x"]), name)

    records = recordio.encode(random_rows(500), 30)
    assert measured(records, "recordio") == len(records) // 500
    assert measured(recordio.encode_dense(np.ones((1, 90_000), np.float32)), "recordio") == 256 << 10
    assert measured(b"0 1:1\n" * 7, "libsvm") == 6
    assert measured(b"0 1:1\n" * 90_000 + b"0 1:1 2:1\n" * 1000, "libsvm") == 6
    assert [measured(content, "jsonlines") for content in (b"", b"\n\n", b"abc")] == [1, 1, 3]


@folder_kept
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=5), st.integers(1, 7), st.booleans())
def test_dealt_pieces_cover_every_byte_once_and_balance_the_workers(rows, workers, shuffle):
    sources = [numbered(f"{n}.svm", count, 10_000 * n) for n, count in enumerate(rows)]
    parts, notes = deal(sources, AUTO, workers, generator(3, "pieces") if shuffle else None)
    assert (len(parts), notes) == (workers, [])
    dealt = sorted((piece.path, piece.start, piece.stop) for part in parts for piece in part)
    for source in sources:
        ends = [(start, stop) for path, start, stop in dealt if path == source.path]
        assert [0, *(stop for _, stop in ends)] == [*(start for start, _ in ends), source.size]
    largest = max((piece.size for part in parts for piece in part), default=0)
    assert largest <= max(SMALLEST, sum(sizes(parts)) // workers // 16)
    assert max(sizes(parts)) - min(sizes(parts)) <= largest
    assert sorted(label for part in parts for label in labels(part)) == sorted(labels(sources))
    if not shuffle:
        assert all(part == sorted(part, key=lambda piece: (piece.path, piece.start)) for part in parts)


def test_pieces_are_shuffled_by_the_seed_and_mix_the_files():
    sources = [numbered("a.svm", 30_000), numbered("b.svm", 30_000)]
    first, again, other = (deal(sources, AUTO, 3, generator(seed, "pieces")).parts for seed in (1, 1, 2))
    assert first == again != other
    for part in first:
        assert len(part) > 15
        assert {piece.path for piece in part} == {"a.svm", "b.svm"}
        assert part != sorted(part, key=lambda piece: (piece.path, piece.start))


def test_pieces_of_large_files_hold_a_few_thousand_rows(monkeypatch):
    monkeypatch.setattr("fmcore.io.sources.dealing.ROWS", 1000)
    source = numbered("a.svm", 60_000)
    (part,), _ = deal([source], AUTO, 1)
    assert {900 < len(labels([piece])) < 1200 for piece in part[:-1]} == {True}


@pytest.mark.parametrize("count", [7, 8])
def test_many_files_that_cannot_be_cut_are_assigned_whole(count):
    for n in range(count):
        Path(f"{n}.gz").write_bytes(gzip.compress(b"%d 1:1\n" % n))
    sources = [*find(["*.gz"]), numbered("a.svm", 2000, 100)]
    parts, notes = deal(sources, AUTO, 2, generator(0, "pieces"))
    dealt = [[piece.path for piece in part if not isinstance(piece, ByteRange)] for part in parts]
    assert sorted(labels([*itertools.chain(*parts)])) == [*range(count), *range(100, 2100)]
    if count == 8:
        assert notes == []
        assert [len(paths) for paths in dealt] == [4, 4]
        assert sorted(itertools.chain(*dealt)) == [source.path for source in sources[:-1]]
    else:
        assert dealt == [[source.path for source in sources[:-1]]] * 2
        (note,) = notes
        assert note == (
            "gzip files cannot be cut, so every worker reads all of 0.gz and the 6 after it and keeps its "
            "shard of the rows; convert them to recordIO with fm convert, or name 8 or more of about one size"
        )


def test_a_large_uncuttable_file_among_many_is_read_by_all_workers():
    for n in range(9):
        Path(f"{n}.csv").write_bytes(b"label,x\n" + b"1,2\n" * (90 if n == 5 else 10))
    Path("x.gz").write_bytes(gzip.compress(b"0 1:1\n"))
    sources = find(["*.csv", "x.gz"])
    parts, notes = deal(sources, AUTO, 2)
    assert parts == [
        [ShardedFile(source.path, source.size, (worker + n) % 2, 2) for n, source in enumerate(sources)]
        for worker in range(2)
    ]
    assert notes[0].startswith("csv and gzip files cannot be cut")


@folder_kept
@given(st.data(), st.integers(1, 6))
def test_in_order_joins_to_the_rows_of_the_sources_in_order(data, workers):
    sources = []
    for n, (rows, packed) in enumerate(data.draw(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=5))):
        source = numbered(f"{n}.svm", rows, 100 * n, data.draw(st.sampled_from([b"\n", b"\r\n"])))
        if packed:
            Path(f"{n}.gz").write_bytes(gzip.compress(Path(source.path).read_bytes()))
            (source,) = find([f"{n}.gz"])
        sources.append(source)
    parts = in_order(sources, AUTO, workers)
    assert len(parts) == workers
    assert labels([*itertools.chain(*parts)]) == labels(sources)
    assert sum(sizes(parts)) == sum(sizes([sources]))
    if not any(source.path.endswith(".gz") for source in sources):
        assert max(sizes(parts)) - min(sizes(parts)) <= 1


def test_rows_of_a_sharded_file_go_to_one_worker_each():
    numbers = np.arange(1000)
    rows = random_rows(1000)
    rows.labels[:] = numbers
    for edges in ([0, 1000], [0, 1, 64, 65, 400, 999, 1000]):
        batches = [rows.take(slice(*pair)) for pair in itertools.pairwise(edges)]
        kept = [list(shard(batches, worker, 3)) for worker in range(3)]
        assert all(len(batch) for part in kept for batch in part)
        for worker, part in enumerate(kept):
            got = np.concatenate([batch.labels for batch in part])
            np.testing.assert_array_equal(got, numbers[numbers // 64 % 3 == worker])
    assert sum(len(batch) for batch in shard([rows], 0, 1)) == 1000
    assert list(shard([rows.take(slice(0, 64))], 1, 2)) == []


@pytest.mark.parametrize("how", [deal, in_order])
def test_sources_that_can_be_read_once_are_refused(how, monkeypatch):
    os.mkfifo("pipe")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name, said in (("-", "stdin"), ("pipe", "pipe")):
        with pytest.raises(UsageError, match=f"^{said} can be read once only, but each of 3 workers opens the data"):
            how([numbered("a.svm", 3), *find([name])], AUTO, 3)


@pytest.mark.parametrize("how", [lambda *arguments: deal(*arguments).parts, in_order])
def test_no_sources_give_each_worker_an_empty_list(how):
    assert how([numbered("a.svm", 0)], AUTO, 2) == [[], []]
    assert how([numbered("a.svm", 0), numbered("b.svm", 0)], AUTO, 1) == [[]]
    assert labels([]) == []


def test_units_of_the_pieces_number_the_lines_of_the_file():
    source = numbered("a.svm", 3000)
    content = Path("a.svm").read_bytes().replace(b"\n777 ", b"\nseven ")
    Path("a.svm").write_bytes(content)
    report, pieces = Report(), cut(*find([source.path]), "libsvm", SMALLEST)
    list(read_batches(pieces[::-1], ReadOptions(on_error="skip"), report))
    (error,) = report.errors
    before = itertools.takewhile(lambda piece: piece.name != error.source, pieces)
    assert sum(report.units[piece.name] for piece in before) + error.number == 778
    assert sum(report.units.values()) == 3000

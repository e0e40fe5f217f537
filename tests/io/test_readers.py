import gzip
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from shell import LIMIT, ROOT

from fmcore.errors import DataError, UsageError
from fmcore.io.formats import FORMATS, Codec, Format
from fmcore.io.options import ReadOptions, Report
from fmcore.io.parallel import Workers
from fmcore.io.pieces import Decoded
from fmcore.io.readers import read_batches
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources.source import Source, find
from fmcore.io.text import codec as text
from fmcore.rows.batch import Batch, RowOrigin, concatenate

LINES = [f"{n % 2} {n + 1}:1 {n * 7 + 2}:{n / 4}\n" for n in range(50)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(text.chunks, "__defaults__", (64,))


def reading(names, **options):
    """Return (batches, report) of all sources that the names give."""
    report = Report()
    return list(read_batches(find(names), ReadOptions(**options), report)), report


def places(batches):
    return [str(DataError("", **batch.place(row)))[:-2] for batch in batches for row in range(len(batch))]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.svm").write_text("".join(LINES[:20]))
    (tmp_path / "b.svm.gz").write_bytes(gzip.compress("".join(["# c\n", *LINES[20:]]).encode()))
    return tmp_path


@pytest.mark.parametrize("threads", [1, 3])
def test_sources_are_read_in_order_with_every_rows_place(files, threads):
    batches, report = reading(["a.svm", "b.svm.gz"], threads=threads)
    assert places(batches) == [f"a.svm, line {n}" for n in range(1, 21)] + [f"b.svm.gz, line {n}" for n in range(2, 32)]
    assert len(batches) > 5
    assert all(len(batch) for batch in batches)
    joined, expected = concatenate(batches), text.decode_libsvm("".join(LINES).encode()).batch
    for name in ("indptr", "indices", "values", "labels"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(expected, name))
    assert report.facts == {"min_index": 1, "max_index": 345}
    (note,) = report.notes
    assert note == (
        "lowest index is 1 in a.svm and the 1 after it: indices look 1-based and are kept as they are; "
        "--index-base 1 would shift them to 0"
    )


def test_any_number_of_reader_threads_gives_equal_batches(files):
    one, three = (reading(["."], threads=threads)[0] for threads in (1, 3))
    assert places(one) == places(three)
    for left, right in zip(one, three, strict=True):
        np.testing.assert_array_equal(left.indices, right.indices)
        np.testing.assert_array_equal(left.labels, right.labels)


def test_index_base_auto_notes_indices_that_look_1_based(files):
    (files / "zero.svm").write_text("1 0:1\n")
    assert reading(["a.svm"], index_base="1")[0][0].indices[0] == 0
    assert reading(["a.svm"], index_base="1")[1].notes == []
    assert reading(["a.svm"], index_base="0")[1].notes == []
    assert reading(["a.svm", "zero.svm"])[1].notes == []
    assert reading(["a.svm"])[1].notes[0].startswith("lowest index is 1 in a.svm: ")


def test_ignored_fields_and_query_ids_are_noted(files):
    (files / "x.ffm").write_text("1 4:0:1\n")
    (files / "q.svm").write_text("1 qid:1 0:1\n")
    _, report = reading(["x.ffm", "q.svm"])
    assert [note.split(" ")[0] for note in report.notes] == ["libffm", "qid:"]
    assert report.facts == {"min_index": 0, "max_index": 0, "fields": 5, "qid": 1}


def test_fields_and_groups_are_read_where_asked_and_then_nothing_is_said_to_be_dropped(files):
    (files / "x.ffm").write_text("".join(f"1 qid:{n // 3} 4:{n}:1 {n}:7:1\n" for n in range(40)))
    batches, report = reading(["x.ffm"], fields=True, groups=True)
    assert len(batches) > 3
    joined = concatenate(batches)
    assert joined.fields.tolist() == [field for n in range(40) for field in (4, n)]
    assert joined.groups.tolist() == [n // 3 for n in range(40)]
    assert (report.notes, report.facts["fields"]) == ([], 40)
    for batch in reading(["x.ffm"])[0]:
        assert (batch.fields, batch.groups) == (None, None)


def test_formats_without_fields_and_groups_have_none(files):
    (files / "x.jsonl").write_text('{"features": [1, 2]}\n')
    (files / "x.csv").write_text("a,b\n1,2\n")
    (files / "x.rec").write_bytes(recordio.encode(text.decode_libsvm(b"1 1:1\n").batch, 2))
    for batch in reading(["a.svm", "x.rec"], fields=True, groups=True)[0]:
        assert (batch.fields, batch.groups) == (None, None)
    (csv,) = reading(["x.csv"], fields=True, groups=True)[0]
    (json,) = reading(["x.jsonl"], fields=True, groups=True)[0]
    assert (csv.fields.tolist(), csv.groups, json.fields, json.groups) == ([0, 1], None, None, None)


NO_QID = "the row has no qid:, which other rows have; each row of the data must have one, or none"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("lacking", [1, 2, 30, 49])
def test_a_row_without_qid_where_the_first_has_one_is_refused_by_its_line(files, lacking, threads):
    lines = [f"# {n}\n1 {'' if n == lacking else 'qid:3 '}{n}:1\n" for n in range(50)]
    (files / "q.svm").write_text("".join(lines))
    with pytest.raises(DataError) as caught:
        reading(["q.svm"], groups=True, threads=threads)
    assert str(caught.value) == f"q.svm, line {2 * lacking + 2}: {NO_QID}"
    batches, report = reading(["q.svm"], groups=True, threads=threads, on_error="skip")
    joined = concatenate(batches)
    assert joined.groups.tolist() == [3] * 49
    assert joined.indices.tolist() == [n for n in range(50) if n != lacking]
    assert (report.counts, [error.number for error in report.errors]) == ({"rows skipped": 1}, [2 * lacking + 2])
    assert len(concatenate(reading(["q.svm"], threads=threads)[0])) == 50


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_qid_after_rows_without_is_refused_by_the_line_of_the_first_row_without(files, on_error):
    (files / "q.svm").write_text("1 qid:1 0:1\n")
    (files / "c.svm").write_text("# c\n" + "".join(LINES))
    with pytest.raises(DataError) as caught:
        reading(["c.svm", "q.svm"], groups=True, on_error=on_error)
    assert str(caught.value) == f"c.svm, line 2: {NO_QID}"
    with pytest.raises(DataError) as caught:
        reading(["q.svm", "c.svm"], groups=True)
    assert str(caught.value) == f"c.svm, line 2: {NO_QID}"
    assert len(concatenate(reading(["q.svm", "c.svm"], groups=True, on_error="skip")[0])) == 1


def test_rows_without_any_qid_have_no_groups(files):
    batches, report = reading(["a.svm"], groups=True)
    assert {type(batch.groups) for batch in batches} == {type(None)}
    assert report.facts["no qid"] == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_after_the_rows_before_it_and_names_its_place(files, threads):
    (files / "bad.svm").write_text("".join([*LINES[:30], "1 1:1 x\n", *LINES[30:], "y\n"]))
    report, got = Report(), []
    with pytest.raises(DataError) as caught:
        got.extend(read_batches(find(["a.svm", "bad.svm"]), ReadOptions(threads=threads), report))
    assert str(caught.value).startswith("bad.svm, line 31, field 3: found 'x'")
    assert places(got)[:20] == [f"a.svm, line {n}" for n in range(1, 21)]
    assert 0 < len(places(got)) - 20 <= 30
    batches, report = reading(["a.svm", "bad.svm"], threads=threads, on_error="skip")
    assert sum(map(len, batches)) == 70
    assert report.counts == {"rows skipped": 2}
    assert [str(error).split(":")[0] for error in report.errors] == [
        "bad.svm, line 31, field 3",
        "bad.svm, line 52, field 1",
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_truncated_source_gives_its_rows_and_then_the_error(files, threads):
    whole = (files / "b.svm.gz").read_bytes()
    (files / "b.svm.gz").write_bytes(whole[:-9])
    got = []
    with pytest.raises(DataError, match=r"^b.svm.gz: the gzip data ends too early"):
        got.extend(read_batches(find(["b.svm.gz"]), ReadOptions(threads=threads, on_error="skip"), Report()))
    assert places(got)[:3] == ["b.svm.gz, line 2", "b.svm.gz, line 3", "b.svm.gz, line 4"]


def test_labels_are_mapped_over_all_sources(files):
    (files / "x.svm").write_text("1 1:1\n-1 1:1\n1\n")
    (files / "y.svm").write_text("1\n0 1:1\n7 2:1\n-1 3:1\n")
    assert concatenate(reading(["x.svm"], binary=True)[0]).labels.tolist() == [1, 0, 1]
    assert concatenate(reading(["y.svm"], positive="7")[0]).labels.tolist() == [0, 0, 1, 0]
    with pytest.raises(DataError, match=r"^y.svm, line 2: label 0 beside label -1; expected"):
        reading(["x.svm", "y.svm"], binary=True)
    batches, report = reading(["x.svm", "y.svm"], binary=True, on_error="skip")
    assert places(batches)[3:] == ["y.svm, line 1", "y.svm, line 4"]
    assert concatenate(batches).labels.tolist() == [1, 0, 1, 1, 0]
    assert [error.number for error in report.errors] == [2, 3]


def test_a_byte_order_mark_is_skipped(files):
    (files / "x.svm").write_bytes(b"\xef\xbb\xbf1 1:1\n")
    for name in ("auto", "libsvm"):
        assert places(reading(["x.svm"], format=name)[0]) == ["x.svm, line 1"]


def test_files_without_rows_give_no_batches(files):
    (files / "empty.svm").write_text("")
    (files / "comment.svm").write_text("# nothing\n\n")
    assert reading(["empty.svm", "comment.svm"])[0] == []


def test_unknown_read_options_are_refused(files):
    with pytest.raises(UsageError, match="format is 'xml'"):
        reading(["a.svm"], format="xml")
    with pytest.raises(UsageError, match="on error is 'stop'"):
        reading(["a.svm"], on_error="stop")
    with pytest.raises(UsageError, match="index base is '2'"):
        reading(["a.svm"], index_base="2")


def test_parquet_from_a_pipe_or_compressed_file_is_refused(files):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: (files / "pipe").write_bytes(b"PAR1"))
    writer.start()
    with pytest.raises(DataError, match=r"^pipe: Parquet can only be read from an uncompressed regular file"):
        reading(["pipe"])
    writer.join()
    (files / "x.parquet.gz").write_bytes(gzip.compress(b"PAR1"))
    with pytest.raises(DataError, match=r"^x.parquet.gz: Parquet can only be read from an uncompressed regular file"):
        reading(["x.parquet.gz"])


@pytest.mark.parametrize("threads", [1, 3])
def test_pipes_and_standard_input_are_read_as_files(files, threads):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: (files / "pipe").write_bytes(gzip.compress("".join(LINES).encode())))
    writer.start()
    assert places(reading(["pipe"], threads=threads)[0]) == [f"pipe, line {n}" for n in range(1, 51)]
    writer.join()
    code = (
        "from fmcore.io.options import *\nfrom fmcore.io.readers import read_batches\n"
        "from fmcore.io.sources.source import find\n"
        f"options = ReadOptions(threads={threads})\n"
        "for batch in read_batches(find(['-']), options, Report()): print(batch.place(0), len(batch))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="".join(LINES), text=True, capture_output=True, check=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("{'source': 'stdin', 'unit': 'line', 'number': 1} 50\n", "")


def test_on_bytes_reports_bytes_done_and_their_total(files):
    sizes = [(files / name).stat().st_size for name in ("a.svm", "b.svm.gz")]
    seen = []
    list(read_batches(find(["a.svm", "b.svm.gz"]), ReadOptions(), Report(), on_bytes=lambda *n: seen.append(n)))
    assert {total for _, total in seen} == {sum(sizes)}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (sum(sizes), sum(sizes))
    assert (sizes[0], sum(sizes)) in seen
    seen.clear()
    list(read_batches([Source("a.svm")], ReadOptions(), Report(), on_bytes=lambda *n: seen.append(n)))
    assert seen[-1] == (sizes[0], None)


@pytest.mark.parametrize("threads", [1, 3])
def test_stopping_early_closes_the_source_and_the_threads(files, threads):
    before = threading.active_count()
    batches = read_batches(find(["a.svm", "b.svm.gz"]), ReadOptions(threads=threads), Report())
    next(batches)
    batches.close()
    assert threading.active_count() == before
    assert list(batches) == []


def test_a_codec_counts_units_and_offsets_from_its_piece(files, monkeypatch):
    """A stand-in for record formats: a record is 4 bytes; "bad!" is none, and 'cut' leaves one short at the end."""

    def chunks(stream):
        for number in range(1, 99):
            piece = stream.read(8)
            if len(piece) % 4:
                raise DataError("cut", unit="record", number=number * 2 - 1, offset=number * 8 - 8)
            if not piece:
                return
            yield memoryview(piece)

    def decode(chunk, on_error):
        records = [bytes(chunk[n : n + 4]) for n in range(0, len(chunk), 4)]
        bad = [
            DataError("bad", unit="record", number=n + 1, offset=4 * n) for n, r in enumerate(records) if r == b"bad!"
        ]
        if bad and on_error == "fail":
            raise bad[0]
        good = [n + 1 for n, r in enumerate(records) if r != b"bad!"]
        batch = Batch(
            np.zeros(len(good) + 1, np.int64),
            np.empty(0, np.int32),
            None,
            np.zeros(len(good), np.float32),
            origin=RowOrigin(None, "record", good),
        )
        return Decoded(batch, len(records), tuple(bad), (("feature_dim", len(good)),))

    def codec(options):
        return Codec(chunks, lambda chunk: decode(chunk, options.on_error))

    monkeypatch.setitem(FORMATS, "recordio", Format("recordio", codec, magic=b"\x0a\x23\xd7\xce"))
    (files / "x.rec").write_bytes(b"\x0a\x23\xd7\xce" + b"good" * 4 + b"bad!" + b"good" * 3)
    batches, report = reading(["x.rec"], on_error="skip")
    assert places(batches) == [f"x.rec, record {n}" for n in (1, 2, 3, 4, 5, 7, 8, 9)]
    assert str(report.errors[0]) == "x.rec, record 6, byte 20: bad"
    assert report.facts == {"feature_dim": 2}
    with pytest.raises(DataError, match=r"^x.rec, record 6, byte 20: bad"):
        reading(["x.rec"])
    (files / "x.rec").write_bytes(b"\x0a\x23\xd7\xce" + b"good" * 4 + b"cut")
    with pytest.raises(DataError, match=r"^x.rec, record 5, byte 16: cut"):
        reading(["x.rec"], threads=2)


class BoomError(Exception):
    """Raised by the functions below."""


def explode(item):
    if item == 7:
        raise BoomError(item)
    return item * 2


def explosive():
    yield from range(5)
    raise BoomError("items")


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_workers_keep_order_and_raise_in_order(threads):
    before = threading.active_count()
    with Workers(threads) as workers:
        assert list(workers.map(explode, range(7))) == list(range(0, 14, 2))
        assert list(workers.map(explode, [])) == []
        for function, items, count in ((explode, range(20), 7), (explode, explosive(), 5)):
            got = []
            with pytest.raises(BoomError):
                got.extend(workers.map(function, items))
            assert got == [n * 2 for n in range(count)]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_nested_maps_share_their_workers(threads):
    """The results of one map are the items of the next, with no more threads; errors pass through both in place."""
    used, got = set(), []

    def seen(item):
        used.add(threading.get_ident())
        return explode(item)

    with Workers(threads) as workers, pytest.raises(BoomError):
        got.extend(workers.map(str, workers.map(seen, range(20))))
    assert got == [str(2 * n) for n in range(7)]
    used.clear()
    with Workers(threads) as workers:
        assert list(workers.map(seen, workers.map(seen, range(8, 500)))) == [4 * n for n in range(8, 500)]
    assert len(used) <= threads


def test_leaving_workers_drops_calls_that_were_not_begun():
    begun, release = [], threading.Event()

    def wait(item):
        begun.append(item)
        release.wait(LIMIT)

    with Workers(2) as workers:
        results = workers.map(wait, range(50))
        threading.Timer(0.05, release.set).start()
        next(results)
    assert len(begun) <= 5
    results.close()


def test_workers_take_at_most_threads_plus_one_items_ahead():
    taken, release, before = [], threading.Event(), threading.active_count()

    def items():
        for n in range(50):
            taken.append(n)
            yield n

    def wait(item):
        release.wait(LIMIT)
        return item

    with Workers(2) as workers:
        results = workers.map(wait, items())
        threading.Timer(0.05, release.set).start()
        assert next(results) == 0
        assert len(taken) <= 4
        results.close()
        assert len(taken) <= 5
    assert threading.active_count() <= before + 1  # the timer may still be ending


def test_the_head_of_a_stream_is_kept_where_the_format_is_given(files):
    (files / "x").write_bytes(b"1 2\n")
    with pytest.raises(DataError, match="no known format"):
        reading(["x"])
    with pytest.raises(DataError, match=r"^x, line 1, field 2: found '2', an index without a value"):
        reading(["x"], format="libsvm")

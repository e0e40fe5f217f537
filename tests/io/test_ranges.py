import io
import itertools
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_bytes import MAGIC, field, floats, frame, in_parts, label, record_ends, sparse, split_as_dmlc
from rows import random_rows

from fmcore.errors import DataError
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources import ranges
from fmcore.io.sources.ranges import ByteRange, boundary, cut
from fmcore.io.sources.source import Source, find
from fmcore.io.sources.streams import open_source
from fmcore.io.text import codec as text

BOM = b"\xef\xbb\xbf"
folder_kept = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
LINES = {
    "libsvm": [b"0 1:1 2:0.5", b"1:2 7:3\t9:1", b"# \xd1\x81\xe2\x82\xac", b"", b"  ", b"-1 3:1 # c", b"1"],
    "libffm": [b"0 1:1:1", b"1 0:7:3 1:9:1", b"#", b"", b"1"],
    "jsonlines": [
        b'{"features": [1, 0, 2]}',
        b"",
        b'{"id": "\xd1\x81\xe2\x82\xac", "features": [3]}',
        b" ",
        b'{"features": {"keys": [5], "values": [1.5]}}',
    ],
}


@st.composite
def texts(draw, name):
    """Lines of any kind and line end, the last perhaps without; perhaps a byte order mark before the first."""
    lines = draw(st.lists(st.tuples(st.sampled_from(LINES[name]), st.sampled_from([b"\n", b"\r\n"])), max_size=12))
    data = draw(st.sampled_from([b"", BOM + LINES[name][0] + b"\n"])) + b"".join(itertools.chain(*lines))
    return data.removesuffix(b"\n") if draw(st.booleans()) else data


@st.composite
def payloads(draw):
    """A row whose id holds the magic, aligned or not, with what may be a length behind it, or some frames in a row."""
    inner = [MAGIC, MAGIC + struct.pack("<I", 5), MAGIC + struct.pack("<I", 1 << 29 | 4), frame(b"\1"), b"a", b"xyz9"]
    uid = b"".join(draw(st.lists(st.sampled_from(inner), max_size=6))) + b"!" * 20  # where all those lengths end
    number = draw(st.integers(0, 99))
    return sparse([number], [1.5], 100) + label(number) + field(5, b"z" * draw(st.integers(0, 5)), uid)


@st.composite
def records(draw):
    """A recordIO file, each record whole, split as dmlc's writer does, or in three parts."""
    frames = [frame, split_as_dmlc, lambda payload: in_parts([payload[:3], payload[3:9], payload[9:]])]
    return b"".join(draw(st.sampled_from(frames))(payload) for payload in draw(st.lists(payloads(), max_size=30)))


def pieces(path, points, name):
    """Return the ByteRanges of a file between these points."""
    ends = [0, *sorted(points), path.stat().st_size]
    return [ByteRange(str(path), start=start, stop=stop, format=name) for start, stop in itertools.pairwise(ends)]


def begun(source, starts):
    """Return how many units begin in a ByteRange, of those that begin at these bytes of the file."""
    return sum(source.start <= at < source.stop for at in starts)


def opened(source):
    with open_source(source) as stream:
        return stream.read()


def rows(sources, name, report=None, **options):
    """Return everything that a reader gives of each row except its place."""
    found = []
    for batch in read_batches(sources, ReadOptions(format=name, **options), report or Report()):
        values = np.ones(len(batch.indices)) if batch.values is None else batch.values
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights
        for row, (start, stop) in enumerate(itertools.pairwise(batch.indptr)):
            found.append(
                (
                    batch.indices[start:stop].tolist(),
                    values[start:stop].tolist(),
                    str(batch.labels[row]),
                    float(weights[row]),
                    batch.ids and batch.ids[row],
                )
            )
    return found


@pytest.mark.parametrize("name", LINES)
@folder_kept
@given(data=st.data())
def test_ranges_of_a_text_join_to_its_lines_wherever_it_is_cut(tmp_path, name, data):
    path, content = tmp_path / "x", data.draw(texts(name))
    path.write_bytes(content)
    found = pieces(path, data.draw(st.lists(st.integers(0, len(content)), max_size=8)), name)
    assert b"".join(map(opened, found)) == content
    whole, report = Report(), Report()
    assert rows(found, name, report) == rows([Source(str(path))], name, whole)
    assert (report.counts, report.facts) == (whole.counts, whole.facts)
    starts = [at for at in range(len(content)) if content[max(0, at - 1) : at] in {b"", b"\n"}]
    assert report.units == {source.name: begun(source, starts) for source in found}
    assert not whole.units


@folder_kept
@given(content=records(), data=st.data())
def test_a_range_of_records_holds_those_that_begin_in_it(tmp_path, content, data):
    path, name = tmp_path / "x", "recordio"
    path.write_bytes(content)
    points = data.draw(st.lists(st.integers(0, len(content)), max_size=8))
    ends = record_ends(content)
    with path.open("rb") as file:
        for point in points:
            assert boundary(file, point, name) == next(end for end in ends if end >= point)
    report, found = Report(), pieces(path, points, name)
    assert b"".join(map(opened, found)) == content
    assert rows(found, name, report, on_error="skip") == rows([Source(str(path))], name, on_error="skip")
    assert report.units == {source.name: begun(source, ends[:-1]) for source in found}


@pytest.mark.parametrize("name", ["recordio", "libsvm"])
@folder_kept
@given(
    parts=st.lists(
        st.sampled_from(
            [MAGIC, b"\0", b"\n", b"\xff\xff\xff\x3f", frame(b"ab"), frame(b"", 1), frame(b"", 2), frame(b"", 3)]
        )
    )
)
def test_every_byte_of_any_content_is_in_one_range(tmp_path, name, parts):
    path = tmp_path / "x"
    path.write_bytes(b"".join(parts))
    assert b"".join(map(opened, cut(*find([path]), name, 5))) == path.read_bytes()


@pytest.mark.parametrize("name", ["recordio", "jsonlines", "libsvm"])
def test_ranges_of_one_byte_each_join_to_all_units(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ranges, "WINDOW", 8)
    batch = random_rows(12)
    content = {
        "recordio": recordio.encode(batch, 30) + frame(sparse([1], [2.0], 9) + label(1) + field(5, b"ab" + MAGIC * 3)),
        "jsonlines": "\n\n".join(
            json.dumps({"features": {"keys": [n], "values": [1]}, "id": "€" * n}) for n in range(9)
        ).encode(),
        "libsvm": BOM + text.encode_libsvm(batch) + "1 # €\n\n0 3:1".encode(),
    }[name]
    (tmp_path / "x").write_bytes(content)
    (source,) = find([tmp_path / "x"])
    found = cut(source, name, 1)
    assert len(found) == len(content)
    assert [source.size for source in found] == [1] * len(content)
    got = rows(found, name, on_error="skip")
    assert got == rows([source], name, on_error="skip")
    assert len(got) > 8
    blank = {"recordio": 0, "jsonlines": 8, "libsvm": 1}[name]
    assert len(list(filter(None, map(opened, found)))) == len(got) + blank


def test_a_range_has_a_name_and_a_size_and_cut_covers_the_file():
    source = ByteRange("a.svm", start=10, stop=25, format="libsvm")
    assert (source.name, source.size, source.rereadable) == ("a.svm[10:25]", 15, True)
    assert cut(Source("a", 0), "libsvm", 5) == []
    assert [(r.start, r.stop) for r in cut(Source("a", 11), "libsvm", 5)] == [(0, 5), (5, 10), (10, 11)]


def test_first_bytes_of_a_range_are_taken_for_no_compression_or_format(tmp_path):
    first, second = b"1 2:1\n", b"BZh,\x1f\x8b 1:1\n"
    path = tmp_path / "x.gz"
    path.write_bytes(first + second)
    source = ByteRange(str(path), start=6, stop=7, format="libsvm")
    assert opened(source) == second
    with pytest.raises(DataError, match=r"^.*x.gz\[6:7\], line 1, field 1: found 'BZh,"):
        rows([source], "auto")


def test_a_byte_order_mark_within_a_file_is_an_error_wherever_it_is_cut(tmp_path):
    path = tmp_path / "x"
    path.write_bytes((BOM + b"1 2:1\n") * 2)
    for found in ([Source(str(path))], pieces(path, [9], "libsvm"), pieces(path, [4], "libsvm")):
        with pytest.raises(DataError, match=r"found '\\ufeff1' where the label stands"):
            rows(found, "libsvm")


def test_errors_name_the_range_and_count_from_its_start(tmp_path):
    path = tmp_path / "x.svm"
    path.write_bytes(b"# c\n0 1:1\n1 2:1\n\nx 1:1\n1 1:1\n")
    found, report = pieces(path, [5], "libsvm"), Report()
    with pytest.raises(DataError, match=r"x.svm\[5:29\], line 3, field 1: found 'x'"):
        rows(found, "auto", report)
    assert report.units == {found[0].name: 2}
    rows(found, "auto", report, on_error="skip")
    assert [(error.source, error.number) for error in report.errors] == [(found[1].name, 3)]
    assert report.units == {found[0].name: 2, found[1].name: 4}
    path.write_bytes(frame(sparse([1], [1.0], 9)) * 2 + frame(b"\xff"))
    found = pieces(path, [3], "recordio")
    with pytest.raises(DataError, match=rf"x.svm\[3:{path.stat().st_size}\], record 2, byte \d+: the payload is no"):
        rows(found, "auto")


def test_an_empty_range_gives_no_rows_and_no_error(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"0 1:1 2:1 3:1\n")
    found, report, progress = pieces(path, [3, 3, 9], "libsvm"), Report(), []
    batches = list(read_batches(found, ReadOptions(), report, on_bytes=lambda *place: progress.append(place)))
    assert [len(batch) for batch in batches] == [1]
    assert list(report.units.values()) == [1, 0, 0, 0]
    assert progress[-1] == (14, 14)
    assert rows(found[1:], "auto") == []


@pytest.mark.parametrize("name", ["libsvm", "recordio"])
def test_a_file_cut_off_after_ranges_were_made_is_refused(tmp_path, name):
    path = tmp_path / "x"
    content = {"libsvm": b"0 1:1\n" * 50, "recordio": frame(sparse([1], [1.0], 9)) * 20}[name]
    path.write_bytes(content)
    found = pieces(path, [len(content) // 2], name)
    path.write_bytes(content[: -len(content) // 4])
    assert rows(found[:1], name)
    with pytest.raises(DataError, match=rf"x\[\d+:{len(content)}\]: it ends after .* when the command began"):
        rows(found[1:], name)
    with open_source(found[0]) as stream:
        path.write_bytes(content[:20])
        with pytest.raises(DataError, match=rf"x\[0:{len(content) // 2}\]: it ends after 20 bytes, but had"):
            stream.read()


def test_every_truncation_and_damage_of_ranged_records_raises_an_error(tmp_path):
    path = tmp_path / "x"
    content = frame(sparse([1], [1.0], 9) + label(1)) * 14
    size = len(content) // 14
    for end in range(10 * size + 1, len(content)):
        path.write_bytes(content[:end])
        if end % size:
            with pytest.raises(DataError, match=r"x\[.*truncated"):
                rows(pieces(path, [end // 3, end // 2, end - 3], "recordio"), "recordio")
    for at in range(0, len(content), size):
        path.write_bytes(content[:at] + b"\0" + content[at + 1 :])
        with pytest.raises(DataError, match=r"x\[.*a record begins with"):
            rows(pieces(path, range(10, len(content), 40), "recordio"), "recordio")


def test_the_search_for_a_record_ends_at_the_longest_unit(monkeypatch, tmp_path):
    monkeypatch.setattr(ranges, "LONGEST_UNIT", 100_000)
    path = tmp_path / "x"
    path.write_bytes(frame(b"") + bytes(1 << 20) + frame(b""))
    for name in ("recordio", "libsvm"):
        with pytest.raises(DataError, match=rf"x\[9:99\]: nothing that is {name} begins in the 0 MiB behind byte 9"):
            opened(ByteRange(str(path), start=9, stop=99, format=name))


def test_a_payload_that_holds_records_is_refused_not_misread(tmp_path):
    """Whole frames within a frame cannot be distinguished from others; the range before is cut off then."""
    path = tmp_path / "x"
    inner = frame(sparse([1], [1.0], 9)) * 10
    path.write_bytes(frame(inner) + frame(sparse([2], [1.0], 9)) * 10)
    with pytest.raises(DataError, match=r"x\[0:20\], record 1, byte 0: truncated"):
        rows(pieces(path, [20], "recordio"), "recordio")


def test_boundary_reads_no_more_bytes_than_it_needs():
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            data = super().read(size)
            self.taken += len(data)
            return data

    file = Counting(frame(floats(*range(1000))) * 200)
    size = len(file.getvalue()) // 200
    assert boundary(file, 100 * size - 7, "recordio") == 100 * size
    assert file.taken <= 2 * ranges.WINDOW
    file.taken = 0
    assert boundary(file, len(file.getvalue()), "recordio") == len(file.getvalue())
    assert boundary(file, 0, "recordio") == file.taken == 0


def test_a_range_of_a_missing_file_raises_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\[0:5\]: cannot be opened: No such file"):
        opened(ByteRange(str(tmp_path / "nowhere"), start=0, stop=5, format="libsvm"))
    assert not Path(tmp_path / "nowhere").exists()

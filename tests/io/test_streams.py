import bz2
import gzip
import io
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from shell import LIMIT, ROOT

from fmcore.errors import DataError, ResourceError, UsageError
from fmcore.io.sources.source import Source
from fmcore.io.sources.streams import ByteStream, open_output, open_source

PLAIN = b"".join(b"%d %d:1 %d:0.5\n" % (n % 2, n, n * n % 977) for n in range(2000))


def zstd(data):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


KINDS = {"gzip": (".gz", gzip.compress), "bzip2": (".bz2", bz2.compress), "zstd": (".zst", zstd)}
every_kind = pytest.mark.parametrize("kind", KINDS)


def read(path):
    with open_source(Source(str(path))) as stream:
        return stream.read()


@contextmanager
def pipe(tmp_path, *writes):
    """Make a named pipe that a thread feeds, write by write; a threading.Event among them is waited for."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def feed():
        with path.open("wb", buffering=0) as out:
            for item in writes:
                item.wait(LIMIT) if isinstance(item, threading.Event) else out.write(item)

    thread = threading.Thread(target=feed)
    thread.start()
    yield path
    thread.join()


@every_kind
@pytest.mark.parametrize("named", [True, False])
def test_compressed_data_is_read_whatever_its_name_and_number_of_members(tmp_path, kind, named):
    suffix, compress = KINDS[kind]
    path = tmp_path / ("x" + suffix if named else "x.svm")
    path.write_bytes(compress(PLAIN))
    with open_source(Source(str(path))) as stream:
        assert (stream.compression, stream.name) == (kind, str(path))
        assert stream.read(10) + stream.read() + stream.read() == PLAIN
        assert stream.consumed == path.stat().st_size
    path.write_bytes(compress(PLAIN[:777]) + compress(b"") + compress(PLAIN[777:]))
    assert read(path) == PLAIN


@every_kind
def test_every_truncation_of_compressed_data_raises_an_error_that_names_the_source(tmp_path, kind):
    suffix, compress = KINDS[kind]
    whole = compress(PLAIN[:60])
    path = tmp_path / ("x" + suffix)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        shown = end >= {"gzip": 2, "bzip2": 3, "zstd": 4}[kind]
        says = "(the file is cut off|Truncated)" if shown else f"it holds no {kind} data"
        with pytest.raises(DataError, match=rf"x{suffix}: .*{says}"):
            read(path)


@every_kind
def test_a_truncated_second_member_and_damaged_bytes_raise_errors(tmp_path, kind):
    suffix, compress = KINDS[kind]
    path = tmp_path / ("x" + suffix)
    whole = compress(PLAIN)
    path.write_bytes(whole + whole[:-7])
    with pytest.raises(DataError, match=r"cut off|damaged"):
        read(path)
    path.write_bytes(whole[:4] + b"\xff" * 40 + whole[44:])
    with pytest.raises(DataError, match=f"damaged {kind} data|cut off"):
        read(path)


def test_a_compression_suffix_on_plain_content_is_refused(tmp_path):
    (tmp_path / "x.gz").write_bytes(bz2.compress(PLAIN))
    with pytest.raises(DataError, match=r"x.gz: its name ends with \.gz, but it holds no gzip data"):
        read(tmp_path / "x.gz")


@pytest.mark.parametrize("content", [b"", b"\x1f", b"(", b"BZ", PLAIN])
def test_plain_content_is_read_unchanged(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert read(tmp_path / "x") == content
    with open_source(Source(str(tmp_path / "x"))) as stream:
        assert (stream.compression, stream.readable()) == (None, True)


def test_a_source_that_cannot_be_opened_raises_a_data_error(tmp_path):
    with pytest.raises(DataError, match="nowhere: cannot be opened: No such file"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be opened: Is a directory"):
        read(tmp_path)


def test_reads_of_all_sizes_after_a_peek_return_all_bytes(tmp_path):
    (tmp_path / "x").write_bytes(PLAIN)
    with open_source(Source(str(tmp_path / "x"))) as stream:
        assert stream.head(lambda head: len(head) >= 3)[:3] == PLAIN[:3]
        assert (stream.read(0), stream.read(2), stream.read1(1)) == (b"", PLAIN[:2], PLAIN[2:3])
        assert stream.head(lambda head: False) == PLAIN[3:]
        buffer = bytearray(5)
        assert (stream.readinto(buffer), bytes(buffer)) == (5, PLAIN[3:8])
        assert stream.readline() == PLAIN[8:].split(b"\n")[0] + b"\n"
        stream.read()
        assert (stream.read(), stream.read1(), stream.head(len)) == (b"", b"", b"")
    assert stream.closed


def test_a_failure_to_read_names_the_source():
    class Broken(io.BytesIO):
        def read1(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match=r"tape: cannot be read: .*Input/output error"):
        ByteStream(Broken(), "tape").read()


@every_kind
def test_a_slow_pipe_of_compressed_data_is_decompressed_as_it_comes(tmp_path, kind):
    data = KINDS[kind][1](PLAIN)
    with pipe(tmp_path, *(data[n : n + 1] for n in range(40)), data[40:], data[:1], data[1:]) as path:
        assert read(path) == PLAIN * 2


@pytest.mark.parametrize("kind", [None, "gzip"])
def test_a_peek_waits_for_no_more_bytes_than_it_needs(tmp_path, kind):
    line, more = b"0 1:1\n", b"1 2:1\n"
    goes_on = threading.Event()
    parts = [b"0 ", b"1:1\n", goes_on, more]
    if kind == "gzip":
        parts = [gzip.compress(line), goes_on, gzip.compress(more)]
    with pipe(tmp_path, *parts) as path, open_source(Source(str(path))) as stream:
        assert stream.head(lambda head: b"\n" in head) == line
        goes_on.set()
        assert stream.read() == line + more


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_standard_input_is_read_as_a_source(kind):
    code = (
        "import sys\nfrom fmcore.io.sources.source import find\nfrom fmcore.io.sources.streams import open_source\n"
        "with open_source(find(['-'])[0]) as stream:\n    sys.stdout.buffer.write(stream.read())\n"
        "sys.stdin.close()"
    )
    data = PLAIN if kind is None else KINDS[kind][1](PLAIN)
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == (PLAIN, b"")


def test_standard_input_stays_open_and_is_refused_where_it_is_closed(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(PLAIN))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert read("-") == PLAIN
    assert not stdin.closed
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match=r"standard input \(-\) is closed"):
        read("-")


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_outputs_are_compressed_by_suffix_with_the_same_bytes_each_time(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    contents = []
    for _ in range(2):
        with open_output(path) as handle:
            handle.write(PLAIN[:100])
            handle.write(PLAIN[100:])
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert read(path) == PLAIN
    assert (contents[0] == PLAIN) == (suffix == "")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_an_output_that_fails_does_not_appear(tmp_path, suffix):
    with pytest.raises(ZeroDivisionError), open_output(tmp_path / f"out{suffix}") as handle:
        handle.write(PLAIN * (1 // 0))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="there is no folder"), open_output(tmp_path / "x" / f"out{suffix}"):
        pass


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_a_disk_full_under_a_compressed_output_raises_a_resource_error(tmp_path, suffix):
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not here")
    (tmp_path / f"out{suffix}").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="the disk is full"), open_output(tmp_path / f"out{suffix}") as handle:
        handle.write(os.urandom(1 << 20))

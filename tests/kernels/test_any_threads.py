"""Predictions, metrics and converted files: the same for any number of threads and any cut of the input."""

import io
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from rows import random_rows, small_model
from shell import environment

from fmcore import api
from fmcore.errors import DataError
from fmcore.io.options import ReadOptions
from fmcore.io.predictions import WRITERS
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources import streams
from fmcore.io.text import codec as text
from fmcore.model import file as modelfile

ROWS = random_rows(400, feature_dim=40, weights=True)  # features 30 to 39 are unknown to the model
ROWS.ids = [None if row % 3 else f"row {row}" for row in range(len(ROWS))]
MODEL = small_model()
SMALL = 200  # bytes of a piece: a few rows


@pytest.fixture(params=["text", "recordio"])
def rows(request, tmp_path):
    """Provide a file of rows; only one of its formats holds ids."""
    path = tmp_path / "rows"
    path.write_bytes(text.encode_libsvm(ROWS) if request.param == "text" else recordio.encode(ROWS, 40))
    return path


@pytest.fixture
def small_pieces(monkeypatch):
    cut_small(monkeypatch)


def cut_small(monkeypatch):
    for module in (text, recordio):
        monkeypatch.setattr(module.chunks, "__defaults__", (SMALL,))


def data(path, threads, **options):
    return api.Data([path], ReadOptions(threads=threads, **options))


@pytest.fixture
def written(monkeypatch):
    """Provide what is written to any output, even where the command ends with an error."""
    got = io.BytesIO()

    @contextmanager
    def open_output(_path):
        yield got

    monkeypatch.setattr(streams, "open_output", open_output)
    return got


@pytest.mark.parametrize("to", WRITERS)
def test_predictions_are_the_same_for_any_threads(rows, to, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    assert api.predict(MODEL, data(rows, 1), whole, to=to) == len(ROWS)
    cut_small(monkeypatch)
    for threads in (1, 2, 5):
        source = data(rows, threads)
        assert api.predict(MODEL, source, tmp_path / "cut", to=to, threads=threads) == len(ROWS)
        assert (tmp_path / "cut").read_bytes() == whole.read_bytes()
        assert source.report.counts == {
            "non-zeros of features unknown to the model ignored": int((ROWS.indices >= 30).sum())
        }


def test_metrics_are_the_same_for_any_threads(rows, monkeypatch):
    whole = api.evaluate(MODEL, data(rows, 1))
    assert whole["rows"] == len(ROWS)
    cut_small(monkeypatch)
    assert [api.evaluate(MODEL, data(rows, threads), threads=threads) for threads in (1, 2, 5)] == [whole] * 3


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", ["out.rec", "out.svm"])
@pytest.mark.usefixtures("small_pieces")
def test_converted_files_are_the_same_for_any_threads(rows, name, shards, tmp_path):
    outputs, summaries = [], []
    for threads in (1, 2, 5):
        summaries.append(api.convert(data(rows, threads), str(tmp_path / name), shards=shards).as_dict())
        outputs.append([path.read_bytes() for path in sorted(tmp_path.glob("out*"))])
    assert outputs == [outputs[0]] * 3
    assert summaries == [summaries[0]] * 3
    assert summaries[0]["rows"] == len(ROWS)
    for shard, content in enumerate(outputs[0]):
        found, wanted = decoded(content), decoded(rows.read_bytes()).take(slice(shard, None, shards))
        for part in ("indptr", "indices", "values", "labels", "weights"):
            np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))


def decoded(content):
    """Return all rows of a file's bytes as one batch."""
    return (recordio.decode if content.startswith(recordio.MAGIC) else text.decode_libsvm)(content).batch


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.usefixtures("small_pieces")
def test_predictions_before_a_bad_row_are_written_before_the_error(tmp_path, threads, written):
    lines = text.encode_libsvm(ROWS).splitlines(keepends=True)
    (tmp_path / "bad.svm").write_bytes(b"".join([*lines[:300], b"1 x:1\n", *lines[300:], b"y\n"]))
    with pytest.raises(DataError, match=r"bad.svm, line 301, field 2"):
        api.predict(MODEL, data(tmp_path / "bad.svm", threads), "-", threads=threads)
    before = written.getvalue().splitlines()
    assert 280 < len(before) <= 300
    written.seek(0)
    source = data(tmp_path / "bad.svm", threads, on_error="skip")
    assert api.predict(MODEL, source, "-", threads=threads) == len(ROWS)
    assert written.getvalue().splitlines()[: len(before)] == before
    assert source.report.counts["rows skipped"] == 2
    assert [error.number for error in source.report.errors] == [301, 402]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.usefixtures("small_pieces")
def test_refusal_names_the_first_unseen_feature_for_any_threads(rows, threads, written):
    first = int((ROWS.indptr <= (ROWS.indices >= 30).argmax()).sum())
    with pytest.raises(DataError, match=rf"rows, (line|record) {first}: index 3\d is unknown to the model"):
        api.predict(MODEL, data(rows, threads), "-", threads=threads, unseen="error")
    assert len(written.getvalue().splitlines()) < first


PEAK = """\
import re, sys
from pathlib import Path
from fmcli.main import exit_code
code = exit_code(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(code)
"""  # a child's ru_maxrss would start at that of these tests


def peak(command, line, count, folder):
    """Return the most bytes of memory that a command took for an input of `count` times a line."""
    with subprocess.Popen(
        [sys.executable, "-c", PEAK, *command],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        for _ in range(count // 1000):
            process.stdin.write(line * 1000)
        process.stdin.close()
        said = process.stderr.read()
    assert process.returncode == 0, said
    return int(said.split()[-1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
@pytest.mark.parametrize(
    "command",
    [("predict", "m.fm", "--threads", "2"), ("convert", "-", "-o", "-", "--feature-dim", "30", "--threads", "2")],
)
def test_memory_of_streaming_commands_does_not_grow_with_the_rows(tmp_path, command):
    modelfile.save(MODEL, tmp_path / "m.fm")
    line = b"1 " + b" ".join(b"%d:1" % index for index in range(29)) + b"\n"
    few, many = (peak(command, line, count, tmp_path) for count in (150_000, 600_000))  # 20 and 80 MB
    assert many - few < 30 << 20  # half of the additional input; on a busy machine pieces wait for each other

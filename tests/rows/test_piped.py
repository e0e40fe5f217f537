"""Pipes in the library: waiting for them, and training on blocks of which only the first is known beforehand."""

import os
import threading
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from record_bytes import frame, label, sparse
from rows import random_rows
from shell import LIMIT

from fmcore import api
from fmcore.errors import DataError, UsageError
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources import pipes
from fmcore.io.sources.streams import open_source
from fmcore.objectives import objective_of
from fmcore.rows import blocks, piped
from fmcore.rows.piped import PipedDataset
from fmcore.schema.encoder import Encoder

PLAIN = {"feature_scaling": "none", "bias_init_method": "normal", "mini_batch_size": 16, "epochs": 3}


@pytest.fixture
def small_blocks(monkeypatch):
    for module in (blocks, piped):
        monkeypatch.setattr(module, "BLOCK_ROWS", 64)
    monkeypatch.setattr(recordio, "chunks", partial(recordio.chunks, size=1000))


@pytest.fixture
def feed(tmp_path, monkeypatch):
    """Provide a function that writes contents into new pipes, one after the other, in a thread."""
    monkeypatch.chdir(tmp_path)
    threads = []

    def write(contents):
        with suppress(BrokenPipeError):
            for path, content in contents.items():
                Path(path).write_bytes(content)

    def start(contents, after=0):
        for path in contents:
            os.mkfifo(path)
        threads.append(threading.Timer(after, write, args=(contents,)))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def pipe_data(**options):
    return api.Data(["train"], ReadOptions(binary=True, **options), pipe=api.PipeMode(10))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("given", [{"feature_dim": 30}, {}])
def test_pipe_mode_gives_the_model_of_file_mode_for_any_number_of_blocks(feed, given, threads):
    """Train without learning anything from all rows beforehand."""
    content = recordio.encode(random_rows(300, 30), 30)
    feed({f"train_{epoch}": content for epoch in range(3)})
    Path("all.rec").write_bytes(content)
    hyperparameters = resolve("native-1", predictor_type="binary_classifier", **PLAIN, **given)
    resources = api.Resources(threads)
    model = api.train(pipe_data(threads=threads), hyperparameters, "piped.fm", resources=resources)
    api.train(api.Data(["all.rec"], ReadOptions(binary=True)), hyperparameters, "whole.fm", resources=resources)
    assert Path("piped.fm").read_bytes() == Path("whole.fm").read_bytes()
    assert model.info["rows"] == 300


@pytest.mark.usefixtures("small_blocks")
def test_only_the_first_block_is_known_before_training(feed):
    first, rest = random_rows(64, 10, seed=1), random_rows(100, 10, seed=2)
    feed({"train_0": recordio.encode(first, 10) + recordio.encode(rest, 10), "train_1": recordio.encode(first, 10)})
    data, hyperparameters = pipe_data(), resolve(predictor_type="binary_classifier", mini_batch_size=16)
    rows, prepared = data.reader(Encoder()), []
    dataset = PipedDataset(
        partial(rows.read, objective_of(hyperparameters)),
        hyperparameters,
        lambda block: prepared.append(block) or block,
        rows.cancel,
    ).load()
    assert (dataset.rows, dataset.non_zeros, dataset.feature_dim) == (64, len(first.indices), 10)
    assert dataset.mean_label == pytest.approx(first.labels.mean())
    assert (prepared, dataset.complete, dataset.in_memory) == ([], False, False)
    dataset.widen(12)
    for count, pipe in ((164, "train_0"), (64, "train_1")):
        with dataset.epoch() as iterator:
            assert sum(len(block.batch) for block in iterator) == count
        assert (dataset.rows, rows.sources[0].path) == (count, pipe)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("at", [70, 150])  # in a batch that the first block begins, and in a later one
def test_an_index_beyond_the_feature_dim_of_the_first_block_is_refused(feed, at):
    rows = random_rows(200, 10)
    before, after = (recordio.encode(rows.take(part), 10) for part in (slice(at), slice(at, None)))
    feed({"train_0": before + frame(sparse([500], [1.0]) + label(1)) + after})
    hyperparameters = resolve(predictor_type="binary_classifier", epochs=1)
    with pytest.raises(DataError, match=f"train_0, record {at + 1}: index 500 is beyond the stated feature_dim 10"):
        api.train(pipe_data(), hyperparameters, "x.fm")
    assert not Path("x.fm").exists()


@pytest.mark.parametrize("path", ["nowhere", "train_0"])
def test_a_wait_can_be_cancelled_from_another_thread(feed, path):
    """Cancel a wait for a pipe that does not exist, and for a writer that has begun and writes no more."""
    os.mkfifo("train_0")
    descriptor = os.open("train_0", os.O_RDWR)  # a writer that stays
    os.write(descriptor, b"1 0:1\n")
    pipe = pipes.Pipe(path, timeout=LIMIT)
    threading.Timer(0.1, pipe.cancelled.set).start()
    with pytest.raises(DataError, match=f"^{path}: waiting for this pipe was cancelled$"):
        open_source(pipe).read()
    os.close(descriptor)


@pytest.mark.parametrize("means_left", [True, False])
def test_a_pipe_that_looks_hung_up_before_a_writer_opens_it_is_waited_for(feed, monkeypatch, means_left):
    """Read as on macOS, where a pipe that nobody has opened for writing looks hung up."""
    monkeypatch.setattr(pipes, "HANG_UP_MEANS_LEFT", means_left)
    feed({"late_0": b"content"}, after=0.2)
    with open_source(pipes.Pipe("late_0", timeout=LIMIT)) as stream:
        assert (stream.read(), stream.read()) == (b"content", b"")


def test_a_channel_has_a_pipe_for_each_pass_and_needs_one_prefix():
    assert [pipe.path for pipe in islice(pipes.pipes(["a/train"], api.PipeMode(3)), 3)] == [
        "a/train_0",
        "a/train_1",
        "a/train_2",
    ]
    pipe = next(pipes.pipes(["a/train"], api.PipeMode(3)))
    assert (pipe.timeout, pipe.size, pipe.rereadable) == (3, None, False)
    assert not api.Data(["train"], pipe=api.PipeMode()).rereadable
    for names in ([], ["a", "b"], [""], ["-"]):
        with pytest.raises(UsageError, match="prefix"):
            api.Data(names, pipe=api.PipeMode())

"""Streamed rows are decoded for one epoch, kept in a file without a name, and trained as if they were in memory."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rows import random_rows
from shell import libsvm_rows

from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.rows import blocks, spill
from fmcore.rows.batch import Batch
from fmcore.rows.dataset import Dataset

CLASSES = ("--predictor-type", "binary_classifier")


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Return a Dataset of several blocks that is streamed, and a list that grows each time its rows are read."""
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    batch, reads = random_rows(200, 30), []

    def read():
        reads.append(1)
        return iter([batch])

    h = resolve(predictor_type="regressor", epochs=4, mini_batch_size=9)
    return Dataset(read, h, backend_for("cpu").prepare, 1).load(), reads


def epoch(dataset, first=0):
    """Return its blocks from number `first` on, as lists of arrays."""
    with dataset.epoch(first) as found:
        return [
            [block.batch.indices, block.batch.values, block.batch.labels, block.starts, *block.groups[:5]]
            for block in found
        ]


def same(some, others):
    assert len(some) == len(others)
    for mine, theirs in zip(some, others, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_later_epochs_get_the_blocks_of_the_first_without_reading_again(reads, tmp_path):
    dataset, count = reads
    first = epoch(dataset)
    assert len(first) == 4
    for n in range(5):
        same(epoch(dataset, n), first[n:])
    assert (len(count), list(tmp_path.iterdir())) == (2, [])  # to learn, and to train


def test_an_incomplete_epoch_keeps_no_blocks_on_disk(reads):
    dataset, count = reads
    with dataset.epoch() as found:
        next(found)
    rest = epoch(dataset, 2)
    assert len(count) == 3
    whole = epoch(dataset)
    same(rest, whole[2:])
    same(epoch(dataset), whole)
    assert len(count) == 4


def test_streamed_rows_without_features_give_the_same_blocks_each_epoch():
    empty = Batch(np.zeros(21, np.int64), np.zeros(0, np.int32), None, np.arange(20, dtype=np.float32))
    h = resolve(predictor_type="regressor", epochs=3)
    dataset = Dataset(lambda: iter([empty]), h, backend_for("cpu").prepare, 1).load()
    same(epoch(dataset), epoch(dataset))


def test_streamed_blocks_keep_fields_and_groups(monkeypatch, tmp_path):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    batch = random_rows(200, 30)
    batch.fields, batch.groups = batch.indices + 5, np.arange(200) // 3
    batch.labels[:] = np.arange(200)
    h = resolve(predictor_type="regressor", epochs=4, mini_batch_size=9, label_scaling="none")
    dataset = Dataset(lambda: iter([batch]), h, backend_for("cpu").prepare, 1).load()
    for _ in range(2):  # as decoded, and from the file
        with dataset.epoch() as found:
            seen = [block.batch for block in found]
        assert sum(map(len, seen)) == 200
        for rows in seen:
            np.testing.assert_array_equal(rows.fields, rows.indices + 5)
            np.testing.assert_array_equal(rows.groups, rows.labels // 3)
    assert dataset._spill.complete


@pytest.mark.parametrize("lack", ["room", "folder", "writing"])
def test_without_disk_room_every_epoch_reads_the_rows_again(reads, monkeypatch, tmp_path, lack):
    dataset, count = reads
    if lack == "room":
        full = SimpleNamespace(f_bavail=10, f_blocks=100, f_frsize=4096)
        monkeypatch.setattr(spill.os, "fstatvfs", lambda _: full)
    elif lack == "folder":
        monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    else:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda *_, **__: Path("/dev/full").open("w+b", 0))  # noqa: SIM115
    first = epoch(dataset)
    same(epoch(dataset), first)
    assert len(count) == 3


def test_a_single_epoch_keeps_no_blocks_on_disk(reads, monkeypatch):
    dataset, _ = reads
    monkeypatch.setattr(spill.Spill, "filled", None)
    dataset._hyperparameters = resolve(predictor_type="regressor", epochs=1)
    assert len(epoch(dataset)) == 4


def test_rows_streamed_by_the_command_give_the_same_model(fm):
    fm.write("x.svm", libsvm_rows(300, 1))
    for name, limit in (("a.fm", "1G"), ("b.fm", "1")):
        fm("train", "x.svm", *CLASSES, "--epochs", 3, "-o", name, "--memory-limit", limit, "--quiet")
    assert fm.read("a.fm") == fm.read("b.fm")

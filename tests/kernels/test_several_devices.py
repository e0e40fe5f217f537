"""Several devices: the model of one, whatever part of a mini-batch each has, and no wait for a dead one."""

import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import PENALTIES, block_of, small_model, with_evidence
from shell import LIMIT, interruptible, last_line, wait_for
from test_dense import full_rows
from test_devices import CLASSIFIER, dense_rows  # noqa: F401 - a fixture
from test_pytorch import SMALL_STEPS, passes, require_close

from fmcore.errors import FMError, ResourceError, UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.pytorch.several import BlockParts, SeveralBackend, part_of
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.blocks import Counts

TWO = ("torch:cpu", "torch:cpu")


@pytest.fixture(scope="module")
def two():
    """Provide two processes for several tests."""
    return SeveralBackend(TWO, 2)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("mini_batch_size", [1, 2, 7, 10, 40])
def test_parts_of_a_block_hold_each_row_of_each_mini_batch_once(size, mini_batch_size):
    block = block_of(full_rows(40, 6, 0.5), mini_batch_size)
    parts = [part_of(block, number, size) for number in range(size)]
    for m in range(len(block.starts) - 1):
        rows = np.concatenate([rows[part.starts[m] : part.starts[m + 1]] for rows, part in parts])
        assert rows.tolist() == list(range(block.starts[m], block.starts[m + 1]))
        lengths = [int(part.starts[m + 1] - part.starts[m]) for _, part in parts]
        assert max(lengths) - min(lengths) <= 1
    for rows, part in parts:
        np.testing.assert_array_equal(part.batch.labels, block.batch.labels[rows])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_two_devices_train_the_model_of_the_reference(two, optimizer, penalty):
    """One of the processes has no row of mini-batches of one row; only the last row holds the last column."""
    batch, given = replace(full_rows(41, 30, 0.3), ids=None), {**SMALL_STEPS, **PENALTIES[penalty]}
    model = with_evidence(small_model(feature_dim=33, optimizer=optimizer, clip_gradient=0.5, **given), batch, far=(7,))
    for mini_batch_size in (1, 8):
        require_close(
            passes(two, model, batch, mini_batch_size), passes(backend_for("reference"), model, batch, mini_batch_size)
        )
    np.testing.assert_allclose(two.score(batch, model), backend_for("cpu").score(batch, model), rtol=1e-5, atol=1e-5)


def test_two_devices_are_told_of_further_rows(two):
    batch = full_rows(40, 12, 0.5)
    model, models = with_evidence(small_model(feature_dim=12, **PENALTIES["rows"]), batch), []
    for backend in (two, backend_for("reference")):
        trainer = backend.trainer(model)
        trainer.count(Counts(np.array([1, 7], np.int32), np.array([2.5, 40], np.float32), 50.0))
        trainer.train(backend.prepare(block_of(batch, 8)), np.arange(5))
        models.append(trainer.snapshot().tensors().values())
    require_close(*models)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_two_devices_train_full_rows_to_the_model_of_the_reference(two, penalty):
    batch = full_rows(42, 30, 1.5).take(slice(1, None))
    model = with_evidence(small_model(feature_dim=30, **{**SMALL_STEPS, **PENALTIES[penalty]}), batch)
    require_close(passes(two, model, batch), passes(backend_for("reference"), model, batch))


def test_processes_drop_a_block_once_it_is_deleted(two):
    model, block = small_model(), block_of(full_rows(20, 30), 10)
    trainer, prepared = two.trainer(model), two.prepare(block)
    again = pickle.loads(pickle.dumps(prepared))
    assert again.groups.key != prepared.groups.key
    one, other = (trainer.train(b, np.arange(2), 0.0) for b in (prepared, again))
    np.testing.assert_array_equal(one, other)
    assert two._processes._forgotten == []
    key = prepared.groups.key
    del prepared
    assert two._processes._forgotten == [key]
    trainer.train(again, np.arange(2))
    with pytest.raises(FMError, match="KeyError"):
        SeveralBackend.trainer(two, model)._processes.ask_all("train", key, np.arange(2), 1.0, 0.0)


def test_error_in_a_device_process_is_raised_in_the_parent():
    backend = SeveralBackend(TWO)
    batch = full_rows(20, 5, 0.9)
    batch.indices[batch.indptr[3]] = batch.indices[batch.indptr[3] + 1]
    block, trainer = backend.prepare(block_of(batch, 4)), backend.trainer(small_model())
    with pytest.raises(UsageError, match="holds an index twice"):
        trainer.train(block, np.arange(5))
    assert [process.is_alive() for process, _ in backend._processes._members] == [False, False]
    assert issubclass(ResourceError, FMError)
    assert isinstance(block.groups, BlockParts)


@pytest.mark.parametrize("rank", [0, 1])
def test_death_of_a_device_process_raises_and_ends_the_others(rank):
    """Otherwise the other one would wait for ever for the gradients that the dead one does not send."""
    backend = SeveralBackend(TWO)
    block, trainer = backend.prepare(block_of(full_rows(20, 30), 10)), backend.trainer(small_model())
    trainer.train(block, np.arange(2))
    backend._processes._members[rank][0].kill()
    with pytest.raises(FMError, match=r"trains on torch:cpu has ended, killed by SIGKILL; no model .*--resume"):
        trainer.train(block, np.zeros(1 << 20, np.int64))
    assert [process.is_alive() for process, _ in backend._processes._members] == [False, False]


def workers(process):
    """Return the ids of the processes by which a command trains."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(number) for number in listed if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list a process's children")
def test_fm_train_ends_where_a_device_process_dies_and_resumes_from_the_checkpoint(fm, dense_rows):  # noqa: F811
    """It resumes on one device, too: a checkpoint does not depend on devices."""
    fm.write("rows.svm", dense_rows)
    options = ("train", "rows.svm", *CLASSIFIER[:-2], "--checkpoint", "c", "--checkpoint-every", 1e-4, "-o", "x.fm")
    process = fm.start(*options, "--epochs", 100_000, "--device", ",".join(TWO), env=interruptible())
    wait_for(lambda: "c" in fm.files())
    os.kill(workers(process)[1], signal.SIGKILL)
    said = process.communicate(timeout=LIMIT)[1].decode()
    assert process.returncode == 1, said
    assert last_line(said).startswith("fm: the process that trains on torch:cpu has ended, killed by SIGKILL; no model")
    assert (sorted(fm.files()), fm.left_over()) == (["c", "rows.svm"], [])
    resumed = fm.start(*options, "--epochs", 100_000, "--resume", "--device", "torch:cpu", env=interruptible())
    line = b"".join(resumed.stderr.readline() for _ in range(3))
    resumed.kill()
    resumed.communicate()
    assert b"resuming " in line, line

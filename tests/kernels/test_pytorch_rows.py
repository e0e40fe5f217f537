"""How rows reach a device of PyTorch: kept on it, copied again, prefetched, pickled; and those that it refuses."""

import pickle

import numpy as np
import pytest
from fits import train
from rows import DEVICES, block_of, small_model
from test_dense import full_rows

from fmcore.errors import UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.pytorch import rows
from fmcore.kernels.pytorch.backend import TorchBackend
from fmcore.kernels.pytorch.library import torch
from fmcore.rows import blocks
from fmcore.rows.dataset import Dataset


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def loaded(parts, model, backend, memory_limit=1e9):
    return Dataset(lambda: iter(parts), model.hyperparameters, backend.prepare, memory_limit).load()


def test_streamed_rows_and_rows_that_do_not_stay_on_the_device_train_the_same_model(device, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    parts, model = [full_rows(64, 20, 0.5, seed=n) for n in range(4)], small_model(epochs=3, mini_batch_size=10)
    backend = TorchBackend(device)
    kept, streamed = loaded(parts, model, backend), loaded(parts, model, backend, 1)
    assert (kept.in_memory, streamed.in_memory) == (True, False)
    expected = train(model, kept, backend).tensors()
    monkeypatch.setattr(rows.Feeder, "_stays", lambda *_: False)
    beyond = loaded(parts, model, backend)
    assert [block.groups.matrix for block in beyond._kept] == [None] * 4
    for data in (streamed, beyond):
        for name, tensor in train(model, data, backend).tensors().items():
            np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def test_the_next_block_is_prefetched_while_one_is_trained(device, monkeypatch):
    monkeypatch.setattr(rows.Feeder, "_stays", lambda *_: False)
    feeder, copied = rows.feeder(device), []
    copy = feeder._copied
    monkeypatch.setattr(feeder, "_copied", lambda host: copied.append(len(host.labels)) or copy(host))
    backend = TorchBackend(device)
    prepared = [backend.prepare(block_of(full_rows(n, 5), 4)) for n in (10, 11, 12)]
    for expected, block in zip(([10, 11], [12], [10]), prepared, strict=True):
        copied.clear()
        assert len(block.groups.fetch().labels) == len(block.batch)
        assert copied == expected


def test_pickle_of_a_prepared_block_restores_its_rows_on_the_device(device):
    block = backend_for(device).prepare(block_of(full_rows(20, 5), 4))
    again = pickle.loads(pickle.dumps(block, protocol=5))
    for name in ("cells", "labels", "weights", "means", "present"):
        one, other = (getattr(b.groups.fetch(), name) for b in (block, again))
        assert torch.equal(one, other), name


@pytest.mark.parametrize("share", [0.05, 0.08])
def test_sparse_rows_are_refused_by_a_pytorch_device(device, share):
    batch = full_rows(400, 100, share)
    if share * rows.SPARSE > 1:
        assert backend_for(device).prepare(block_of(batch, 10)).groups.fetch().columns == 101
        return
    with pytest.raises(UsageError, match=r"the rows are sparse: \d\.\d+% of 400 rows x 100 columns .*--device cpu"):
        backend_for(device).prepare(block_of(batch, 10))


def test_an_index_twice_in_a_row_is_refused_by_a_pytorch_device(device):
    batch = full_rows(20, 5, 0.9)
    batch.indices[batch.indptr[3]] = batch.indices[batch.indptr[3] + 1]
    with pytest.raises(UsageError, match=r"holds an index twice.*--device cpu"):
        backend_for(device).prepare(block_of(batch, 4))

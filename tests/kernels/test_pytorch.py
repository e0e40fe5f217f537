"""Dense rows by PyTorch: the model of the reference within rounding, on each device found, and how rows reach it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from fits import train
from rows import DEVICES, block_of, random_rows, small_model
from test_dense import full_rows

from fmcore.errors import ResourceError, UsageError
from fmcore.kernels import backend_for
from fmcore.kernels.cpu import CpuBackend
from fmcore.kernels.pytorch import graphs, places, rows, table
from fmcore.kernels.pytorch.backend import TorchBackend, TorchTrainer, spans
from fmcore.kernels.pytorch.graphs import Graphs
from fmcore.kernels.pytorch.library import torch
from fmcore.model import file as modelfile
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows import blocks
from fmcore.rows.batch import concatenate
from fmcore.rows.dataset import Dataset

SMALL_STEPS = {
    "bias_lr": 0.1,
    "linear_lr": 0.01,
    "factors_lr": 0.005,
    "factors_init_sigma": 0.1,
    "bias_wd": 0.1,
    "linear_wd": 0.01,
    "factors_wd": 0.02,
}
KINDS = {"half": lambda **more: full_rows(101, 30, 0.5, **more), "full": lambda **more: full_rows(101, 30, 1.5, **more)}


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def by_graphs(monkeypatch, device):
    """Train mini-batches in the memory of graphs; on a processor, at once instead of by a graph."""

    def plain(self, kept, place, factor):
        self._steps(kept.mini_batch(place), factor, kept.scores[place])

    def begin(self, backend, model, team=None):
        made(self, backend, model, team)
        if self._graphs is None:
            self._graphs = Graphs(self._steps)

    made = TorchTrainer.__init__
    monkeypatch.setattr(TorchTrainer, "__init__", begin)
    if device == "torch:cpu":
        monkeypatch.setattr(Graphs, "_train_at", plain)


def passes(backend, model, batch, mini_batch_size=13, number=2):
    """Return scores and losses of some passes, then all tensors, then the scores afterwards."""
    trainer, block = backend.trainer(model), backend.prepare(block_of(batch, mini_batch_size))
    order = np.random.default_rng(1).permutation(len(block.starts) - 1)
    outputs = [trainer.train(block, order, lr) for lr in np.linspace(1, 0.5, number)]
    return [*np.array(outputs).reshape(2 * number, -1), *trainer.snapshot().tensors().values(), trainer.score(batch)]


def require_close(one, other, rtol=2e-4, atol=2e-5):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def loaded(parts, model, backend, memory_limit=1e9):
    return Dataset(lambda: iter(parts), model.hyperparameters, backend.prepare, memory_limit).load()


def without_first_row(batch):
    return batch.take(slice(1, None))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("predictor_type", ["binary_classifier", "regressor"])
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"clip_gradient": 0.01},
        {"rescale_grad": 0.02},
        {"num_factors": 17},
        {"use_bias": False},
        {"use_linear": False},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_device_follows_the_reference_over_many_mini_batches(device, optimizer, predictor_type, variant, kind):
    """Rows of 30 columns train a model of 33; "full" ones hold all columns, once the first row is dropped."""
    batch, binary = KINDS[kind](), variant == {"clip_gradient": 0.01}
    batch = without_first_row(batch) if kind == "full" else replace(batch, values=None if binary else batch.values)
    model = small_model(predictor_type, 33, optimizer=optimizer, **SMALL_STEPS, **variant)
    require_close(passes(backend_for(device), model, batch), passes(backend_for("reference"), model, batch))


@pytest.mark.usefixtures("by_graphs")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("share", [1.5, 0.4])
def test_runs_of_mini_batches_give_the_same_as_mini_batches_one_by_one(device, optimizer, share):
    """101 rows make 33 whole mini-batches, one more than the most of a run, and a smaller one."""
    batch, model = full_rows(101, 30, share), small_model(optimizer=optimizer, **SMALL_STEPS)
    batch = without_first_row(batch) if share > 1 else batch
    require_close(passes(backend_for(device), model, batch, 3, 4), passes(backend_for("reference"), model, batch, 3, 4))


@pytest.mark.parametrize(
    ("order", "expected"),
    [([0, 2, 1], [(0, 3)]), ([3, 0, 2], [(0, 1), (1, 3)]), ([1, 3, 0], [(0, 1), (1, 2), (2, 3)]), ([3], [(0, 1)])],
)
def test_spans_separate_the_smaller_mini_batch(order, expected):
    assert list(spans(np.array(order), 3)) == expected


def test_runs_are_short_where_mini_batches_are_large(device):
    def runs(size, columns):
        block = backend_for(device).prepare(block_of(full_rows(2 * size, columns), size))
        return graphs.most(block.groups.fetch())

    assert [runs(2, 8), runs(4000, 500)] == [graphs.MOST, 8]


def test_a_model_scores_the_same_on_every_device(device, tmp_path):
    """Sparse rows, rows with a feature twice and rows without any are scored as well, though not trained."""
    model = small_model(feature_dim=300, num_factors=9)
    batch = concatenate([random_rows(50, 300), full_rows(20, 300, 0.2), random_rows(5, 300, binary=True)])
    batch.indices[batch.indptr[55]] = batch.indices[batch.indptr[55] + 1]
    np.testing.assert_allclose(
        backend_for(device).score(batch, model), CpuBackend().score(batch, model), rtol=1e-5, atol=1e-5
    )
    trained = backend_for(device).trainer(model).snapshot()
    with (tmp_path / "x.fm").open("wb") as handle:
        modelfile.dump(trained, handle)
    again = modelfile.load(tmp_path / "x.fm")
    for name, tensor in model.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor)
    np.testing.assert_array_equal(backend_for(device).score(batch, again), backend_for(device).score(batch, model))


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


def test_too_little_device_memory_is_refused_before_it_is_taken(device, monkeypatch):
    backend, model = TorchBackend(device), small_model(feature_dim=1000, optimizer="adam")
    needed = table.table_bytes(model.hyperparameters, 1000)
    monkeypatch.setattr(places, "free", lambda _: 10_000)
    with pytest.raises(ResourceError, match=rf"feature_dim 1,000 .* adam takes about {needed:,} bytes .* 10,000 that"):
        backend.trainer(model)
    monkeypatch.undo()
    trainer, block = backend.trainer(model), backend.prepare(block_of(full_rows(200, 50), 100))
    monkeypatch.setattr(places, "free", lambda _: 10_000)
    with pytest.raises(ResourceError, match=r"a mini-batch of 100 rows takes about .* the 10,000 that are free"):
        trainer.train(block, np.arange(2))
    block = backend.prepare(block_of(full_rows(200, 50), 10))
    with pytest.raises(ResourceError, match=r"a block of 200 rows takes about .* the 10,000 that are free"):
        block.groups.fetch()


def test_exhausted_device_memory_raises_a_resource_error(device):
    def train(self, *_):
        raise torch.OutOfMemoryError("tried to allocate 80 GiB\nand more")

    backend = TorchBackend(device)
    trainer, block = backend.trainer(small_model()), backend.prepare(block_of(full_rows(20, 30), 10))
    trainer._train_one = trainer._train_runs = train
    with pytest.raises(ResourceError, match=r"memory of .* is exhausted: tried to allocate 80 GiB; use fewer"):
        trainer.train(block, np.arange(2))


def test_matrix_products_have_full_precision_and_the_setting_is_restored(device):
    seen, before = [], torch.get_float32_matmul_precision()
    trainer = TorchBackend(device).trainer(small_model())
    trainer._table.model = lambda: seen.append(torch.get_float32_matmul_precision()) or small_model()
    torch.set_float32_matmul_precision("high")
    try:
        trainer.snapshot()
        assert (seen, torch.get_float32_matmul_precision()) == (["highest"], "high")
    finally:
        torch.set_float32_matmul_precision(before)

"""Dense rows by PyTorch: the model of the reference within rounding, on each device found, and how rows reach it."""

from dataclasses import replace

import numpy as np
import pytest
from rows import DEVICES, PENALTIES, block_of, random_rows, small_model, with_evidence
from test_dense import full_rows

from fmcore.errors import ResourceError
from fmcore.kernels import backend_for
from fmcore.kernels.cpu import CpuBackend
from fmcore.kernels.pytorch import graphs, places, table
from fmcore.kernels.pytorch.backend import TorchBackend, TorchTrainer, spans
from fmcore.kernels.pytorch.graphs import Graphs
from fmcore.kernels.pytorch.library import torch
from fmcore.model import file as modelfile
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import concatenate

SMALL_STEPS = {
    "bias_lr": 0.1,
    "linear_lr": 0.01,
    "factors_lr": 0.005,
    "factors_init_sigma": 0.1,
    "bias_wd": 0.1,
    "linear_wd": 0.01,
    "factors_wd": 0.02,
}


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
    """Return scores and losses of some passes, then all tensors, then the scores afterwards.

    Learning rates fall within each pass and from one to the next.
    """
    trainer, block = backend.trainer(model), backend.prepare(block_of(batch, mini_batch_size))
    order = np.random.default_rng(1).permutation(len(block.starts) - 1)
    outputs = [trainer.train(block, order, lr, 0.4 * lr) for lr in np.linspace(1, 0.5, number)]
    return [*np.array(outputs).reshape(2 * number, -1), *trainer.snapshot().tensors().values(), trainer.score(batch)]


def require_close(one, other, rtol=2e-4, atol=2e-5):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def without_first_row(batch):
    return batch.take(slice(1, None))


def with_zeros(batch):
    """Return a Batch some of whose non-zeros are 0, as files may state them: all of those of the first column."""
    batch.values[(batch.indices == 0) | (np.arange(len(batch.values)) % 7 == 0)] = 0
    return batch


KINDS = {
    "half": lambda: full_rows(101, 30, 0.5),
    "full": lambda: without_first_row(full_rows(101, 30, 1.5)),
    "zeros": lambda: with_zeros(full_rows(101, 30, 0.5)),
}


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
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_device_follows_the_reference_over_many_mini_batches(
    device, optimizer, predictor_type, variant, kind, penalty
):
    """Rows of 30 columns train a model of 33; where penalties go by rows, two of them have no factors."""
    batch, binary = KINDS[kind](), kind == "half" and variant == {"clip_gradient": 0.01}
    batch = replace(batch, values=None) if binary else batch
    given = {**SMALL_STEPS, **PENALTIES[penalty], **variant}
    model = with_evidence(small_model(predictor_type, 33, optimizer=optimizer, **given), batch, far=(3, 17))
    require_close(passes(backend_for(device), model, batch), passes(backend_for("reference"), model, batch))


@pytest.mark.usefixtures("by_graphs")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("share", [1.5, 0.4])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_runs_of_mini_batches_give_the_same_as_mini_batches_one_by_one(device, optimizer, share, penalty):
    """101 rows make 33 whole mini-batches, one more than the most of a run, and a smaller one."""
    batch = full_rows(101, 30, share)
    batch = without_first_row(batch) if share > 1 else batch
    model = with_evidence(small_model(optimizer=optimizer, **{**SMALL_STEPS, **PENALTIES[penalty]}), batch, far=(5,))
    require_close(passes(backend_for(device), model, batch, 3, 4), passes(backend_for("reference"), model, batch, 3, 4))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_training_that_begins_on_a_device_goes_on_elsewhere(device, optimizer, penalty):
    batch = full_rows(101, 30, 0.5)
    model = with_evidence(small_model(optimizer=optimizer, **{**SMALL_STEPS, **PENALTIES[penalty]}), batch)

    def continued(first, second):
        trainer = first.trainer(model)
        trainer.train(first.prepare(block_of(batch, 13)), np.arange(5))
        return passes(second, trainer.snapshot(), batch)

    here, reference = backend_for(device), backend_for("reference")
    expected = continued(reference, reference)
    for first, second in ((here, reference), (reference, here)):
        require_close(continued(first, second), expected)


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


@pytest.mark.parametrize("penalty", PENALTIES)
def test_too_little_device_memory_is_refused_before_it_is_taken(device, penalty, monkeypatch):
    backend = TorchBackend(device)
    model = small_model(feature_dim=1000, optimizer="adam", **PENALTIES[penalty])
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

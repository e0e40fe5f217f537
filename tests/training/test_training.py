"""Blocks, datasets, the loop over epochs."""

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
from fits import train
from rows import random_rows, small_model
from shell import LIMIT

from fmcore import api
from fmcore.errors import DataError, DivergedError, ResourceError, StoppedError
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows import blocks, dataset
from fmcore.rows.batch import concatenate
from fmcore.rows.dataset import Dataset
from fmcore.rows.prefetch import prefetch
from fmcore.solvers.observer import Observer
from fmcore.training.state import Control


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 64)
    monkeypatch.setattr(blocks, "BLOCK_NON_ZEROS", 300)


def pieces(batch, sizes):
    """Return the batch cut into pieces of the given sizes, repeated."""
    first = 0
    for size in itertools.cycle(sizes):
        if first >= len(batch):
            return
        yield batch.take(slice(first, first + size))
        first += size


def load(batch, hyperparameters, backend, memory_limit=1e9, **options):
    return Dataset(lambda: pieces(batch, [37, 1, 90]), hyperparameters, backend.prepare, memory_limit, **options).load()


def same(one, other):
    return all(np.array_equal(one.tensors()[name], tensor) for name, tensor in other.tensors().items())


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("sizes", [[1], [64], [63, 1, 65], [1000]])
def test_blocks_depend_only_on_the_rows(sizes):
    batch = random_rows(500, 50)
    cut = list(blocks.cut(pieces(batch, sizes)))
    expected = list(blocks.cut([batch]))
    assert [len(b) for b in cut] == [len(b) for b in expected]
    joined = concatenate(cut)
    for name in ("indptr", "indices", "values", "labels"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(batch, name))
    for part in cut[:-1]:
        full = len(part) == 64 or len(part.indices) >= 300
        assert full
        assert len(part.indices) - (part.indptr[-1] - part.indptr[-2]) < 300


@pytest.mark.usefixtures("small_blocks")
def test_streamed_rows_give_the_model_of_rows_in_memory():
    batch, model = random_rows(500, 50), small_model(feature_dim=50, epochs=3, mini_batch_size=10)
    backend = backend_for("cpu", 2)
    kept, streamed = (load(batch, model.hyperparameters, backend, limit) for limit in (1e9, 2000))
    assert kept.in_memory
    assert not streamed.in_memory
    assert (kept.rows, kept.non_zeros, kept.feature_dim) == (streamed.rows, streamed.non_zeros, streamed.feature_dim)
    assert same(train(model, kept, backend), train(model, streamed, backend))


@pytest.mark.usefixtures("small_blocks")
def test_a_pipe_beyond_the_memory_limit_is_refused():
    model = small_model()
    with pytest.raises(ResourceError, match="a pipe cannot be read again"):
        load(random_rows(500), model.hyperparameters, backend_for("cpu"), 2000, rereadable=False)


def test_shuffling_depends_on_the_seed_and_can_be_disabled():
    batch, backend = random_rows(200), backend_for("cpu")
    models = {}
    for seed, shuffle in ((0, True), (0, True), (1, True), (0, False)):
        model = small_model(seed=0, epochs=2, mini_batch_size=16)
        object.__setattr__(model.hyperparameters, "seed", seed)
        object.__setattr__(model.hyperparameters, "shuffle", shuffle)
        models.setdefault((seed, shuffle), []).append(
            train(model, load(batch, model.hyperparameters, backend), backend)
        )
    assert same(*models[0, True])
    assert not same(models[0, True][0], models[1, True][0])
    assert not same(models[0, True][0], models[0, False][0])
    plain = blocks.make_block(batch, 0, 16, model.hyperparameters)
    np.testing.assert_array_equal(plain.batch.labels if model.hyperparameters.shuffle else batch.labels, batch.labels)


@pytest.mark.parametrize(("rows", "size"), [(10, 16), (60_000, 30), (2**17 - 1, 65), (2**17, 256)])
def test_auto_mini_batch_size_by_rows_and_non_zeros(rows, size):
    assert blocks.auto_mini_batch_size(rows, rows) == size


def test_a_row_of_weight_two_counts_as_two_rows_and_of_weight_zero_as_none():
    """rescale_grad is given, so that the mini-batch's number of rows does not matter."""
    batch = random_rows(40)
    batch.weights = np.random.default_rng(0).integers(0, 3, 40).astype(np.float32)
    repeated = batch.take(np.repeat(np.arange(40), batch.weights.astype(int)))
    repeated.weights = None
    model = small_model(mini_batch_size=1000, rescale_grad=0.01, shuffle=False, epochs=1, factors_wd=0.0, linear_wd=0.0)
    backend = backend_for("cpu")
    one, other = (train(model, load(b, model.hyperparameters, backend), backend) for b in (batch, repeated))
    np.testing.assert_allclose(one.factors, other.factors, rtol=1e-4, atol=1e-6)
    assert one.info["epochs"][0]["train"]["logloss"] == pytest.approx(other.info["epochs"][0]["train"]["logloss"])


def test_early_stopping_returns_the_model_of_the_best_epoch():
    batch, backend = random_rows(200, 100), backend_for("cpu")
    h = {"feature_dim": 100, "epochs": 40, "mini_batch_size": 8, "linear_lr": 0.5, "factors_lr": 0.5}
    model = small_model(**h, early_stopping_patience=3)
    rows, test = batch.take(slice(0, 150)), batch.take(slice(150, 200))
    stopped = train(model, load(rows, model.hyperparameters, backend), backend, test=lambda: [test])
    records = stopped.info["epochs"]
    losses = [record["test"]["logloss"] for record in records]
    best = int(np.argmin(losses))
    assert stopped.info["best_epoch"] == best + 1
    assert len(records) == best + 1 + 3 < 40
    shorter = small_model(**{**h, "epochs": best + 1})
    assert same(stopped, train(shorter, load(rows, shorter.hyperparameters, backend), backend))


def test_divergence_names_epoch_and_mini_batch():
    model = small_model("regressor", optimizer="sgd", linear_lr=1e6, factors_lr=1e6, mini_batch_size=5, epochs=5)
    backend = backend_for("cpu")
    data = load(random_rows(50, classes=False), model.hyperparameters, backend)
    with pytest.raises(DivergedError, match=r"not finite in epoch 1, mini-batch \d+ of 10; the largest score"):
        train(model, data, backend)


def test_observers_are_given_every_row_and_epoch():
    class Listener(Observer):
        def __init__(self):
            self.count, self.records = 0, []

        def rows(self, count):
            self.count += count

        def epoch(self, record):
            self.records.append(record)

    listener, backend, model = Listener(), backend_for("cpu"), small_model("regressor", epochs=2)
    batch = random_rows(30, classes=False)
    data = load(batch, model.hyperparameters, backend)
    trained = train(model, data, backend, test=lambda: [batch], observer=listener)
    assert listener.count == 60
    assert [r["epoch"] for r in listener.records] == [1, 2]
    assert set(listener.records[0]) == {"epoch", "train", "test", "seconds", "rows_per_second"}
    assert set(listener.records[0]["test"]) == {"rmse", "mse", "mae"}
    assert [set(r) for r in trained.info["epochs"]] == [{"epoch", "train", "test"}] * 2


@pytest.mark.usefixtures("small_blocks")
def test_a_control_stops_training_between_blocks_but_not_before_the_end_of_an_epoch():
    model, backend = small_model(epochs=2, mini_batch_size=10), backend_for("cpu")
    data = load(random_rows(150), model.hyperparameters, backend)
    sizes = [len(block.batch) for block in data._kept]
    assert len(sizes) > 2
    asked = []
    full = train(model, data, backend, control=Control(lambda: asked.append(True)))
    assert "stopped" not in full.info
    assert len(asked) == 2 * len(sizes)  # before each epoch, and after each of its blocks but the last
    for number in range(1, len(asked) + 1):
        answers = iter([False] * (number - 1) + [True])
        epoch, trained = divmod(number - 1, len(sizes))
        if number == 1:
            with pytest.raises(StoppedError, match="no model to save"):
                train(model, data, backend, control=Control(answers.__next__))
            continue
        stopped = train(model, data, backend, control=Control(answers.__next__))
        assert stopped.info["stopped"] == {"epoch": epoch + 1, "rows": sum(sizes[:trained])}
        assert len(stopped.info["epochs"]) == epoch


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_resumed_from_any_saved_state_gives_the_same_model(optimizer):
    class Saving(Control):
        def __init__(self, begin=None):
            super().__init__()
            self.first, self.states = begin, []

        def begin(self, model, dataset, *, tested):
            return self.first or super().begin(model, dataset, tested=tested)

        def save(self, state):
            state = state()
            self.states.append(replace(state, epochs=list(state.epochs)))

    batch, backend = random_rows(120), backend_for("cpu")
    batch.values *= 100  # so that features are scaled
    model = small_model(epochs=4, mini_batch_size=16, optimizer=optimizer, linear_lr=1e-3, factors_lr=1e-3)
    data, saving = load(batch, model.hyperparameters, backend), Saving()
    whole = train(model, data, backend, control=saving)
    assert [len(state.epochs) for state in saving.states] == [1, 2, 3, 4]
    for state in saving.states:
        again = train(model, data, backend, control=Saving(state))
        assert same(whole, again)
        assert whole.info == again.info


def test_training_without_rows_is_an_error():
    with pytest.raises(DataError, match="no rows to train on"):
        Dataset(lambda: iter(()), small_model().hyperparameters, lambda b: b, 1).load()


def test_rows_in_memory_of_weight_0_alone_are_refused():
    batch = random_rows(40, 3)
    nothing = replace(batch, weights=np.zeros(40, np.float32))
    h = resolve(predictor_type="regressor", epochs=1)
    with pytest.raises(DataError, match="all rows have weight 0; training needs rows of positive weight"):
        api.fit(nothing, h)
    with pytest.raises(DataError, match="all rows have weight 0; metrics need a positive one"):
        api.fit(batch, h, test=nothing)


def test_prefetch_keeps_order_passes_errors_on_and_ends_its_thread():
    closed = []

    def numbers():
        try:
            yield from range(3)
            raise ValueError("after three")
        finally:
            closed.append(True)

    with prefetch(numbers()) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="after three"):
            next(items)
    with prefetch(numbers()) as items:
        assert next(items) == 0
    assert closed == [True, True]
    with prefetch(iter(())) as items:
        assert list(items) == []


def test_prefetch_wakes_up_what_may_wait_for_ever():
    woken = threading.Event()

    def waiting():
        yield 0
        woken.wait(LIMIT)

    with prefetch(waiting(), cancel=woken.set) as items:
        assert next(items) == 0
    assert woken.is_set()


def test_dataset_prefetches_streamed_blocks(monkeypatch):
    used = []
    monkeypatch.setattr(dataset, "prefetch", lambda items: used.append(True) or prefetch(items))
    model, backend = small_model(epochs=1), backend_for("cpu")
    train(model, load(random_rows(30), model.hyperparameters, backend, 1), backend)
    assert used


def test_the_linear_schedule_scales_each_epochs_learning_rates():
    rates = []
    backend, model = backend_for("cpu"), small_model(epochs=4, lr_schedule="linear")
    trainer_of = backend.trainer

    def spied(given):
        trainer = trainer_of(given)
        trained = trainer.train
        trainer.train = lambda block, turns, *lr: rates.append(lr) or trained(block, turns, *lr)
        return trainer

    backend.trainer = spied
    train(model, load(random_rows(30), model.hyperparameters, backend), backend)
    assert rates == [(1, 0), (0.75, 0), (0.5, 0), (0.25, 0)]

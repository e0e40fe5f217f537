"""Backends and their trainers keep to the protocols of fmcore.kernels, by whatever name they are asked for."""

import inspect

import numpy as np
import pytest
from rows import DEVICES, PENALTIES, block_of, random_rows, small_model, with_evidence

from fmcore import api
from fmcore.errors import UsageError
from fmcore.hyper.presets import resolve
from fmcore.kernels import Backend, SharedBackend, SharedTrainer, Trainer, backend_for, shared_backend
from fmcore.kernels.reference import ReferenceBackend
from fmcore.optimizers import OPTIMIZERS
from fmcore.optimizers.state import ROWS, TOTALS
from fmcore.rows.blocks import Counts

DENSE = random_rows(60, 12, seed=3)
SHARED = {"cpu": shared_backend, "reference": ReferenceBackend}


def methods(contract):
    """Return the names of what a protocol and those it extends define."""
    return {name for kind in contract.__mro__ for name in vars(kind) if not name.startswith("_")} - {"name", "note"}


def parameters(owner, name):
    """Return the names of a method's parameters; [] for what is no method."""
    member = inspect.getattr_static(owner, name, None)
    return list(inspect.signature(member).parameters) if inspect.isfunction(member) else []


def keeps_to(contract, thing):
    """Fail where an object lacks what a protocol states, or a method takes its arguments by other names."""
    for name in methods(contract):
        assert hasattr(thing, name), name
        stated = parameters(contract, name)
        assert parameters(type(thing), name)[: len(stated)] == stated, name


@pytest.mark.parametrize("name", ["reference", "cpu", "auto", *DEVICES])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_backend_keeps_to_the_contract_and_so_does_its_trainer(name, penalty):
    backend, model = backend_for(name), with_evidence(small_model(feature_dim=12, **PENALTIES[penalty]), DENSE)
    keeps_to(Backend, backend)
    assert isinstance(backend.name, str)
    assert isinstance(backend.note, str | None)
    assert backend.threads == 1
    expected = backend_for("reference").score(DENSE, model)
    np.testing.assert_allclose(backend.score(DENSE, model), expected, rtol=1e-4, atol=1e-5)
    block, trainer = backend.prepare(block_of(DENSE, 60)), backend.trainer(model)
    keeps_to(Trainer, trainer)
    scores, losses = trainer.train(block, np.array([0]))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert (losses.dtype, losses.shape) == (np.float32, (60,))


@pytest.mark.parametrize("name", ["reference", "cpu", "auto", *DEVICES])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_snapshot_holds_the_state_of_its_table_and_what_the_rows_tell(name, optimizer, penalty):
    model = with_evidence(small_model(feature_dim=12, optimizer=optimizer, **PENALTIES[penalty]), DENSE)
    backend, table = backend_for(name), model.state_table()
    trainer = backend.trainer(model)
    trainer.train(backend.prepare(block_of(DENSE, 7)), np.arange(9))
    state = trainer.snapshot().state
    assert state.keys() == table.keys()
    assert [key for key, spec in table.items() if not (spec.fits(state[key]) and spec.holds(state[key]))] == []
    for key in {ROWS, TOTALS} & table.keys():
        np.testing.assert_array_equal(state[key], model.state[key])


@pytest.mark.parametrize("name", ["reference", "cpu", "auto", *DEVICES])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_rows_that_a_trainer_is_told_of_count_from_then_on(name, penalty):
    """A feature and the bias decay less; of the rows themselves it knows nothing."""
    model = with_evidence(small_model(feature_dim=12, **PENALTIES[penalty]), DENSE)
    counts = Counts(np.array([3, 8], np.int32), np.array([100.0, 0.5], np.float32), 200.0)
    backend, results = backend_for(name), []
    for told in (backend, backend_for("reference")):
        trainer = told.trainer(model)
        trainer.count(counts)
        trainer.train(told.prepare(block_of(DENSE, 7)), np.arange(9))
        results.append(trainer.snapshot())
    for key, tensor in results[1].tensors().items():
        np.testing.assert_allclose(results[0].tensors()[key], tensor, rtol=2e-4, atol=2e-5, err_msg=key)
    if ROWS in model.state:
        more = results[0].state[ROWS] - model.state[ROWS]
        assert more.tolist() == [100 if i == 3 else 0.5 if i == 8 else 0 for i in range(12)]
        assert results[0].state[TOTALS].tolist() == [260, 1]


def test_auto_without_rows_takes_the_first_gpu_else_what_rows_choose():
    from fmcore.kernels.devices import AutoBackend

    def found(name, threads):
        if name == "cuda":
            raise UsageError("there is no GPU; name another device")
        return backend_for(name, threads)

    model = small_model(feature_dim=12)
    backend = AutoBackend(found, 1)
    np.testing.assert_array_equal(backend.trainer(model).score(DENSE), backend_for("cpu").score(DENSE, model))


@pytest.mark.parametrize("name", SHARED)
def test_backends_of_teams_keep_to_the_contract_and_so_do_their_trainers(name):
    backend = SHARED[name]()
    keeps_to(SharedBackend, backend)
    keeps_to(SharedTrainer, backend.trainer(small_model()))


def test_threads_of_none_are_all_processors_and_the_same_model():
    h = resolve("native", predictor_type="binary_classifier", epochs=1)
    one, every = (api.fit(random_rows(200), h, resources=api.Resources(threads)) for threads in (1, None))
    assert all(np.array_equal(array, every.tensors()[name]) for name, array in one.tensors().items())

"""Learning rates: by epoch or from mini-batch to mini-batch, to 0 at the end, however rows are cut into slices."""

from itertools import pairwise

import numpy as np
import pytest
from fits import begun, train
from rows import block_of, random_rows, small_model

from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.objectives import OBJECTIVES
from fmcore.rows import blocks, slices
from fmcore.rows.scaling import Scaling
from fmcore.solvers.epoch import Epoch, Whole, lr_factor


def hyperparameters(schedule, epochs=4):
    return resolve(predictor_type="regressor", lr_schedule=schedule, epochs=epochs)


def test_a_cosine_falls_from_1_to_0_over_all_epochs():
    h = hyperparameters("cosine")
    found = [lr_factor(h, epoch, share) for epoch in range(4) for share in (0, 0.5)]
    np.testing.assert_allclose(found, 0.5 + 0.5 * np.cos(np.pi * np.arange(8) / 8), rtol=1e-12)
    assert (found[0], found[4]) == (1, pytest.approx(0.5))
    assert lr_factor(h, 3, 1.0) == pytest.approx(0, abs=1e-15)
    assert lr_factor(h, 0, 1.0) == lr_factor(h, 1, 0.0)


@pytest.mark.parametrize(("schedule", "rates"), [("constant", [1, 1, 1, 1]), ("linear", [1, 0.75, 0.5, 0.25])])
def test_other_schedules_keep_a_rate_within_an_epoch(schedule, rates):
    h = hyperparameters(schedule)
    for share in (0, 0.3, 1):
        assert [lr_factor(h, epoch, share) for epoch in range(4)] == rates
    assert Epoch(1, 0, 0.5, h).rates(0.25, 0.75) == (0.5 * rates[1], 0)


def test_rows_beyond_those_of_the_first_pipe_are_trained_at_the_rate_of_the_last_of_them():
    whole = Whole(40, Scaling(), OBJECTIVES["regressor"])
    assert [whole.share(rows) for rows in (0, 10, 40, 41, 90)] == [0, 0.25, 1, 1, 1]
    assert whole._replace(before=30).share(5) == 0.875
    assert whole._replace(rows=None).share(5) == 0
    assert Epoch(3, 0, 1.0, hyperparameters("cosine")).rates(1.0, 1.0) == (0, 0)


def test_halved_rates_of_later_trainings_fall_as_far():
    begin, fall = Epoch(3, 7, 0.125, hyperparameters("cosine")).rates(0.0, 1.0)
    assert begin == pytest.approx(0.125 * lr_factor(hyperparameters("cosine"), 3))
    assert begin - fall == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("slice_rows", [10, 25, 1000])
def test_a_training_by_the_recipe_ends_at_0_without_a_jump(monkeypatch, slice_rows):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 40)
    monkeypatch.setattr(slices, "ROWS", slice_rows)
    backend, seen = backend_for("cpu"), []
    dataset, model = begun(
        random_rows(95), resolve(predictor_type="binary_classifier", epochs=3, mini_batch_size=5), backend
    )
    trainer_of = backend.trainer

    def spied(given):
        trainer = trainer_of(given)
        trained = trainer.train
        trainer.train = lambda block, order, lr, fall: seen.append((lr, lr - fall)) or trained(block, order, lr, fall)
        return trainer

    backend.trainer = spied
    train(model, dataset, backend)
    assert seen[0][0] == 1
    assert seen[-1][1] == pytest.approx(0, abs=1e-12)
    assert all(end == pytest.approx(begin) for (_, end), (begin, _) in pairwise(seen))
    assert all(begin > end for begin, end in seen)
    assert len(seen) >= (9 if slice_rows == 1000 else 12)


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_each_mini_batch_of_a_pass_has_a_rate_of_its_own(name):
    batch, backend = random_rows(40), backend_for(name)
    block = backend.prepare(block_of(batch, 10))
    at_once, one_by_one = (backend.trainer(small_model()) for _ in range(2))
    at_once.train(block, np.array([2, 0, 3, 1]), 1.0, 0.5)
    for step, number in enumerate((2, 0, 3, 1)):
        one_by_one.train(block, np.array([number]), 1.0 - 0.125 * step, 0.3)  # whose first rate is all of it
    for tensor, array in one_by_one.snapshot().tensors().items():
        np.testing.assert_allclose(at_once.snapshot().tensors()[tensor], array, rtol=1e-5, atol=1e-7)

"""Training that leaves the finite numbers: reported with its place and never published, or repeated at lower rates."""

import numpy as np
import pytest
from fits import train
from rows import random_rows, small_model
from shell import last_line, libsvm_rows

from fmcore.errors import DivergedError
from fmcore.kernels import backend_for
from fmcore.model import file as modelfile
from fmcore.rows.dataset import Dataset
from fmcore.solvers.observer import Observer
from fmcore.training.loop import HALVINGS

REGRESSOR = ("--predictor-type", "regressor", "--optimizer", "sgd")
WILD = (*REGRESSOR, "--linear-lr", 8, "--factors-lr", 8, "--bias-lr", 1, "--lr-schedule", "constant")
HALVE = ("--on-divergence", "halve-lr")


class Halvings(Observer):
    def __init__(self):
        self.halvings = []

    def halved(self, error, epoch, factor):
        self.halvings.append((epoch, factor))
        assert "not finite" in error.what or "finite numbers only" in error.what


def trained(rows=None, *, test=None, observer=None, **hyperparameters):
    rows = random_rows(50, classes=False) if rows is None else rows
    model = small_model("regressor", **{"optimizer": "sgd", "mini_batch_size": 5, **hyperparameters})
    backend = backend_for("cpu")
    data = Dataset(lambda: [rows], model.hyperparameters, backend.prepare, 1e9).load()
    return train(model, data, backend, test=test, observer=observer)


# ----------------------------------------------------------------------------------------------------------- to fail
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("limit", [(), ("--memory-limit", 1)])
def test_an_infinite_loss_is_reported_with_its_place_and_nothing_is_published(fm, threads, limit):
    fm.write("x.svm", libsvm_rows(2000, 1, classes=False))
    fm.write("x.fm", "old")
    said = fm("train", "x.svm", *WILD, "-o", "x.fm", "--checkpoint", "c", "--threads", threads, *limit, code=5).err
    assert last_line(said).startswith("fm: the loss is not finite in epoch 1, mini-batch ")
    assert last_line(said).endswith("; lower the learning rates, scale the features, or set clip_gradient")
    assert "; the largest score before was " in said
    assert (fm.files(), fm.read("x.fm")) == (["x.fm", "x.svm"], b"old")


def test_divergence_names_the_first_bad_mini_batch_of_any_slice(monkeypatch):
    """One mini-batch has a row of a huge value; the order is that of the rows."""
    monkeypatch.setattr("fmcore.rows.slices.ROWS", 15)
    rows = random_rows(50, classes=False)
    rows.values[rows.indptr[33] : rows.indptr[34]] = 3e30
    assert rows.indptr[33] < rows.indptr[34]
    with pytest.raises(DivergedError, match=r"epoch 1, mini-batch 7 of 10; the largest score before was [\d.]+;"):
        trained(rows, shuffle=False, feature_scaling="none", linear_lr=1e-3, factors_lr=1e-3)


def test_an_infinite_weight_that_no_later_score_shows_ends_training(fm):
    """The scores of the only mini-batch are finite, and its step goes beyond float32."""
    fm.write("x.svm", "1 0:1 3:1\n" * 4)
    options = (
        *REGRESSOR,
        "--epochs",
        1,
        "--linear-lr",
        3e38,
        "--bias-lr",
        0,
        "--bias-init-method",
        "constant",
        "--bias-init-value",
        1000,
        "-o",
        "x.fm",
    )
    said = fm("train", "x.svm", *options, code=5).err
    assert last_line(said).startswith("fm: in epoch 1, linear[0] is -inf, and a model holds finite numbers only; lower")
    said = fm("train", "x.svm", *options, "--checkpoint", "c", code=5).err
    assert last_line(said).startswith("fm: in epoch 1, linear[0] is -inf")
    assert fm.files() == ["x.svm"]


def test_an_infinite_score_of_a_test_row_ends_training():
    test = random_rows(5, classes=False)
    test.values[:] = 3e38
    with pytest.raises(DivergedError, match=r"^in epoch 1, the score of row \d is "):
        trained(test=lambda: [test])


# ---------------------------------------------------------------------------------------------------------- to halve
def test_training_with_halved_rates_gives_the_model_of_those_rates(fm):
    """Only the first epoch diverges, so the model is that of a training with those rates from the start."""
    fm.write("x.svm", libsvm_rows(300, 1, classes=False))
    said = fm("train", "x.svm", *WILD, *HALVE, "--epochs", 3, "-o", "a.fm").err
    model = modelfile.load(fm.folder / "a.fm", verify=True)
    halvings = model.info["halved"]
    assert halvings
    assert set(halvings) == {1}
    factor = 0.5 ** len(halvings)
    assert f"epoch 1 begins again, with learning rates of {factor:g} times those given" in said
    assert said.count(" begins again, ") == len(halvings)
    fm(
        "train",
        "x.svm",
        *REGRESSOR,
        "--lr-schedule",
        "constant",
        "--linear-lr",
        8 * factor,
        "--factors-lr",
        8 * factor,
        "--bias-lr",
        factor,
        "--epochs",
        3,
        "-o",
        "b.fm",
    )
    plain = modelfile.load(fm.folder / "b.fm")
    assert "halved" not in plain.info
    assert model.factors.tolist() == plain.factors.tolist()
    assert model.info["epochs"] == plain.info["epochs"]
    assert model.hyperparameters.linear_lr == 8


@pytest.mark.parametrize("log_format", ["table", "jsonl", "sagemaker"])
def test_every_log_format_reports_halved_rates(fm, log_format):
    fm.write("x.svm", libsvm_rows(300, 1, classes=False))
    said = fm("train", "x.svm", *WILD, *HALVE, "--epochs", 2, "-o", "x.fm", "--log-format", log_format).err
    assert "epoch 1 begins again, with learning rates of 0.5 times those given" in said
    assert fm("train", "x.svm", *WILD, *HALVE, "--epochs", 2, "-o", "x.fm", "--quiet").err == ""


def test_divergence_in_a_later_epoch_goes_back_to_the_model_before_it():
    """A spy on the trainer makes a loss of the second epoch infinite; the rows themselves do not diverge."""
    backend, watch, calls = backend_for("cpu"), Halvings(), []
    rows = random_rows(50)
    model = small_model(epochs=3, mini_batch_size=5, on_divergence="halve-lr", lr_schedule="constant")
    data = Dataset(lambda: [rows], model.hyperparameters, backend.prepare, 1e9).load()
    trainer_of = backend.trainer

    def spied(given):
        trainer = trainer_of(given)
        original = trainer.train

        def once_bad(block, order, lr, fall):
            calls.append(lr)
            scores, losses = original(block, order, lr, fall)
            return scores, losses * np.float32(np.nan if len(calls) == 2 else 1)

        trainer.train = once_bad
        return trainer

    backend.trainer = spied
    found = train(model, data, backend, observer=watch)
    assert (calls, watch.halvings, found.info["halved"]) == ([1, 1, 0.5, 0.5], [(2, 0.5)], [2])
    assert len(found.info["epochs"]) == 3
    backend.trainer = trainer_of
    first = train(small_model(epochs=1, mini_batch_size=5, lr_schedule="constant"), data, backend)
    assert found.info["epochs"][0] == first.info["epochs"][0]


def test_an_infinite_weight_that_no_later_score_shows_is_found_at_the_epochs_end(fm):
    fm.write("x.svm", "1 0:1 3:1\n" * 4)
    fm(
        "train",
        "x.svm",
        *REGRESSOR,
        *HALVE,
        "--epochs",
        1,
        "--linear-lr",
        5e36,
        "--factors-lr",
        0,
        "--bias-lr",
        0,
        "--bias-init-method",
        "constant",
        "--bias-init-value",
        1000,
        "-o",
        "x.fm",
    )
    model = modelfile.load(fm.folder / "x.fm", verify=True)
    assert model.info["halved"]
    assert np.abs(model.linear).max() > 1e38


def test_training_ends_after_ten_halvings():
    rows, watch = random_rows(50, classes=False), Halvings()
    rows.labels[3] = np.float32(3e38)
    with pytest.raises(DivergedError, match=f"; the learning rates were halved {HALVINGS} times before$"):
        trained(rows, on_divergence="halve-lr", observer=watch)
    assert watch.halvings == [(1, 0.5**n) for n in range(1, HALVINGS + 1)]


def test_halving_is_refused_for_rows_from_a_pipe(fm):
    said = fm("train", "--input-mode", "pipe", "--train", "x", *REGRESSOR, *HALVE, "-o", "x.fm", code=2).err
    assert said == (
        "fm: on_divergence is halve-lr, which trains an epoch again, but the rows of a pipe come once; "
        "give files, or use fail\n"
    )

"""Rows that are held out of those to train on, and tested on after each epoch: which, and where that is refused."""

from dataclasses import replace

import numpy as np
import pytest
from generated import interacting
from shell import libsvm_rows

from fmcore import api
from fmcore.errors import UsageError
from fmcore.hyper.presets import resolve
from fmcore.objectives import objective_of
from fmcore.rows.batch import concatenate
from fmcore.rows.parts import Split
from fmcore.rows.source import MemoryRows

BATCH = interacting(600, "binary_classifier")


def hyperparameters(**given):
    return resolve(predictor_type="binary_classifier", **{"epochs": 3, "num_factors": 4, **given})


@pytest.mark.parametrize("given", [{}, {"early_stopping_patience": 1, "epochs": 8}])
def test_held_out_rows_are_tested_on_and_the_others_trained_on(given):
    held = Split(0.2, 5).held_out(BATCH)
    assert 60 < held.sum() < 180
    train, test = (BATCH.take(np.flatnonzero(some)) for some in (~held, held))
    found = api.fit(BATCH, hyperparameters(validation_fraction=0.2, seed=5, **given))
    expected = api.fit(train, hyperparameters(seed=5, **given), test=test)
    assert found.info == expected.info
    assert "test" in found.info["epochs"][0]
    assert ("best_epoch" in found.info) is bool(given)
    for name, array in expected.tensors().items():
        np.testing.assert_array_equal(found.tensors()[name], array, err_msg=name)


def test_nothing_is_held_out_unless_it_is_asked_for():
    model = api.fit(BATCH, hyperparameters())
    assert model.info["rows"] == 600
    assert list(model.info["epochs"][0]) == ["epoch", "train"]


def test_files_are_held_out_of_by_their_features_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = libsvm_rows(300, 1).splitlines(keepends=True)
    (tmp_path / "a.svm").write_text("".join(lines))
    (tmp_path / "b.svm").write_text("".join(lines[:100]))
    (tmp_path / "c.svm").write_text("".join(lines[100:]))
    h = hyperparameters(validation_fraction=0.3)
    for name, files in (("one.fm", ["a.svm"]), ("two.fm", ["b.svm", "c.svm"])):
        api.train(api.Data(files), h, name)
    one, two = (api.load(name) for name in ("one.fm", "two.fm"))
    assert one.info["epochs"] == two.info["epochs"]
    assert 150 < one.info["rows"] < 260


@pytest.mark.parametrize(("fraction", "which"), [(0.01, "none"), (0.9, "all")])
def test_a_fraction_that_leaves_no_rows_to_train_or_to_test_on_is_refused(fraction, which):
    batch = BATCH.take(np.zeros(50, int))  # one row, many times
    with pytest.raises(UsageError, match=f"validation_fraction {fraction} holds out {which} of the rows of .*: a hash"):
        api.fit(batch, hyperparameters(validation_fraction=fraction, seed=1))


def test_copies_of_a_row_are_never_on_both_sides():
    doubled = concatenate([BATCH, replace(BATCH, labels=1 - BATCH.labels)])
    rows, labels = MemoryRows(doubled), objective_of("binary_classifier")
    held = Split(0.2).held_out(concatenate(list(rows.read(labels))))
    np.testing.assert_array_equal(held[:600], held[600:])


def test_test_rows_and_pipes_are_refused(tmp_path):
    h = hyperparameters(validation_fraction=0.2)
    with pytest.raises(UsageError, match="holds out rows to test on, but test rows are given; leave one of them out"):
        api.fit(BATCH, h, test=BATCH)
    piped = MemoryRows(BATCH)
    piped.rereadable = False
    with pytest.raises(UsageError, match="takes rows that can be read twice"):
        api.fit(piped, h)
    with pytest.raises(
        UsageError, match=r"early_stopping_patience needs test rows, but none are given; .*hold some out"
    ):
        api.fit(BATCH, hyperparameters(early_stopping_patience=2))

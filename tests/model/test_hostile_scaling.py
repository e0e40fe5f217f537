"""Scales and ranges in model files from strangers: refused in a sentence where they cannot be used."""

import numpy as np
import pytest
from rows import random_rows
from shell import libsvm_rows

from fmcore import api
from fmcore.errors import ModelError
from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Return a model of a regressor whose columns are centred and scaled, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    batch = random_rows(80, 6, classes=False)
    batch.values *= 40
    model = api.fit(batch, resolve(predictor_type="regressor", epochs=1, num_factors=2))
    assert model.state.keys() >= {"feature_scale", "label_scale"}
    return model


@pytest.mark.parametrize(
    "ends", [[1], [1, 2, 3], "12", [1, "2"], [None, 1], [2, 1], [1, True], {"0": 1, "1": 2}, 3, [0, 10**400]]
)
def test_a_range_of_scores_that_is_none_is_refused_by_every_command(fm, model, ends):
    fm.write("x.svm", libsvm_rows(20, 1, classes=False))
    model.info["label_range"] = ends
    modelfile.save(model, fm.folder / "m.fm")
    for command in ("predict", "eval"):
        assert "m.fm: damaged: label_range is " in fm(command, "m.fm", "x.svm", code=4).err
    assert "m.fm: damaged: label_range is " in fm("train", "x.svm", "--init-model", "m.fm", "-o", "n.fm", code=4).err


@pytest.mark.parametrize("ends", [None, [1, 1], [0, 0.5], [-3.5, 2]])
def test_a_range_of_scores_is_kept_to(model, ends):
    model.info["label_range"] = ends
    modelfile.save(model, "m.fm")
    (scores,) = [api.load("m.fm").info["label_range"]]
    assert scores == ends


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("feature_scale", np.ones(5, np.float32), r"its feature_scale is float32 \(5,\)"),
        ("feature_scale", np.ones(6), r"its feature_scale is float64 \(6,\)"),
        ("feature_scale", np.zeros(6, np.float32), "it divides by numbers that are not above 0"),
        ("feature_mean", np.ones((6, 1), np.float32), r"its feature_mean is float32 \(6, 1\)"),
        ("label_scale", np.ones(3), r"its label_scale is float64 \(3,\)"),
        ("label_scale", np.array([1.0, 0]), "it divides by numbers"),
        ("label_scale", np.array([1.0, -2]), "it divides by numbers"),
        ("evidence.rows", np.ones(5, np.float32), r"its evidence.rows is float32 \(5,\)"),
        ("variance.factors", np.ones(7, np.float32), r"its variance.factors is float32 \(7,\)"),
        ("evidence.totals", np.ones(1), r"its evidence.totals is float64 \(1,\)"),
    ],
)
def test_a_state_that_cannot_be_continued_from_is_refused(model, name, array, said):
    model.state[name] = array
    h, _ = api.continued(model, {"epochs": 1}, {})
    with pytest.raises(ModelError, match=f"^cannot warm-start: the model is damaged: {said}"):
        api.fit(random_rows(80, 6, classes=False), h, initial_model=model)


def test_evidence_in_a_model_of_the_first_version_is_no_surprise(model):
    first = api.fit(random_rows(80, 6, classes=False), resolve("native-1", predictor_type="regressor", num_factors=2))
    first.state["evidence.rows"] = np.ones(2, np.float32)
    h, _ = api.continued(first, {"epochs": 1, "penalty": "rows"}, {})
    with pytest.raises(ModelError, match=r"its evidence.rows is float32 \(2,\)"):
        api.fit(random_rows(80, 6, classes=False), h, initial_model=first)

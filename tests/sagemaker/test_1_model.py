"""SageMaker's contract, section 1: the model, its scores and its metrics."""

import itertools
import json
import math

import numpy as np
import pytest
from shell import Shell, libsvm_rows
from sklearn import metrics

from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile
from fmcore.model.model import initial

TYPES = ("regressor", "binary_classifier")
STRONG = (
    "num_factors=3",
    "epochs=20",
    "mini_batch_size=20",
    "linear_lr=0.05",
    "factors_lr=0.05",
    "factors_init_sigma=0.5",
)  # so that every term of the formula counts
ZEROS = {f"{group}_init_method": "constant" for group in ("bias", "linear", "factors")}


@pytest.fixture(scope="module", params=TYPES)
def trained(request, tmp_path_factory):
    """Return (the command in its folder, predictor type, rows as pairs of label and dict, the trained model)."""
    fm, classes = Shell(tmp_path_factory.mktemp("model")), request.param == "binary_classifier"
    fm.write("train.svm", libsvm_rows(200, 1, classes=classes))
    path = fm.write("test.svm", libsvm_rows(100, 2, classes=classes))
    chosen = [word for pair in (f"predictor_type={request.param}", *STRONG) for word in ("-p", pair)]
    fm("train", "train.svm", "--preset", "sagemaker", *chosen, "-o", "x.fm", "-q")
    return fm, request.param, rows_of(path.read_text()), modelfile.load(fm.folder / "x.fm")


def rows_of(text):
    fields = [line.split() for line in text.splitlines()]
    return [
        (float(label), {int(i): float(x) for i, x in (pair.split(":") for pair in pairs)}) for label, *pairs in fields
    ]


def formula(model, row):
    """Return y(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j, pair by pair; and the pairs' part of it."""
    w, v = model.linear.astype(float), model.factors.astype(float)
    pairs = sum(float(v[i] @ v[j]) * row[i] * row[j] for i, j in itertools.combinations(row, 2))
    return float(model.bias[0]) + sum(w[i] * x for i, x in row.items()) + pairs, pairs


def test_scores_are_the_formula_of_second_order(trained):
    fm, predictor_type, rows, model = trained
    raw = [formula(model, row)[0] for _, row in rows]
    expected = raw if predictor_type == "regressor" else [1 / (1 + math.exp(-y)) for y in raw]
    found = [float(line) for line in fm("predict", "x.fm", "test.svm").out.split()]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs([formula(model, row)[1] for _, row in rows]).max() > 0.1


def test_the_two_forms_of_the_formula_are_equal(trained):
    """1/2 sum_f [(sum_i v_if x_i)^2 - sum_i v_if^2 x_i^2], as the developer guide has it, is the sum over pairs."""
    _, _, rows, model = trained
    for _, row in rows:
        terms = model.factors[list(row)].astype(float) * np.array(list(row.values()))[:, None]
        assert 0.5 * (terms.sum(0) ** 2 - (terms**2).sum(0)).sum() == pytest.approx(formula(model, row)[1], abs=1e-12)


def test_a_regressors_score_is_not_clipped(trained):
    fm, predictor_type, rows, model = trained
    if predictor_type == "regressor":
        largest = max(abs(label) for label, _ in rows)
        row = dict.fromkeys(range(4), 50.0)
        found = float(fm("predict", "x.fm", "-", stdin="0 " + " ".join(f"{i}:{x}" for i, x in row.items())).out)
        assert found == pytest.approx(formula(model, row)[0], rel=1e-4)
        assert abs(found) > 10 * largest


def test_the_predicted_label_is_1_from_a_score_of_one_half_on(trained):
    fm, predictor_type, _, _ = trained
    answers = [json.loads(line) for line in fm("predict", "x.fm", "test.svm", "--to", "jsonlines").out.splitlines()]
    if predictor_type == "regressor":
        assert all(answer.keys() == {"score"} for answer in answers)
    else:
        assert [answer["predicted_label"] for answer in answers] == [int(answer["score"] >= 0.5) for answer in answers]
        assert {answer["predicted_label"] for answer in answers} == {0, 1}


@pytest.mark.parametrize(("bias", "label"), [(0.0, 1), (1e-6, 1), (-1e-6, 0)])
def test_the_predicted_label_at_one_half_exactly(fm, bias, label):
    h = resolve(
        "sagemaker",
        predictor_type="binary_classifier",
        feature_dim=1,
        **ZEROS,
        bias_init_value=bias,
        factors_init_value=0.0,
    )
    modelfile.save(initial(h), fm.folder / "x.fm")
    answer = json.loads(fm("predict", "x.fm", "-", "--to", "jsonlines", stdin="0 0:1\n").out)
    assert answer == {"score": pytest.approx(0.5, abs=1e-6), "predicted_label": label}


def test_test_metrics_are_those_of_scikit_learn(trained):
    fm, predictor_type, rows, model = trained
    labels, raw = np.array([label for label, _ in rows]), np.array([formula(model, row)[0] for _, row in rows])
    found = json.loads(fm("eval", "x.fm", "test.svm", "--json").out)
    if predictor_type == "regressor":
        assert found["rmse"] == pytest.approx(metrics.mean_squared_error(labels, raw) ** 0.5, rel=1e-5)
    else:
        probabilities = 1 / (1 + np.exp(-raw))
        assert found["logloss"] == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-4)
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, probabilities >= 0.5))
        assert found["f1"] == pytest.approx(metrics.f1_score(labels, probabilities >= 0.5))


def test_training_lowers_the_loss_of_its_predictor_type(trained):
    """The train metric of the epochs is the root of the mean squared error, or the log loss, and training lowers it."""
    _, predictor_type, _, model = trained
    losses = [
        record["train"]["rmse" if predictor_type == "regressor" else "logloss"] for record in model.info["epochs"]
    ]
    assert losses[-1] < 0.8 * losses[0]

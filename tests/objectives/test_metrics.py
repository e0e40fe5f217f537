from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as judge

from fmcore.errors import DataError, DivergedError
from fmcore.objectives import objective_of
from fmcore.objectives.logistic import Classification
from fmcore.objectives.metrics import BLOCK
from fmcore.objectives.squared import Regression

SCORES = st.floats(-30, 30, width=32)


def measured(metrics, scores, labels, weights=None, cuts=()):
    edges = [0, *sorted(cuts), len(labels)]
    for start, stop in pairwise(edges):
        metrics.update(scores[start:stop], labels[start:stop], None if weights is None else weights[start:stop])
    return metrics.result()


@st.composite
def rows(draw, labels):
    n = draw(st.integers(1, 60))
    scores = draw(arrays(np.float32, n, elements=st.one_of(SCORES, st.sampled_from([0, -1, 0.5]))))
    weights = draw(st.none() | arrays(np.float32, n, elements=st.floats(0.125, 8, width=32)))
    return scores, draw(arrays(np.float32, n, elements=labels)), weights


@given(rows(SCORES))
def test_regression_is_scikit_learns(data):
    scores, labels, weights = data
    result = measured(Regression(), *data)
    exact = {"y_true": labels.astype(np.float64), "y_pred": scores.astype(np.float64), "sample_weight": weights}
    assert result["mse"] == pytest.approx(judge.mean_squared_error(**exact), rel=1e-12)
    assert result["rmse"] == pytest.approx(judge.mean_squared_error(**exact) ** 0.5, rel=1e-12)
    assert result["mae"] == pytest.approx(judge.mean_absolute_error(**exact), rel=1e-12)


@given(rows(st.sampled_from([0, 1])))
def test_classification_is_scikit_learns(data):
    scores, labels, weights = data
    result = measured(Classification(), *data)
    predicted = scores >= 0
    assert result["accuracy"] == pytest.approx(judge.accuracy_score(labels, predicted, sample_weight=weights))
    assert result["f1"] == pytest.approx(judge.f1_score(labels, predicted, sample_weight=weights, zero_division=0))
    chances = 1 / (1 + np.exp(-scores.astype(np.float64)))
    loss = judge.log_loss(labels, np.stack([1 - chances, chances], 1), sample_weight=weights, labels=[0, 1])
    assert result["logloss"] == pytest.approx(loss, rel=1e-3, abs=1e-12)  # the judge rounds 1 - chances
    if len(set(labels.tolist())) == 2:
        assert result["auc"] == pytest.approx(judge.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9)
    else:
        assert result["auc"] is None


@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_with_ties_are_scikit_learns(weighted):
    random = np.random.default_rng(5)
    n = 3 * BLOCK + 77
    scores = random.integers(-50, 50, n).astype(np.float32)
    labels = (random.random(n) < 1 / (1 + np.exp(-scores / 20))).astype(np.float32)
    weights = random.integers(0, 4, n).astype(np.float32) if weighted else None
    result = measured(Classification(), scores, labels, weights, cuts=[10, BLOCK + 1])
    kept = np.ones(n, bool) if weights is None else weights > 0
    known = judge.roc_auc_score(labels[kept], scores[kept], sample_weight=None if weights is None else weights[kept])
    assert result["auc"] == pytest.approx(known, abs=1e-12)
    assert result["f1"] == pytest.approx(judge.f1_score(labels, scores >= 0, sample_weight=weights))


@settings(max_examples=40)
@given(st.data(), st.sampled_from(["regressor", "binary_classifier"]), st.integers(0, 2**32 - 1), st.booleans())
def test_the_cut_into_batches_changes_no_bit(data, predictor_type, seed, weighted):
    random = np.random.default_rng(seed)
    n = data.draw(st.sampled_from([1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]))
    scores = (random.normal(size=n) * 10).astype(np.float32)
    labels = (random.random(n) < 0.5).astype(np.float32)
    weights = random.random(n).astype(np.float32) if weighted else None
    cuts = data.draw(st.lists(st.integers(0, n), max_size=6))
    whole = measured(objective_of(predictor_type).metrics(), scores, labels, weights)
    assert measured(objective_of(predictor_type).metrics(), scores, labels, weights, cuts) == whole
    assert measured(objective_of(predictor_type).metrics(), scores, labels, weights, range(0, n, 257)) == whole


def test_an_intermediate_result_changes_no_later_one():
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(2, 2 * BLOCK)).astype(np.float32)
    labels = (labels > 0).astype(np.float32)
    metrics = Classification()
    for start in range(0, len(scores), 1000):
        metrics.update(scores[start : start + 1000], labels[start : start + 1000])
        assert metrics.result() == measured(Classification(), scores[: start + 1000], labels[: start + 1000])
    assert metrics.rows == 2 * BLOCK


def test_weights_of_one_are_no_weights_and_a_weight_of_two_is_the_row_twice():
    scores, labels = np.array([1, -2, 0.5, -1], np.float32), np.array([1, 1, 0, 0], np.float32)
    ones = measured(Classification(), scores, labels, np.ones(4, np.float32))
    assert ones == measured(Classification(), scores, labels)
    twice = measured(Classification(), scores, labels, np.array([1, 2, 1, 1], np.float32))
    rows = [0, 1, 1, 2, 3]
    assert twice == pytest.approx(measured(Classification(), scores[rows], labels[rows]), rel=1e-15)


def test_weights_may_come_with_only_some_batches():
    metrics = Regression()
    metrics.update(np.array([1], np.float32), np.array([0], np.float32))
    metrics.update(np.array([2], np.float32), np.array([0], np.float32), np.array([3], np.float32))
    assert metrics.result()["mse"] == (1 + 3 * 4) / 4


def test_logloss_of_extreme_scores_is_neither_infinite_nor_rounded_to_zero():
    scores, labels = np.array([3e38, -3e38], np.float32), np.array([1, 0], np.float32)
    assert measured(Classification(), scores, labels)["logloss"] == 0
    assert measured(Classification(), scores, 1 - labels)["logloss"] == pytest.approx(3e38)
    surely = measured(Classification(), np.array([40], np.float32), np.array([1], np.float32))
    assert surely["logloss"] == pytest.approx(np.exp(-40.0), rel=1e-12)


@pytest.mark.parametrize(("score", "label", "f1"), [(-1, 0, 0.0), (1, 0, 0.0), (-1, 1, 0.0), (1, 1, 1.0), (0, 1, 1.0)])
def test_one_class_alone_has_an_f1_and_no_auc(score, label, f1):
    result = measured(Classification(), np.array([score], np.float32), np.array([label], np.float32))
    assert (result["f1"], result["auc"]) == (f1, None)


def test_auc_may_be_left_out_and_then_nothing_is_kept():
    metrics = objective_of("binary_classifier").metrics(auc=False)
    result = measured(metrics, np.zeros(3 * BLOCK, np.float32), np.zeros(3 * BLOCK, np.float32))
    assert list(result) == ["logloss", "accuracy", "f1"]


def test_early_stopping_goes_by_rmse_or_logloss():
    assert objective_of("regressor").primary == ("rmse", "minimize")
    assert objective_of("binary_classifier").primary == ("logloss", "minimize")


@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
def test_no_rows_and_no_weight_are_bad_data(predictor_type):
    metrics = objective_of(predictor_type).metrics()
    with pytest.raises(DataError, match="no rows"):
        metrics.result()
    metrics.update(np.empty(0, np.float32), np.empty(0, np.float32))
    with pytest.raises(DataError, match="no rows"):
        metrics.result()
    metrics.update(np.ones(2, np.float32), np.ones(2, np.float32), np.zeros(2, np.float32))
    with pytest.raises(DataError, match="weight 0"):
        metrics.result()


@pytest.mark.parametrize(
    ("position", "value", "kind", "message"),
    [
        (0, np.nan, DivergedError, "the score of row 13 is nan"),
        (0, np.inf, DivergedError, "the score of row 13 is inf"),
        (1, np.nan, DataError, "row 13: has no label"),
        (1, -np.inf, DataError, "row 13: has label -inf"),
        (2, -1, DataError, r"row 13: has weight -1\.0"),
        (2, np.nan, DataError, "row 13: has weight nan"),
    ],
)
def test_numbers_that_would_poison_a_metric_are_refused_with_their_row(position, value, kind, message):
    metrics = Classification()
    metrics.update(np.ones(10, np.float32), np.ones(10, np.float32))
    columns = [np.ones(5, np.float32) for _ in range(3)]
    columns[position][2] = value
    with pytest.raises(kind, match=message):
        metrics.update(*columns)
    assert metrics.rows == 10

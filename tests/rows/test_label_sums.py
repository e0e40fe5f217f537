"""The sums of labels: their mean, their deviation, and the range in which scores are to lie."""

import numpy as np
import pytest
from scalings import learned, rows_of, sums_of

from fmcore.hyper.presets import resolve
from fmcore.rows.scaling import Known, LabelScale, bounded
from fmcore.rows.sums import FEW, LabelSums

RATINGS = np.repeat([1, 2, 3.5, 4, 5], [3, 2, 7, 5, 4])
PRICES = np.random.default_rng(2).gamma(2, 20_000, 500)


def labelled(labels, weights=None):
    return rows_of(np.ones((len(labels), 1)), labels, weights)


def test_labels_are_brought_to_mean_0_and_deviation_1_by_weight():
    weights = np.random.default_rng(3).random(500)
    scale = learned([labelled(PRICES, weights)], 1).label
    mean = np.average(PRICES, weights=weights)
    assert scale.mean == pytest.approx(mean, rel=1e-6)
    assert scale.deviation == pytest.approx(np.sqrt(np.average((PRICES - mean) ** 2, weights=weights)), rel=1e-6)
    labels = PRICES.astype(np.float32)
    np.testing.assert_allclose(scale.raw(scale.scaled(labels)), labels, atol=1e-6 * scale.deviation, rtol=1e-6)


def test_without_a_bias_labels_are_divided_alone():
    scale = learned([labelled(PRICES)], 1, resolve(predictor_type="regressor", use_bias=False)).label
    assert scale == LabelScale(0, pytest.approx(np.sqrt(np.mean(PRICES**2)), rel=1e-6))


@pytest.mark.parametrize("labels", [np.full(9, 5.0), np.zeros(9), np.full(9, 1e8)])
def test_equal_labels_are_divided_by_1(labels):
    assert learned([labelled(labels)], 1).label == LabelScale(labels[0], 1)


@pytest.mark.parametrize("mean", [1e5, -3e6])
def test_labels_far_from_0_keep_their_deviation(mean):
    labels = mean + np.arange(1000.0)
    assert learned([labelled(labels)], 1).label.deviation == pytest.approx(labels.std(), rel=1e-3)


def test_labels_of_classes_and_of_the_first_version_stay_as_they_are():
    for h in (resolve(predictor_type="binary_classifier"), resolve("native-1", predictor_type="regressor")):
        scaling = learned([labelled(RATINGS)], 1, h)
        assert (scaling.label, scaling.range) == (None, None)


def test_ratings_have_exact_ends_and_prices_a_tenth_beyond():
    assert learned([labelled(RATINGS)], 1).range == (1, 5)
    least, largest = PRICES.astype(np.float32).min(), PRICES.astype(np.float32).max()
    room = 0.1 * (float(largest) - float(least))
    assert learned([labelled(PRICES)], 1).range == pytest.approx((least - room, largest + room))


@pytest.mark.parametrize(("count", "exact"), [(FEW, True), (FEW + 1, False), (500, False)])
def test_up_to_so_many_different_labels_are_a_scale_with_ends_however_rows_are_cut(count, exact):
    labels = np.random.default_rng(4).permutation(np.tile(np.arange(count), 3))
    parts = [labelled(labels[first : first + 40]) for first in range(0, len(labels), 40)]
    expected = (0, count - 1) if exact else (-0.1 * (count - 1), 1.1 * (count - 1))
    assert learned(parts, 1).range == pytest.approx(expected)
    assert LabelSums.merged([sums_of([part])[0] for part in parts]).range() == pytest.approx(expected)
    assert LabelSums.merged([sums_of(parts[::2])[0], sums_of(parts[1::2])[0]]).range() == pytest.approx(expected)


def test_a_warm_start_keeps_the_scale_of_labels_and_may_widen_their_range():
    known = Known(label=LabelScale(3, 2), range=(-1, 4.5))
    scaling = learned([labelled(RATINGS)], 1, known=known)
    assert (scaling.label, scaling.range) == (LabelScale(3, 2), (-1, 5))


def test_scores_are_bounded_and_what_is_no_number_stays():
    scores = np.array([-2, 1, 3, 9, np.nan, np.inf], np.float32)
    found = bounded(scores, (1.0, 5.0))
    np.testing.assert_array_equal(found, np.array([1, 1, 3, 5, np.nan, 5], np.float32))
    assert found.dtype == np.float32
    assert bounded(scores, None) is scores

"""Columns: which features are centred, by what they are divided, and which features have values far from the others."""

from dataclasses import replace

import numpy as np
import pytest
from scalings import learned, rows_of, sums_of

from fmcore.hyper.presets import resolve
from fmcore.kernels.reference import matrix
from fmcore.rows.scaling import FAR, FARTHEST, Known, scaling_of
from fmcore.rows.sums import FeatureSums, LabelSums

ROWS, RANDOM = 400, np.random.default_rng(8)
NORMAL = RANDOM.normal(size=ROWS)


def absent(values, share):
    """Return the values with NaN in place of a share of them."""
    return np.where(np.random.default_rng(1).random(len(values)) < share, np.nan, values)


def one(values, hyperparameters=None, weights=None):
    """Return m, s and whether it is far, of the only feature of rows with these values."""
    scaling = learned([rows_of(values[:, None], weights=weights)], 1, hyperparameters)
    mean, scale = (default if array is None else array[0] for array, default in ((scaling.mean, 0), (scaling.scale, 1)))
    return mean, scale, len(scaling.far) == 1


@pytest.mark.parametrize("deviation", [1e-4, 0.05, 0.3, 1, 3, 1e4])
def test_a_column_is_centred_and_divided_by_a_power_of_two_near_its_deviation_where_that_is_large_or_small(deviation):
    values = deviation * (5 + NORMAL)
    mean, scale, far = one(values)
    assert (mean, far) == (pytest.approx(values.mean(), rel=1e-6), False)
    assert scale == (2 ** round(np.log2(values.std())) if deviation not in {0.3, 1} else 1)


def test_rows_without_a_column_count_as_0_and_rows_by_their_weight():
    values, weights = absent(NORMAL + 2, 0.3), np.arange(ROWS) % 3
    mean, _, _ = one(values, weights=weights)
    assert mean == pytest.approx(np.average(np.nan_to_num(values), weights=weights), rel=1e-6)
    zeros = np.nan_to_num(values)  # written out, which changes nothing
    assert one(zeros, weights=weights) == one(values, weights=weights)


def test_a_column_of_seconds_is_centred_and_its_mean_stays_within_reach_of_float32():
    values = (1.7e9 + np.arange(ROWS) * 600.0).astype(np.float32)
    mean, scale, far = one(values)
    assert (mean, far) == (pytest.approx(values.astype(float).mean(), rel=1e-7), False)
    assert values.std() < 1e5 < scale  # by its deviation alone it would be 2^16
    assert abs(mean) / scale <= 1.5 * FARTHEST


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.full(ROWS, 7.5), 8),
        (np.full(ROWS, 1.0), 1),
        (absent(np.ones(ROWS), 0.1), 1),
        (absent(np.full(ROWS, -300.0), 0.2), 256),
        (absent(NORMAL + 20, 0.6), 16),
        (np.full(ROWS, np.nan), 1),
    ],
    ids=["constant", "ones", "one-hot in most rows", "another value in most rows", "in few rows", "in none"],
)
def test_a_feature_of_one_value_or_of_few_rows_is_divided_by_its_root_mean_square_alone(values, scale):
    assert one(values) == (0, scale, False)


@pytest.mark.parametrize("given", [{"use_bias": False}, {"use_linear": False}, {"feature_scaling": "rms"}])
@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
def test_nothing_is_centred_where_nothing_can_take_it_up_or_where_it_is_not_wanted(given, kind):
    mean, scale, _ = one(NORMAL + 20, resolve(predictor_type=kind, **given))
    assert (mean, scale) == (0, 16)
    assert one(NORMAL + 20, resolve(predictor_type=kind, feature_scaling="none"))[:2] == (0, 1)


def test_rows_with_fields_are_not_centred():
    batch = rows_of(np.stack([NORMAL + 20, NORMAL], axis=1))
    assert learned([batch], 2).mean.any()
    fielded = replace(batch, fields=batch.indices)
    scaling = learned([fielded], 2)
    assert (scaling.mean, scaling.scale.tolist()) == (None, [16, 1])


def test_what_is_learned_does_not_depend_on_batches_or_on_who_has_learned_it():
    cells = np.stack([NORMAL + 20, absent(NORMAL, 0.7), np.ones(ROWS), absent(1e6 * NORMAL**9, 0.2)], axis=1)
    batch, h = rows_of(cells, weights=RANDOM.random(ROWS)), resolve(predictor_type="regressor")
    whole = learned([batch], 6)
    assert (whole.mean != 0).tolist() == [True, False, False, True, False, False]
    parts = [batch.take(slice(0, 7)), batch.take(slice(7, 300)), batch.take(slice(300, None))]
    labels, features = zip(*(sums_of([part]) for part in parts), strict=True)
    merged = scaling_of(LabelSums.merged(labels), FeatureSums.merged(features), 6, h, Known())
    for other in (learned(parts, 6), merged):
        np.testing.assert_allclose(other.mean, whole.mean, rtol=1e-6)
        np.testing.assert_array_equal(other.scale, whole.scale)
        np.testing.assert_array_equal(other.far, whole.far)
    for owner, owned in enumerate(sums_of([batch])[1].split(2)):
        part = scaling_of(sums_of([batch])[0], owned, 3, h, Known())
        np.testing.assert_array_equal(np.zeros(3) if part.mean is None else part.mean, whole.mean[owner::2])


def test_rows_as_training_sees_them_have_every_column():
    cells = np.stack([absent(3 * NORMAL + 20, 0.2), absent(NORMAL * 9, 0.7), np.ones(ROWS), NORMAL - 1], axis=1)
    batch = rows_of(cells, labels=NORMAL * 5 + 3)
    scaling = learned([batch], 5)
    seen = scaling.rows(batch)
    X, mean, scale = np.nan_to_num(cells), scaling.mean[:4], scaling.scale[:4]
    np.testing.assert_allclose(matrix(seen, 5).toarray()[:, :4], (X - mean) / scale, rtol=1e-5, atol=1e-6)
    assert np.diff(seen.indptr).min() >= 2
    assert (seen.labels.mean(), seen.labels.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, rel=1e-6))
    binary = replace(batch, values=None)
    np.testing.assert_allclose(
        matrix(scaling.features(binary), 5).toarray()[:, :4], (~np.isnan(cells) - mean) / scale, rtol=1e-5, atol=1e-6
    )


# -------------------------------------------------------------------------------------------------------- far values
def outlier(values, far):
    values = values.copy()
    values[7] = far
    return values


@pytest.mark.parametrize(
    ("values", "far"),
    [
        (NORMAL, False),
        (outlier(NORMAL, 100), True),
        (outlier(NORMAL + 50, -100), True),
        (outlier(NORMAL + 1e4, 1e4 + 5), False),
        (outlier(absent(NORMAL, 0.7), 1e5), True),
        (outlier(absent(NORMAL, 0.7), -1e5), True),
        (outlier(np.full(ROWS, np.nan), 1e9), False),
    ],
    ids=["normal", "column", "below", "of a large mean", "feature", "negative feature", "a single value"],
)
def test_a_feature_is_far_where_a_value_is_ten_deviations_from_the_others(values, far):
    assert one(values)[2] is far
    assert FAR == 10


def test_no_feature_is_far_where_it_has_no_linear_weight_to_keep_or_in_the_first_version():
    values = outlier(NORMAL, 100)
    for preset, given in (("native", {"use_linear": False}), ("native-1", {}), ("native", {"feature_scaling": "none"})):
        assert not one(values, resolve(preset, predictor_type="regressor", **given))[2]
    assert one(values, resolve(predictor_type="regressor", use_bias=False))[2]

"""Quality of the fast kernels: as good as the slow reference on real data and on generated clicks."""

import clicks
import numpy as np
import pytest
from quality import REAL, apart, data_sets, scores

ROWS = 3000
ROUNDING = 1e-4  # of the metric, by which float32 may differ from float64 after one epoch


@pytest.mark.parametrize("name", [*REAL, f"{ROWS:,} clicks"])
def test_the_fast_kernels_learn_as_well_as_the_reference(real_data, name):
    found = data_sets(real_data, ROWS)
    if name not in found:
        pytest.skip(f"{real_data} is not here (set FMKIT_DATA to the folder of data sets)")
    read, predictor_type, metric = found[name]
    values = scores(read(), metric, 2, predictor_type=predictor_type, epochs=1)
    most, seeds = apart(values)
    assert most < ROUNDING
    assert most < seeds, "what backends differ by is not less than what seeds do"


def test_generated_clicks_are_reproducible_and_longer_sets_begin_with_shorter_ones():
    few, more = clicks.generated(100), clicks.generated(300)
    np.testing.assert_array_equal(few.indices, more.indices[: len(few.indices)])
    np.testing.assert_array_equal(few.labels, more.labels[:100])
    assert (clicks.generated(100, seed=1).indices != few.indices).any()


def test_generated_clicks_have_a_feature_of_every_column_in_order():
    batch = clicks.generated(500)
    rows = batch.indices.reshape(500, clicks.COLUMNS)
    assert clicks.feature_dim() == 998_510
    ends = np.cumsum(clicks.sizes())
    assert (rows < ends).all()
    assert (rows >= ends - clicks.sizes()).all()
    assert 0.25 < clicks.generated(5000).labels.mean() < 0.45


def test_generated_clicks_at_a_larger_scale_have_more_features():
    assert clicks.feature_dim(2) > 1.99 * clicks.feature_dim()
    assert clicks.generated(50, scale=2).feature_dim <= clicks.feature_dim(2)


def test_true_model_of_generated_clicks_beats_the_base_rate_and_its_linear_part():
    batch = clicks.generated(20_000)
    linear = clicks.TRUE_BIAS + clicks.truth(1)[0][batch.indices.reshape(len(batch), -1)].sum(1)
    base = clicks.log_loss(batch.labels, np.full(len(batch), batch.labels.mean()))
    assert clicks.best_loss(batch) < clicks.log_loss(batch.labels, clicks.sigmoid(linear)) < base

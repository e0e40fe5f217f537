"""Scalings that are learned of batches, as tests of rows and of models want them."""

import numpy as np

from fmcore.hyper.presets import resolve
from fmcore.rows.batch import Batch
from fmcore.rows.scaling import Known, scaling_of
from fmcore.rows.sums import FeatureSums, LabelSums


def sums_of(batches):
    """Return the LabelSums and the FeatureSums of batches."""
    labels, features = LabelSums(), FeatureSums()
    for batch in batches:
        labels.add(batch)
        features.add(batch)
    return labels, features


def learned(batches, feature_dim, hyperparameters=None, known=None):
    """Return the Scaling of batches, by the recipe for regressors where no Hyperparameters are given."""
    h = hyperparameters or resolve(predictor_type="regressor")
    return scaling_of(*sums_of(batches), feature_dim, h, known or Known())


def rows_of(cells, labels=None, weights=None):
    """Return a Batch of the cells of a table (rows, columns) that are not NaN, those that are 0 among them."""
    rows, columns = np.nonzero(~np.isnan(cells))
    return Batch(
        np.searchsorted(rows, np.arange(len(cells) + 1)).astype(np.int64),
        columns.astype(np.int32),
        cells[rows, columns].astype(np.float32),
        (np.zeros(len(cells)) if labels is None else np.asarray(labels)).astype(np.float32),
        None if weights is None else np.asarray(weights, np.float32),
    )

"""Click data made up for benchmarks: 39 binary features a row of about 1 M, labels drawn from a factorization machine.

Most values of a column are rare and a few are in nearly every row, as in logs of advertisements. Equal arguments give
equal rows.
"""
import numpy as np

from fmcore.batch import Batch

COLUMNS = 39
SMALLEST, LARGEST = 4, 259_000  # distinct values of the first and last column; the others lie between, geometrically
ZIPF = 1.1  # value number r of a column is as likely as r**-ZIPF
TRUE_FACTORS = 4


def cardinalities():
    """Distinct values of each column, int64 (COLUMNS,)."""
    return np.geomspace(SMALLEST, LARGEST, COLUMNS).astype(np.int64)


def feature_dim():
    """Features of all columns together."""
    return int(cardinalities().sum())


def generated(rows, seed=0):
    """A Batch of that many rows; each has one feature of every column, in ascending order."""
    random = np.random.default_rng([2013, seed])
    indices = np.empty((rows, COLUMNS), np.int32)
    offset = 0
    for column, cardinality in enumerate(cardinalities()):
        indices[:, column] = offset + scattered(cardinality)[zipf(random, cardinality, rows)]
        offset += cardinality
    labels = random.random(rows) < 1 / (1 + np.exp(-true_scores(indices)))
    indptr = np.arange(rows + 1, dtype=np.int64) * COLUMNS
    return Batch(indptr, indices.ravel(), None, labels.astype(np.float32))


def zipf(random, cardinality, rows):
    """Ranks from 0, int64 (rows,)."""
    cumulative = np.cumsum(np.arange(1, cardinality + 1, dtype=np.float64) ** -ZIPF)
    return np.searchsorted(cumulative, random.random(rows) * cumulative[-1])


def scattered(cardinality):
    """A permutation of the values, always the same, so that frequent ones do not lie side by side in memory."""
    return np.random.default_rng([39, cardinality]).permutation(cardinality).astype(np.int32)


def true_scores(indices):
    """Scores of the factorization machine that the labels are drawn from, float64 (rows,)."""
    random = np.random.default_rng(1)
    linear = random.normal(0, 0.2, feature_dim())
    factors = random.normal(0, 0.13, (feature_dim(), TRUE_FACTORS))
    sums, squares, scores = np.zeros((len(indices), TRUE_FACTORS)), np.zeros(len(indices)), np.full(len(indices), -1.2)
    for column in indices.T:
        v = factors[column]
        scores += linear[column]
        sums += v
        squares += np.einsum("ij,ij->i", v, v)
    return scores + 0.5 * (np.einsum("ij,ij->i", sums, sums) - squares)

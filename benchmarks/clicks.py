"""Generate click data for benchmarks: 39 binary features a row of about 1 M, labels drawn from a factorization machine.

As in logs of advertisements, 13 columns are numbers cut into buckets, and of the other 26 most have values that are
rare beside a few that are in nearly every row. Equal arguments give equal rows; the first rows of more rows are the
same ones.
"""

from functools import lru_cache

import numpy as np

from fmcore.rows.batch import Batch

BUCKETS = (20, 20, 30, 30, 40, 40, 50, 50, 64, 64, 100, 100, 128)  # of each column of numbers, normally distributed
DISTINCT = (
    4,
    10,
    20,
    30,
    60,
    100,
    150,
    300,
    600,
    1000,
    1500,
    2000,
    3000,
    4000,
    5000,
    8000,
    10_000,
    12_000,
    15_000,
    20_000,
    40_000,
    80_000,
    120_000,
    160_000,
    200_000,
    315_000,
)  # values of each other column
COLUMNS = len(BUCKETS) + len(DISTINCT)
GROWING = 1000  # columns of as many values or more have more of them at a larger scale
ZIPF = 1.1  # value number r of a column is as likely as r**-ZIPF
DEVIATIONS = 3  # of the numbers; those further out are in the first or last bucket
TRUE_BIAS, TRUE_LINEAR, TRUE_FACTORS, NOISE = -1.3, 0.2, 0.1355, 0.5  # deviations, but for the bias
TRUE_RANK = 4
TRUE_SEED = 16  # draws a truth by which 36 % of the labels are 1
CHUNK = 1 << 18  # rows drawn at once


def sizes(scale=1):
    """Return the number of features of each column, int64 (COLUMNS,)."""
    return np.array([*BUCKETS, *(int(n * scale) if n >= GROWING else n for n in DISTINCT)])


def feature_dim(scale=1):
    """Return the number of features of all columns: 998,510 at scale 1."""
    return int(sizes(scale).sum())


def generated(rows, seed=0, scale=1):
    """Return a Batch of `rows` rows; each has one feature of every column, in ascending order.

    seed: other rows of the same truth. scale: how many times as many values the larger columns have.
    """
    indices, labels = np.empty((rows, COLUMNS), np.int32), np.empty(rows, np.float32)
    columns = drawn_columns(scale)
    for chunk, first in enumerate(range(0, rows, CHUNK)):
        random = np.random.default_rng([2013, seed, chunk])
        part = indices[first : first + CHUNK]
        for j, draw in enumerate(columns):
            part[:, j] = draw(random)[: len(part)]
        scores = true_scores(part, scale) + random.normal(0, NOISE, CHUNK)[: len(part)]
        labels[first : first + CHUNK] = random.random(CHUNK)[: len(part)] < sigmoid(scores)
    indptr = np.arange(rows + 1, dtype=np.int64) * COLUMNS
    return Batch(indptr, indices.ravel(), None, labels)


@lru_cache(1)
def drawn_columns(scale):
    """Return for each column a function from a generator to the features of CHUNK rows."""
    offsets = np.append(0, np.cumsum(sizes(scale)))
    return [
        bucketed(size, offset) if j < len(BUCKETS) else ranked(size, offset)
        for j, (size, offset) in enumerate(zip(sizes(scale), offsets, strict=False))
    ]


def bucketed(buckets, offset):
    """Return the function of a column of numbers: equal buckets from -DEVIATIONS to DEVIATIONS."""

    def draw(random):
        place = (random.normal(size=CHUNK) + DEVIATIONS) / (2 * DEVIATIONS) * buckets
        return offset + np.clip(place, 0, buckets - 1).astype(np.int64)

    return draw


def ranked(size, offset):
    """Return the function of a column of Zipf distributed values, the frequent ones spread out, always alike."""
    cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -ZIPF)
    strewn = np.random.default_rng([39, size]).permutation(size).astype(np.int32)

    def draw(random):
        return offset + strewn[np.searchsorted(cumulative, random.random(CHUNK) * cumulative[-1])]

    return draw


@lru_cache(1)
def truth(scale):
    """Return the weights from which labels are drawn: linear float32 (d,), factors float32 (d, TRUE_RANK)."""
    random, dim = np.random.default_rng(TRUE_SEED), feature_dim(scale)
    return (
        TRUE_LINEAR * random.standard_normal(dim, np.float32),
        TRUE_FACTORS * random.standard_normal((dim, TRUE_RANK), np.float32),
    )


def forget():
    """Free the arrays cached between calls of `generated`: gigabytes at large scales."""
    drawn_columns.cache_clear()
    truth.cache_clear()


def true_scores(indices, scale=1):
    """Return scores of the true factorization machine, float64 (rows,), of indices (rows, COLUMNS)."""
    linear, factors = truth(scale)
    sums, scores = np.zeros((len(indices), TRUE_RANK)), np.full(len(indices), TRUE_BIAS)
    for column in indices.T:
        v = factors[column]
        scores += linear[column] - 0.5 * np.einsum("ij,ij->i", v, v)
        sums += v
    return scores + 0.5 * np.einsum("ij,ij->i", sums, sums)


def sigmoid(scores):
    """Return the probabilities of label 1."""
    return 1 / (1 + np.exp(-scores))


def log_loss(labels, probabilities):
    """Return the mean log loss of probabilities, which are clipped away from 0 and 1."""
    kept = np.clip(np.where(labels == 1, probabilities, 1 - probabilities), 1e-7, 1)
    return float(-np.mean(np.log(kept)))


def best_loss(batch, scale=1):
    """Return the log loss of the truth itself, below which no model can be expected to come.

    The noise is averaged over by the usual approximation of a logistic by a normal distribution (MacKay 1992).
    """
    scores = true_scores(batch.indices.reshape(len(batch), -1), scale)
    return log_loss(batch.labels, sigmoid(scores / np.sqrt(1 + np.pi * NOISE**2 / 8)))

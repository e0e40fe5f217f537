"""Rows of a known truth: of single features, of products of factors, of ratings; reproducible and quickly made."""

import numpy as np

from fmcore.rows.batch import Batch


def one_hot(values, labels, size):
    """Return a Batch of rows with one feature of each column; values: int (rows, columns), below size."""
    rows, columns = values.shape
    indices = (values + size * np.arange(columns)).astype(np.int32)
    indptr = np.arange(0, rows * columns + 1, columns, dtype=np.int64)
    return Batch(indptr, indices.ravel(), None, np.asarray(labels).astype(np.float32))


def _labels(random, scores, kind, noise):
    if kind == "binary_classifier":
        return random.random(len(scores)) < 1 / (1 + np.exp(-scores))
    return scores + noise * random.normal(size=len(scores))


def additive(rows, kind, seed=0, columns=12, size=200):
    """Return rows whose scores are sums over single features, most of which are rare."""
    random = np.random.default_rng(seed)
    weights = random.normal(0, 0.5, (columns, size))
    values = (size * random.random((rows, columns)) ** 3).astype(int)
    scores = weights[np.arange(columns), values].sum(1) - 1
    return one_hot(values, _labels(random, scores, kind, 1.0), size)


def interacting(rows, kind, seed=0, columns=4, size=12):
    """Return rows whose scores are products of two factors of features alone."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(columns, size, 2))
    values = random.integers(0, size, (rows, columns))
    v = factors[np.arange(columns), values]
    scores = ((v.sum(1) ** 2) - (v**2).sum(1)).sum(1) / 4
    return one_hot(values, _labels(random, scores, kind, 0.5), size)


def ratings(rows, seed=0, users=80, items=60):
    """Return ratings of 1 to 5 by users and of items that are not alike often; two factors beside what each has alone."""
    random = np.random.default_rng(seed)
    values = (np.array([users, items]) * random.random((rows, 2)) ** 1.5).astype(int)
    alone, factors = random.normal(0, 0.4, (2, users)), random.normal(0, 0.7, (2, users, 2))
    (user, item), columns = values.T, np.arange(2)
    scores = 3.4 + alone[columns, values].sum(1) + (factors[0, user] * factors[1, item]).sum(1)
    return one_hot(values, np.clip(np.round(scores + 0.7 * random.normal(size=rows)), 1, 5), max(users, items))

"""Inspection of a model: its summary, its largest weights, and the pairs of features that interact most."""

from typing import NamedTuple

import numpy as np

from fmcore.families import require_fm
from fmcore.families.contract import per_feature
from fmcore.schema.names import TOGETHER

BLOCK = 1 << 16  # rows of factors looked at together
COLUMNS, ROWS = 256, 1 << 13  # a tile of pairs: 16 MiB of float64
MOST_PAIRS = 1 << 28  # examined at most; all pairs of 23,000 features, a few seconds


class Pairs(NamedTuple):
    """The pairs found, and whether no other pair of the model can be larger.

    pairs: dicts of features [i, j] with i < j, names, weight = <v_i, v_j>.
    exact: False where the search ended early; then they are the largest among the `searched` features whose factor
    vectors are longest.
    """

    pairs: list
    exact: bool
    searched: int


def summary(model):
    """Return a description of a model, ready for JSON.

    norms: Euclidean, of each tensor of weights. non_zero: features whose linear weight, whose factors, and for which
    either of the two is not zero, or of another family likewise. tensors: name -> shape, dtype, bytes.
    """
    norms, non_zero = _norms_and_counts(model)
    return {
        "feature_dim": model.feature_dim,
        "num_factors": model.num_factors,
        "hyperparameters": model.hyperparameters.as_dict(),
        "info": model.info,
        "schema": None if model.schema is None else model.schema.described(),
        **({"bias": float(model.bias[0])} if "bias" in model.weights else {}),
        "norms": norms,
        "non_zero": non_zero,
        "tensors": {
            name: {"shape": list(array.shape), "dtype": array.dtype.name, "bytes": array.nbytes}
            for name, array in (model.tensors() | model.schema_tensors()).items()
        },
    }


def largest_weights(model, n, names=None):
    """Return the n largest |linear weights| as dicts of feature, name and weight, without zeros; ties go by feature.

    Of a family without a tensor of that name there are none.
    names: FeatureNames, or None; a feature without one has the name None.
    """
    if "linear" not in model.weights:
        return []
    sizes = np.abs(model.linear)
    candidates = np.flatnonzero(sizes)
    if 0 < n < len(candidates):
        least = np.partition(sizes, len(sizes) - n)[len(sizes) - n]
        candidates = np.flatnonzero(sizes >= least)
    order = candidates[np.argsort(-sizes[candidates], kind="stable")[:n]]
    return [
        {"feature": i, "name": None if names is None else names.get(i), "weight": float(model.linear[i])}
        for i in order.tolist()
    ]


def largest_pairs(model, n, names=None):
    """Return the n largest |<v_i, v_j>|, i < j, as `Pairs`; zeros are left out, and pairs that never occur together.

    names: FeatureNames, or None. Two values of one categorical column are no pair, as a row has one of them.

    Features are taken in the order of the length of their factor vectors, longest first. By Cauchy-Schwarz no pair is
    larger than the product of its two lengths, so a feature is compared only with the earlier ones that are long enough
    to beat the n-th best pair so far, and the search ends where none is. It also ends before MOST_PAIRS is passed.
    Raises UsageError for another family than fm.
    """
    require_fm(model.hyperparameters, "pairs")
    lengths = _factor_lengths(model.factors)
    order = np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    best, examined, start = _Best(n), 0, 0
    exclusive = None if names is None else names.exclusive(len(order))
    while start < len(order):
        stop = min(start + COLUMNS, len(order))
        partners = _partners(lengths[:stop], lengths[start], best.least)
        if partners == 0:
            break
        examined += partners * (stop - start)
        if examined > MOST_PAIRS:
            return Pairs(best.described(names), exact=False, searched=start)
        for first in range(0, partners, ROWS):
            _compare(model.factors, order, (first, min(first + ROWS, partners)), (start, stop), best, exclusive)
        start = stop
    return Pairs(best.described(names), exact=True, searched=len(order))


class _Best:
    """The n largest pairs offered so far; ties go by features."""

    def __init__(self, n):
        self.n = n
        self.weights, self.features = np.empty(0), np.empty((0, 2), np.int64)

    @property
    def least(self):
        """Return what |weight| a pair must exceed to enter."""
        return abs(self.weights[-1]) if 0 < self.n == len(self.weights) else 0.0 if self.n else np.inf

    def offer(self, weights, features):
        """Add float64 (m,) weights of int64 (m, 2) features."""
        weights = np.concatenate([self.weights, weights])
        features = np.concatenate([self.features, np.sort(features, axis=1)])
        kept = np.lexsort((features[:, 1], features[:, 0], -np.abs(weights)))[: self.n]
        self.weights, self.features = weights[kept], features[kept]

    def described(self, names):
        """Return the pairs as dicts, largest first."""
        return [
            {"features": pair, "names": [None if names is None else names.get(i) for i in pair], "weight": weight}
            for pair, weight in zip(self.features.tolist(), self.weights.tolist(), strict=True)
        ]


def _partners(lengths, length, least):
    """Return how many lengths (descending) are long enough for a pair above `least` with a vector of that length."""
    bound = length * (1 + 1e-9)  # which must hold for rounded lengths too
    return int(np.searchsorted(-lengths, -least / bound, "left")) if bound else 0


def _compare(factors, order, rows, columns, best, exclusive):
    """Offer the pairs of two ranges of positions in `order`; each pair once, the earlier position among the rows.

    exclusive: int64 by feature, those of one number never occur together but for TOGETHER; or None.
    """
    row_features, column_features = order[slice(*rows)], order[slice(*columns)]
    products = factors[row_features].astype(np.float64) @ factors[column_features].astype(np.float64).T
    earlier = np.arange(*rows)[:, None] < np.arange(*columns)
    offered = (np.abs(products) > best.least) & earlier
    if exclusive is not None:
        own, other = exclusive[row_features][:, None], exclusive[column_features]
        offered &= (own != other) | (own == TOGETHER)
    i, j = np.nonzero(offered)
    best.offer(products[i, j], np.stack([row_features[i], column_features[j]], axis=1))


def _factor_lengths(factors):
    """Return the Euclidean length of each row, float64 (d,)."""
    lengths = np.empty(len(factors))
    for start in range(0, len(factors), BLOCK):
        block = factors[start : start + BLOCK].astype(np.float64)
        lengths[start : start + BLOCK] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return lengths


def _norms_and_counts(model):
    squares, kinds = {}, per_feature(model.family)
    counts = {**dict.fromkeys((tensor.name for tensor in kinds), 0), "either": 0}
    for tensor in model.family.tensors:
        array = model.weights[tensor.name]
        squares[tensor.name] = 0.0 if tensor.per_feature else float(np.sum(array.astype(np.float64) ** 2))
    for start in range(0, model.feature_dim, BLOCK):
        either = False
        for tensor in kinds:
            block = model.weights[tensor.name][start : start + BLOCK].astype(np.float64)
            squares[tensor.name] += float(np.sum(block**2))
            found = block.reshape(len(block), -1).any(axis=1)
            counts[tensor.name] += int(found.sum())
            either |= found
        counts["either"] += int(np.sum(either))
    return {name: total**0.5 for name, total in squares.items()}, counts

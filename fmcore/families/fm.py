"""The factorization machine: a bias, a weight and a vector of factors for each feature."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fmcore.families.contract import Family, Tensor

CHUNK = 1 << 16  # features whose factors are looked at in float64 at a time


class FactorizationMachine(Family):
    """y(x) = w0 + sum of w_i x_i + sum over i < j of <v_i, v_j> x_i x_j.

    Rendle 2010, Factorization Machines, equation 1.
    """

    name = "fm"
    kernel = "fm.h"
    needs_fields, shifts = False, True
    tensors = (
        Tensor("bias", "bias", lambda _h, _d: (1,), per_feature=False),
        Tensor("linear", "linear", lambda _h, d: (d,)),
        Tensor("factors", "factors", lambda h, d: (d, h.num_factors)),
    )

    def score(self, X: Any, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return y(x) of each row of X by lemma 3.1 of Rendle 2010, float64 (rows,); see `Family`."""
        factors = weights["factors"]
        sums = X @ factors
        squares = X.multiply(X) @ (factors * factors)
        return weights["bias"] + X @ weights["linear"] + 0.5 * (sums**2 - squares).sum(1)

    def gradient(self, X: Any, weights: Mapping[str, np.ndarray], outer: np.ndarray) -> dict[str, np.ndarray]:
        """Return sums over the rows of outer (rows,) times the gradient of y(x) by Rendle 2010, equation 4."""
        factors = weights["factors"]
        weighted = X.multiply(outer[:, None]).tocsr()
        squares = weighted.multiply(X).sum(0).A1[:, None] if len(outer) else 0
        return {
            "bias": outer.sum(keepdims=True),
            "linear": weighted.T @ np.ones(len(outer)),
            "factors": weighted.T @ (X @ factors) - squares * factors,
        }

    def spread(self, X: Any, weights: Mapping[str, np.ndarray], curvature: np.ndarray) -> np.ndarray:
        """Return sum of curvature x_i^2 |q - v_i x_i|^2 over the rows, q being sum of v_j x_j; see `Family`."""
        factors = weights["factors"]
        sums, squares = X @ factors, X.multiply(X)
        bent = squares.multiply(curvature[:, None]).tocsr()
        own = (factors**2).sum(1) * (bent.multiply(squares).T @ np.ones(len(curvature)))
        crossed = bent.multiply(X).T @ sums
        return bent.T @ (sums**2).sum(1) - 2 * (factors * crossed).sum(1) + own

    def reach(self, X: Any, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the square of sum of v_j x_j; see `Family`."""
        return ((X @ weights["factors"]) ** 2).sum(1)

    def shift(self, weights: Mapping[str, np.ndarray], by: np.ndarray) -> None:
        """Do as `Family.shift`.

        With x = x' + m: w'_i = w_i + sum over j != i of m_j <v_i, v_j>, and w0' = w0 + sum of w_i m_i + sum over
        i < j of m_i m_j <v_i, v_j>, which is equation 1 multiplied out.
        """
        linear, factors = weights["linear"], weights["factors"]
        columns = np.flatnonzero(by)
        m, v = by[columns], factors[columns].astype(np.float64)
        total, own = m @ v, (v * v).sum(1)
        pairs = 0.5 * (total @ total - m**2 @ own)
        weights["bias"][0] = weights["bias"][0] + linear[columns].astype(np.float64) @ m + pairs
        before = linear[columns].astype(np.float64)
        for first in range(0, len(linear), CHUNK):
            some = slice(first, first + CHUNK)
            linear[some] = linear[some] + factors[some].astype(np.float64) @ total
        linear[columns] = before + v @ total - own * m

    def multiply(self, weights: Mapping[str, np.ndarray], by: float) -> None:
        """Do as `Family.multiply`; a factor is in a score twice."""
        for name, factor in (("bias", by), ("linear", by), ("factors", by**0.5)):
            weights[name] *= np.float32(factor)

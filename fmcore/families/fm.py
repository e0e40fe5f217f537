"""The factorization machine: a bias, a weight and a vector of factors for each feature."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fmcore.families.contract import Family, Tensor


class FactorizationMachine(Family):
    """y(x) = w0 + sum of w_i x_i + sum over i < j of <v_i, v_j> x_i x_j.

    Rendle 2010, Factorization Machines, equation 1.
    """

    name = "fm"
    kernel = "fm.h"
    needs_fields = False
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

"""The contract of a family of models: its tensors, and the reference of its score and gradient."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One array of a model's weights.

    name: in the model and its file. group: "bias", "linear" or "factors", whose learning rate, weight decay, initial
    values and use_... it has.
    shape: from Hyperparameters and feature_dim to a shape; what else it depends on, such as a number of fields, is one
    of the hyperparameters.
    per_feature: whether its first axis are the features, feature_dim rows: then features that a mini-batch does not
    hold are not moved, new features add rows, and workers may own rows of it.
    scaled: of a tensor per feature, whether its weights multiply values of the feature, so that w x = (w s) (x / s).
    dtype: float32 in a model; training may compute in another.
    """

    name: str
    group: str
    shape: Callable[[Any, int], tuple[int, ...]]
    per_feature: bool = True
    scaled: bool = True
    dtype: type = np.float32


class Family(Protocol):
    """A kind of model.

    name: value of the hyperparameter `family`. kernel: the header in fmcore/kernels that computes it, or None.
    tensors: at least one of them per feature. The last one, the largest, begins on a cache line in a model file; each
    draws its initial values from the random stream of its place.
    needs_fields: whether score and gradient need a field for each non-zero.
    outputs: raw scores that it gives each row; an objective must take as many.
    shifts: whether it has `shift` and `multiply`, without which neither columns are centred nor labels standardised.
    """

    name: str
    kernel: str | None
    tensors: tuple[Tensor, ...]
    needs_fields: bool
    outputs: int = 1
    shifts: bool = False

    def score(self, X: Any, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return y(x) of each row, float64 (rows,).

        X: scipy CSR matrix float64 (rows, feature_dim), no index twice in a row; where needs_fields, fields=... as
        well, int (non-zeros,) in the order of X.indices. weights: tensor's name -> float64 array.
        """
        ...

    def gradient(self, X: Any, weights: Mapping[str, np.ndarray], outer: np.ndarray) -> dict[str, np.ndarray]:
        """Return name of a tensor -> sum over the rows of outer (rows,) times the gradient of y(x), of its shape.

        X, weights, fields: as for `score`.
        """
        ...

    def spread(
        self,
        X: Any,
        weights: Mapping[str, np.ndarray],  # noqa: ARG002 - for those that have variances
        curvature: np.ndarray,  # noqa: ARG002
    ) -> np.ndarray:
        """Return sum over the rows of curvature (rows,) times the squared derivatives of y(x) by a feature's factors.

        float64 (features,); 0 of families whose factors have no variance (hyperparameter factors_variance).
        """
        return np.zeros(X.shape[1])

    def reach(self, X: Any, weights: Mapping[str, np.ndarray]) -> np.ndarray:  # noqa: ARG002 - as above
        """Return at least how large, by |x|^2, the square of y(x)'s gradient by all but its linear weights is.

        float64 (rows,); 0 where the score is linear.
        """
        return np.zeros(X.shape[0])

    def shift(self, weights: Mapping[str, np.ndarray], by: np.ndarray) -> None:
        """Turn weights of rows x into those of x - by, in place, so that scores stay: y(x) = y'(x - by).

        by: float64 (features,), the rows of the tensors per feature; mostly 0. It takes a bias and linear weights.
        """
        ...

    def multiply(self, weights: Mapping[str, np.ndarray], by: float) -> None:
        """Turn weights into those of scores that are `by` times as large, above 0, in place."""
        ...


def per_feature(family: Family) -> list[Tensor]:
    """Return the tensors that have a row per feature."""
    return [tensor for tensor in family.tensors if tensor.per_feature]


def numbers_per_feature(family: Family, hyperparameters: Any) -> int:
    """Return how many weights a feature has in all tensors together."""
    return sum(math.prod(tensor.shape(hyperparameters, 1)) for tensor in per_feature(family))

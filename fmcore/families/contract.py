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
    """

    name: str
    kernel: str | None
    tensors: tuple[Tensor, ...]
    needs_fields: bool
    outputs: int = 1

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


def per_feature(family: Family) -> list[Tensor]:
    """Return the tensors that have a row per feature."""
    return [tensor for tensor in family.tensors if tensor.per_feature]


def numbers_per_feature(family: Family, hyperparameters: Any) -> int:
    """Return how many weights a feature has in all tensors together."""
    return sum(math.prod(tensor.shape(hyperparameters, 1)) for tensor in per_feature(family))

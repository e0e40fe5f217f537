"""Row-wise AdaGrad: one sum of squares for all factors of a feature."""

from collections.abc import Mapping

import numpy as np

from fmcore.optimizers.contract import Optimizer, Slot


class RowwiseAdaGrad(Optimizer):
    """G += mean of g^2 over a feature's row of a tensor; w -= lr g / (sqrt(G) + eps). Single weights as by AdaGrad.

    Mudigere et al. 2022, Software-hardware co-design for fast and scalable training of deep learning recommendation
    models (row-wise sparse AdaGrad); exact_rowwise_adagrad of FBGEMM.
    """

    name = "rowwise_adagrad"
    kernel = 2  # which is AdaGrad's
    factors_kernel = 4
    eps = 2e-3  # as AdaGrad's
    floors = True
    slots = (Slot("sum_of_squares", per_row=True, least=0.0, degree=2, combine="sum"),)

    def step(
        self,
        weight: np.ndarray,
        gradient: np.ndarray,
        state: Mapping[str, np.ndarray],
        lr: float,
        eps: float,
        t: int,
    ) -> None:
        """See `Optimizer`."""
        squares = gradient**2
        state["sum_of_squares"] += squares.mean(tuple(range(1, squares.ndim)), keepdims=True)
        weight -= lr * gradient / (np.sqrt(state["sum_of_squares"]) + eps)

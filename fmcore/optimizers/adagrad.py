"""AdaGrad: steps by the root of the sum of all squared gradients so far."""

from collections.abc import Mapping

import numpy as np

from fmcore.optimizers.contract import Optimizer, Slot


class AdaGrad(Optimizer):
    """G += g^2; w -= lr g / (sqrt(G) + eps) (Duchi, Hazan, Singer 2011, figure 1, diagonal)."""

    name = "adagrad"
    kernel = 2
    # The first step for a weight is as long as the learning rate, however small the gradient. Those of rare features, a
    # row's share of a mini-batch's mean, are smaller than this eps, which shortens steps that a single row decides.
    eps = 2e-3
    floors = True
    slots = (Slot("sum_of_squares", least=0.0, degree=2, combine="sum"),)

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
        state["sum_of_squares"] += gradient**2
        weight -= lr * gradient / (np.sqrt(state["sum_of_squares"]) + eps)

"""Plain gradient descent."""

from collections.abc import Mapping

import numpy as np

from fmcore.optimizers.contract import Optimizer


class Sgd(Optimizer):
    """w -= lr g."""

    name = "sgd"
    kernel, linear = 1, True

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
        weight -= lr * gradient

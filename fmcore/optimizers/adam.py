"""Adam: steps by running means of the gradient and of its square."""

from collections.abc import Mapping

import numpy as np

from fmcore.optimizers.contract import Optimizer, Slot

BETA1, BETA2 = 0.9, 0.999


class Adam(Optimizer):
    """Moments: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; step: w -= lr c m / (sqrt(v) + eps).

    c = sqrt(1 - b2^t) / (1 - b1^t), where t counts the updates of the whole tensor, rows that were absent included
    (Kingma, Ba 2015, Adam, the form at the end of section 2; lazy rows as in MXNet 1.3).
    """

    name = "adam"
    kernel = 3
    eps = 1e-8
    slots = (Slot("first_moment"), Slot("second_moment", least=0.0, degree=2))
    counts = True

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
        m, v = state["first_moment"], state["second_moment"]
        m += (1 - BETA1) * (gradient - m)
        v += (1 - BETA2) * (gradient**2 - v)
        weight -= lr * np.sqrt(1 - BETA2**t) / (1 - BETA1**t) * m / (np.sqrt(v) + eps)

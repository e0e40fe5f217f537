"""Plain gradient descent."""

from fmcore.optimizers.contract import Optimizer


class Sgd(Optimizer):
    """w -= lr g."""

    name = "sgd"
    kernel = 1

    def step(self, weight, gradient, state, lr, eps, t):  # noqa: ARG002 - all are called alike
        """See `Optimizer`."""
        weight -= lr * gradient

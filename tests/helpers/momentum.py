"""An optimizer that a program may register: gradient descent with momentum."""

from fmcore.optimizers import OPTIMIZERS, Optimizer, Slot

KEPT = 0.5


class Momentum(Optimizer):
    """Gradient descent with momentum: v = m v + g; w -= lr v.

    Polyak 1964, Some methods of speeding up the convergence of iteration methods.
    """

    name = "momentum"
    slots = (Slot("velocity"),)
    counts, linear = True, True

    def step(self, weight, gradient, state, lr, eps, t):
        """Make a step of the weight, in place; see `Optimizer`."""
        assert t > 0
        state["velocity"] *= KEPT
        state["velocity"] += gradient
        weight -= lr * state["velocity"]


def register():
    """Make this optimizer a choice of the hyperparameter `optimizer` in this process."""
    OPTIMIZERS[Momentum.name] = Momentum()

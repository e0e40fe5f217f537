"""The optimizers over whole matrices of weights: the formulas of fmcore.optimizers, in place, by their names.

Each is called as rule(step) and changes step.weights. Rows of features that the mini-batch does not hold have a
gradient of 0 and must not change: with most rules that follows from the gradient, adam uses step.present.
"""

from typing import NamedTuple

from fmcore.errors import UsageError
from fmcore.kernels.pytorch.library import torch
from fmcore.optimizers.adam import BETA1, BETA2


class Step(NamedTuple):
    """The arguments of one step of the weights of some features, laid out as in DeviceTable.

    gradient: with decay, clipped, and 0 where a feature is absent; may be overwritten. rates: the learning rates with
    all corrections. eps: a number, or for optimizers with `floors` float32 (features, 2), that of a feature's factors
    and that of its linear weight. present: float32 (features, 1), 1 or 0, or None where all are present.
    """

    weights: torch.Tensor
    gradient: torch.Tensor
    slots: tuple
    rates: torch.Tensor
    eps: float | torch.Tensor
    present: torch.Tensor | None
    num_factors: int


def sgd(step):
    """Make a step of plain descent: w -= lr g."""
    step.weights.addcmul_(step.gradient, step.rates, value=-1)


def adagrad(step):
    """Make a step of AdaGrad: G += g^2; w -= lr g / (sqrt(G) + eps)."""
    (squares,) = step.slots
    squares.addcmul_(step.gradient, step.gradient)
    step.weights.addcdiv_(step.gradient.mul_(step.rates), _with_eps(squares.sqrt(), step), value=-1)


def _with_eps(roots, step):
    """Add the eps of a Step to numbers in the shape of its weights, in place; return them."""
    if not isinstance(step.eps, torch.Tensor):
        return roots.add_(step.eps)
    roots[:, : step.num_factors].add_(step.eps[:, :1])
    roots[:, step.num_factors :].add_(step.eps[:, 1:])
    return roots


def rowwise_adagrad(step):
    """Make a step as `adagrad` does, with G += mean of g^2 over the factors of a feature for all of them."""
    (squares,), k = step.slots, step.num_factors
    new = step.gradient.square()
    squares[:, 0].add_(new[:, :k].mean(1))
    squares[:, 1].add_(new[:, k])
    divisors, moved = squares.sqrt().add_(step.eps), step.gradient.mul_(step.rates)
    step.weights[:, :k].addcdiv_(moved[:, :k], divisors[:, :1], value=-1)
    step.weights[:, k].addcdiv_(moved[:, k], divisors[:, 1], value=-1)


def adam(step):
    """Make a step of Adam: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr c m / (sqrt(v) + eps)."""
    (first, second), present = step.slots, step.present
    first.lerp_(step.gradient, 1 - BETA1 if present is None else present * (1 - BETA1))
    squares = step.gradient.square_()
    second.lerp_(squares, 1 - BETA2 if present is None else present * (1 - BETA2))
    moved = step.rates * first if present is None else (step.rates * first).mul_(present)
    step.weights.addcdiv_(moved, second.sqrt().add_(step.eps), value=-1)


# by the names of optimizers; one without an entry trains on the processor
RULES = {"adagrad": adagrad, "adam": adam, "rowwise_adagrad": rowwise_adagrad, "sgd": sgd}


def rule_of(hyperparameters):
    """Return the formula of an optimizer; raise UsageError where RULES has none."""
    if hyperparameters.optimizer not in RULES:
        raise UsageError(
            f"optimizer {hyperparameters.optimizer} has no formula for devices of PyTorch; use --device cpu"
        )
    return RULES[hyperparameters.optimizer]

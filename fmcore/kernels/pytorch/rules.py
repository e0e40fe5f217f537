"""The optimizers over whole matrices of weights: the formulas of fmcore.optimizers, in place, by their names.

Each is called as rule(step) and moves step.weights. Rows of features that the mini-batch does not hold have a gradient
of 0 and are not to change: with most rules that follows, adam asks step.present.
"""

from typing import NamedTuple

from fmcore.errors import UsageError
from fmcore.kernels.pytorch.library import torch
from fmcore.optimizers.adam import BETA1, BETA2


class Step(NamedTuple):
    """One step of the weights of some features, as Table has them.

    gradient: with decay, clipped, and 0 where a feature is absent; may be overwritten. rates: the learning rates, in
    which all corrections are. present: float32 (features, 1), 1 or 0, or None where all are.
    """

    weights: torch.Tensor
    gradient: torch.Tensor
    slots: tuple
    rates: torch.Tensor
    eps: float
    present: torch.Tensor | None
    num_factors: int


def sgd(step):
    """Plain descent: w -= lr g."""
    step.weights.addcmul_(step.gradient, step.rates, value=-1)


def adagrad(step):
    """G += g^2; w -= lr g / (sqrt(G) + eps)."""
    (squares,) = step.slots
    squares.addcmul_(step.gradient, step.gradient)
    step.weights.addcdiv_(step.gradient.mul_(step.rates), squares.sqrt().add_(step.eps), value=-1)


def rowwise_adagrad(step):
    """As adagrad, with G += mean of g^2 over the factors of a feature for all of them."""
    (squares,), k = step.slots, step.num_factors
    new = step.gradient.square()
    squares[:, 0].add_(new[:, :k].mean(1))
    squares[:, 1].add_(new[:, k])
    divisors, moved = squares.sqrt().add_(step.eps), step.gradient.mul_(step.rates)
    step.weights[:, :k].addcdiv_(moved[:, :k], divisors[:, :1], value=-1)
    step.weights[:, k].addcdiv_(moved[:, k], divisors[:, 1], value=-1)


def adam(step):
    """Moments: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr c m / (sqrt(v) + eps)."""
    (first, second), present = step.slots, step.present
    first.lerp_(step.gradient, 1 - BETA1 if present is None else present * (1 - BETA1))
    squares = step.gradient.square_()
    second.lerp_(squares, 1 - BETA2 if present is None else present * (1 - BETA2))
    moved = step.rates * first if present is None else (step.rates * first).mul_(present)
    step.weights.addcdiv_(moved, second.sqrt().add_(step.eps), value=-1)


# by the names of optimizers; one that is not here trains on the processor
RULES = {"adagrad": adagrad, "adam": adam, "rowwise_adagrad": rowwise_adagrad, "sgd": sgd}


def rule_of(hyperparameters):
    """Return the formula of an optimizer; raise UsageError where there is none here."""
    if hyperparameters.optimizer not in RULES:
        raise UsageError(
            f"optimizer {hyperparameters.optimizer} has no formula for devices of PyTorch; take --device cpu"
        )
    return RULES[hyperparameters.optimizer]

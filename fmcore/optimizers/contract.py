"""The contract of an optimizer: its formula, and what it keeps for each weight from one step to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Slot:
    """A number that an optimizer keeps for every weight; 0 before the first step.

    per_row: whether all weights of a feature in a tensor have one together.
    dtype: in a model. least: what it never falls below, or None.
    degree: the power of the gradient that it is of, by which it follows a feature to another scale.
    combine: how several workers, who take the mean of their numbers, combine it: "mean", of what is a mean over
    gradients itself, which stays as it is; "sum", of what grows by every gradient and so is as many times smaller than
    that of one who trains all rows as there are workers.
    """

    name: str
    per_row: bool = False
    dtype: type = np.float32
    least: float | None = None
    degree: int = 1
    combine: str = "mean"


class Optimizer(Protocol):
    """A rule that computes steps from gradients.

    name: value of the hyperparameter `optimizer`. kernel: its number in kernels/optimizers.h, None without kernels.
    factors_kernel: likewise for factors, where it keeps one number for all of a feature's; else None.
    eps: what keeps it from dividing by 0, where the hyperparameter eps is none.
    slots: what it keeps; all per row, or none. counts: whether it keeps the number of its steps, too.
    floors: whether its steps are as long for small gradients as for large ones, so that penalties by rows limit them to
    Newton's (see kernels/row_rule.h). linear: whether a step is proportional to the gradient, so that one by a sum over
    rows is divided by their number.
    """

    name: str
    kernel: int | None = None
    factors_kernel: int | None = None
    eps: float = 1e-8
    slots: tuple[Slot, ...] = ()
    counts: bool = False
    floors: bool = False
    linear: bool = False

    def step(
        self,
        weight: np.ndarray,
        gradient: np.ndarray,
        state: Mapping[str, np.ndarray],
        lr: float,
        eps: float,
        t: int,
    ) -> None:
        """Update the weights of some rows of a tensor, in place, and what the optimizer keeps of them.

        weight, gradient: float64, of one shape; the gradient with decay, clipped. state: slot's name -> float64 of that
        shape, or of its rows alone, (rows, 1, ...), where it is per row. t: the number of the step, from 1.
        """
        ...

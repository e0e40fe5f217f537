"""The numbers that the kernels take of hyperparameters, the same for all mini-batches of a pass but for their rates."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from fmcore.errors import UsageError
from fmcore.hyper.groups import GROUPS
from fmcore.hyper.params import Hyperparameters
from fmcore.kernels.row_rule import RowRule, reach_of
from fmcore.objectives import objective_of
from fmcore.optimizers import optimizer_of

FIXED = 0  # as in optimizers.h: the number that stands for an optimizer that changes no weight


class Rates(NamedTuple):
    """The learning rates of a pass: mini-batch number n of it, from 0, has lr - fall (done + n) times their usual."""

    lr: float
    fall: float
    done: int


def settings(
    hyperparameters: Hyperparameters, cases: tuple[int, int], rule: RowRule | None = None
) -> Callable[[Rates, int], SimpleNamespace]:
    """Return a function from the Rates of a pass and the updates so far to the settings of the kernels.

    cases: how many losses and optimizers were compiled. rule: where penalties go by rows.
    Raises UsageError where a number is beyond them, ValueError where the kernels have no case for what is given; see
    fmcore.kernels.backend_of.
    """
    h, optimizer, objective = hyperparameters, optimizer_of(hyperparameters), objective_of(hyperparameters).kernel
    if objective is None or optimizer.kernel is None:
        raise ValueError(f"the kernels have no case for predictor_type {h.predictor_type} with {h.optimizer}")
    kernels = dict.fromkeys(GROUPS, optimizer.kernel)
    kernels["factors"] = optimizer.factors_kernel or optimizer.kernel
    _require_compiled(f"predictor_type {h.predictor_type}", objective, cases[0])
    _require_compiled(f"optimizer {h.optimizer}", max(kernels.values()), cases[1])

    floors = rule is not None and optimizer.floors

    def of_group(group: str, by: float) -> tuple[int, float, float, float, float]:
        lr, wd = getattr(h, f"{group}_lr"), getattr(h, f"{group}_wd")
        eps, floor = (h.eps + lr * wd, lr * reach_of(group)) if floors else (h.eps or 0.0, 0.0)
        return kernels[group] if h.uses(group) else FIXED, by * lr, wd, eps, floor

    def at(rates: Rates, updates: int) -> SimpleNamespace:
        return SimpleNamespace(
            **{group: of_group(group, rates.lr) for group in GROUPS},
            fall=rates.fall / rates.lr if rates.fall else 0.0,
            done=rates.done,
            clip=np.inf if h.clip_gradient is None else h.clip_gradient,
            share=1 / h.num_factors,
            rescale=h.rescale_grad or 0,
            objective=objective,
            updates=updates,
            rule=None if rule is None else rule.numbers(),
        )

    return at


def _require_compiled(what: str, number: int, cases: int) -> None:
    """Raise UsageError where an objective or optimizer states a number that the compiled kernels do not have."""
    if not 0 <= number < cases:
        raise UsageError(
            f"{what} is number {number} in the kernels, but this build ends at {cases - 1}; add its case and compile "
            "again (make develop), or set its kernel to None"
        )

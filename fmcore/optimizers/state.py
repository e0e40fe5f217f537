"""The state of gradient descent beside the weights, as a table: each array's name, shape, bounds and rules."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fmcore.families import Family
from fmcore.optimizers import Optimizer, Slot, optimizer_of

COUNTED = 2**53  # mini-batches at most: what a float64 counts exactly
ROWS, VARIANCE, TOTALS = "evidence.rows", "variance.factors", "evidence.totals"  # names of what penalty rows keeps


@dataclass(frozen=True)
class Spec:
    """One array of a solver's state, as a model holds it.

    least, most: bounds of its numbers, or None. degree: the power of a feature's gradient that they are of, which is
    0 where they do not depend on the scale of its values. combine: see `Slot`.
    per_feature: whether its first axis are the features.
    """

    shape: tuple[int, ...]
    dtype: type
    least: float | None = None
    most: float | None = None
    degree: int = 0
    combine: str = "mean"
    per_feature: bool = False

    def fits(self, array: np.ndarray) -> bool:
        """Return whether an array has this shape and dtype, whatever its numbers are."""
        return (array.dtype.type, array.shape) == (self.dtype, self.shape)

    def holds(self, array: np.ndarray) -> bool:
        """Return whether no number of an array is out of bounds."""
        return (self.least is None or array.min() >= self.least) and (self.most is None or array.max() <= self.most)


def state_table(hyperparameters: Any, family: Family, feature_dim: int) -> dict[str, Spec]:
    """Return name -> Spec of each array that the optimizer of Hyperparameters keeps of a family's tensors."""
    optimizer = optimizer_of(hyperparameters)
    table = {}
    for slot in optimizer.slots:
        for tensor in family.tensors:
            table[slot_name(slot, tensor.name)] = Spec(
                slot_shape(slot, tensor.shape(hyperparameters, feature_dim)),
                slot.dtype,
                least=slot.least,
                degree=slot.degree if tensor.per_feature and tensor.scaled else 0,
                combine=slot.combine,
                per_feature=tensor.per_feature,
            )
    if optimizer.counts:
        table[updates_name(optimizer)] = Spec((1,), np.int64, least=0, most=COUNTED)
    if hyperparameters.penalty == "rows":
        table |= _evidence_table(feature_dim)
    return table


def _evidence_table(feature_dim: int) -> dict[str, Spec]:
    """Return the table of what penalties by rows need (see fmcore.rows.evidence)."""
    return {
        ROWS: Spec((feature_dim,), np.float32, least=0, per_feature=True),
        VARIANCE: Spec((feature_dim,), np.float32, least=0, degree=-2, per_feature=True),
        TOTALS: Spec((2,), np.float64, least=0),
    }


def slot_name(slot: Slot, tensor: str) -> str:
    """Return the name under which a model's state holds one slot of a tensor."""
    return f"{slot.name}.{tensor}"


def slot_shape(slot: Slot, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a slot of weights of that shape: the same, or one number for each row of them."""
    return (shape[0], *(1 for _ in shape[1:])) if slot.per_row else shape


def updates_name(optimizer: Optimizer) -> str:
    """Return the name under which a model's state holds the number of mini-batches trained so far."""
    return f"{optimizer.name}.updates"


def updates_state(optimizer: Optimizer, updates: int) -> dict[str, np.ndarray]:
    """Return what a model's state holds of the mini-batches trained so far: int64 (1,) where they are counted."""
    return {updates_name(optimizer): np.array([updates], np.int64)} if optimizer.counts else {}


def updates_in(optimizer: Optimizer, state: dict[str, np.ndarray]) -> int:
    """Return the mini-batches trained so far, by a model's state; 0 where it has no count."""
    kept = state.get(updates_name(optimizer))
    return 0 if kept is None else int(kept[0])

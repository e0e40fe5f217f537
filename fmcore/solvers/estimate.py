"""Estimates of the memory that training takes, made before it is taken."""

import math

from fmcore.errors import ResourceError
from fmcore.families import family_of
from fmcore.families.contract import numbers_per_feature
from fmcore.hyper.params import Hyperparameters
from fmcore.kernels import has_kernels
from fmcore.kernels.cpu import LANES
from fmcore.optimizers import optimizer_of
from fmcore.optimizers.state import state_table
from fmcore.system.memory import Budget

FLOAT = 4  # bytes
EVIDENCE = 2  # numbers of a feature that penalties by rows need


def parameter_bytes(hyperparameters: Hyperparameters, feature_dim: int) -> int:
    """Return the most bytes that the parameters take while they are trained, which is several times the model's own.

    These are the model as it begins, with what is known of its rows, the table that is trained, with the optimizer's
    state and each feature's factors padded to LANES, and the copy of both that becomes the model; early stopping keeps
    one further copy, and so does going back where training diverges.
    """
    h = hyperparameters
    plain, model = _numbers(h)
    known = 2 * EVIDENCE if h.penalty == "rows" else 0  # as rows show it, and as the model begins with it
    copies = 1 + (h.early_stopping_patience is not None) + (h.on_divergence != "fail")
    return FLOAT * feature_dim * (plain + known + copies * model) + table_bytes(h, feature_dim)


def _numbers(h: Hyperparameters) -> tuple[int, int]:
    """Return (weights, weights with the optimizer's state) of a feature; other tensors are too small to count."""
    family = family_of(h)
    plain = numbers_per_feature(family, h)
    return plain, plain + sum(math.prod(spec.shape) for spec in state_table(h, family, 1).values() if spec.per_feature)


def table_bytes(hyperparameters: Hyperparameters, feature_dim: int) -> int:
    """Return the bytes of the table that is trained, including the optimizer's state and padding.

    Without kernels they are the reference's: all of it in float64, and a gradient as large as the weights beside it.
    """
    h = hyperparameters
    if not has_kernels(h):
        plain, model = _numbers(h)
        return 2 * FLOAT * feature_dim * (model + plain)
    slots = optimizer_of(h).slots
    padded = -(-h.num_factors // LANES) * LANES
    evidence = EVIDENCE if h.penalty == "rows" else 0
    return FLOAT * feature_dim * (1 + padded + evidence + sum(2 if slot.per_row else 1 + padded for slot in slots))


def require_memory(hyperparameters: Hyperparameters, feature_dim: int, budget: Budget) -> None:
    """Raise ResourceError where the parameters alone need more than a memory Budget; call before they are made."""
    needed = parameter_bytes(hyperparameters, feature_dim)
    if needed > budget.total:
        h = hyperparameters
        least = ", however small," if budget.rows < budget.total else ""  # where a limit is given
        than, more = (
            (f"--memory-limit{least} allows", "give more with --memory-limit")
            if budget.given
            else ("are free", "allow more with --memory-limit")
        )
        raise ResourceError(
            f"training a model of feature_dim {feature_dim:,} and num_factors {h.num_factors} with {h.optimizer} takes "
            f"about {needed:,} bytes of memory, more than the {budget.total:,} that {than}; take fewer factors "
            f"(--num-factors), fewer features (where ids are sparse --compact, else --hash-bits), or {more}"
        )

"""How much memory training takes, told before it is taken."""

from fmcore.errors import ResourceError
from fmcore.hyper.optimizers import ROWWISE, SLOTS
from fmcore.kernels.cpu import LANES

FLOAT = 4  # bytes


def parameter_bytes(hyperparameters, feature_dim):
    """Bytes that the parameters take at the most while they are trained, which is several times the model's own.

    There are the model as it begins, the table that is trained, with the optimizer's state and each feature's factors
    padded to LANES, and the copy of both that becomes the model; early stopping keeps one such copy beside that, and so
    does going back where training diverges.
    """
    h = hyperparameters
    rowwise, slots = h.optimizer in ROWWISE, len(SLOTS[h.optimizer])
    plain = 1 + h.num_factors
    model = plain + slots * (2 if rowwise else plain)
    copies = 1 + (h.early_stopping_patience is not None) + (h.on_divergence != "fail")
    return FLOAT * feature_dim * (plain + copies * model) + table_bytes(h, feature_dim)


def table_bytes(hyperparameters, feature_dim):
    """Bytes of what is trained itself, the optimizer's state and padding included."""
    h = hyperparameters
    rowwise, slots = h.optimizer in ROWWISE, len(SLOTS[h.optimizer])
    padded = -(-h.num_factors // LANES) * LANES
    return FLOAT * feature_dim * (1 + slots + padded + (1 if rowwise else slots * padded))


def require_memory(hyperparameters, feature_dim, budget):
    """Raise ResourceError where the parameters alone take more than a memory Budget, before they take it."""
    needed = parameter_bytes(hyperparameters, feature_dim)
    if needed > budget.total:
        h = hyperparameters
        least = ", however small," if budget.rows < budget.total else ""  # where a limit is told
        than, more = (
            (f"--memory-limit{least} allows", "give more with --memory-limit")
            if budget.given
            else ("are free", "say with --memory-limit that there is more")
        )
        raise ResourceError(
            f"training a model of feature_dim {feature_dim:,} and num_factors {h.num_factors} with {h.optimizer} takes "
            f"about {needed:,} bytes of memory, more than the {budget.total:,} that {than}; take fewer factors "
            f"(--num-factors), hash into fewer features (--hash-bits), or {more}"
        )

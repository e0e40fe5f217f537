"""Choice of the parameters that a worker holds, and the memory that they take."""

from fmcore.errors import ResourceError
from fmcore.hyper.params import Hyperparameters
from fmcore.solvers.estimate import parameter_bytes, table_bytes
from fmcore.system.memory import Budget

REPLICA = 0.4  # share of a worker's memory in which all parameters must fit twice for it to hold them all
LOOKUP = 5  # bytes a feature: the table by which a worker of shards finds the features of a round


def is_sharded(dist_state: str, hyperparameters: Hyperparameters, feature_dim: int, total: int) -> bool:
    """Return whether each worker holds only its own features; total: bytes that the worker with the least may take."""
    if dist_state != "auto":
        return dist_state == "sharded"
    return 2 * table_bytes(hyperparameters, feature_dim) > REPLICA * total


def worker_bytes(hyperparameters: Hyperparameters, feature_dim: int, workers: int, *, sharded: bool) -> int:
    """Return the most bytes that the parameters of a worker take."""
    held = parameter_bytes(hyperparameters, feature_dim)
    return held // workers + LOOKUP * feature_dim if sharded else held + feature_dim


def require_memory(needed: int, budget: Budget, workers: int, *, sharded: bool) -> None:
    """Raise ResourceError where the parameters of a worker take more bytes than its fmcore.system.memory.Budget."""
    if needed > budget.total:
        advice = "more workers, " if sharded else "--dist-state sharded, "
        raise ResourceError(
            f"the parameters take about {needed:,} bytes of memory in each of {workers} workers, more "
            f"than the {budget.total:,} that one may take; give {advice}fewer factors (--num-factors) or features "
            "(--hash-bits), or more memory with --memory-limit, which is that of one worker"
        )

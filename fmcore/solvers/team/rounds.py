"""Division of an epoch into rounds, between which workers merge their parameters."""

import numpy as np

FIRST = 128  # rows of each worker in the very first round; then they double: first steps are large and similar in all
LEAST = 16  # rounds an epoch
LONGEST = 1 << 17  # rows of each worker where they are not kept in memory: a round's blocks are all in memory at once


def bounds(rows: int, mini_batch_size: int, *, first_epoch: bool, in_memory: bool = True) -> np.ndarray:
    """Return where rounds of an epoch begin and end, int64 (rounds + 1,) from 0 to `rows`, the mean of all workers.

    Each has at least a mini-batch. first_epoch: whether the model is new, so that its first rounds are short.
    in_memory: whether the rows are.
    """
    longest = -(-rows // LEAST)
    longest = max(mini_batch_size, longest if in_memory else min(LONGEST, longest))
    ends, size = [0], max(mini_batch_size, min(FIRST, longest)) if first_epoch else longest
    while ends[-1] < rows:
        ends.append(min(rows, ends[-1] + size))
        size = min(2 * size, longest)
    return np.array(ends, np.int64)


def share(own: int, bound: int, rows: int) -> int:
    """Return how many of its own mini-batches a worker has trained at a bound of `bounds(rows)`."""
    return own * int(bound) // rows

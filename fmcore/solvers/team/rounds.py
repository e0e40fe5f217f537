"""How an epoch is cut into rounds, between which workers bring their parameters together."""

import numpy as np

FIRST = 128  # rows of each worker in the first round of all, from which they double: at first all move alike, and far
LEAST = 16  # rounds an epoch
LONGEST = 1 << 17  # rows of each worker, where they are not kept in memory: all of a round's blocks are there at once


def bounds(rows, mini_batch_size, *, first_epoch, in_memory=True):
    """Where the rounds of an epoch begin and end, int64 (rounds + 1,) from 0 to `rows`: those of one worker on average.

    They have a mini-batch at the least. first_epoch: whether the model is new, and its first rounds are short.
    in_memory: whether the rows are.
    """
    longest = -(-rows // LEAST)
    longest = max(mini_batch_size, longest if in_memory else min(LONGEST, longest))
    ends, size = [0], max(mini_batch_size, min(FIRST, longest)) if first_epoch else longest
    while ends[-1] < rows:
        ends.append(min(rows, ends[-1] + size))
        size = min(2 * size, longest)
    return np.array(ends, np.int64)


def share(own, bound, rows):
    """How many of its own mini-batches a worker has trained at a bound of `bounds(rows)`."""
    return own * int(bound) // rows

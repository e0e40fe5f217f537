"""A model of the memory that training and scoring must touch, counted from the rows: lines a level, bytes in order.

Assumptions, all in favour of the limit:

- A feature's weights and their optimizer state lie in one row of 4 (k + 1)(1 + slots) bytes, rounded up to lines of 64
  bytes; scoring has rows of 4 (k + 1). A line is moved whole.
- Caches keep the rows of the most frequent features: those that fit into L1, those of the rest that fit into L2, then
  L3. That is the best that any cache can do where rows come in a random order.
- Within a mini-batch a feature's lines come once from its level, and from L2 (L1, where it is in L1) from then on.
- Forward: each non-zero reads its index (4 bytes, in order) and the lines that hold the k + 1 weights.
- Backward: each distinct feature of the mini-batch has its lines read and written back to its level (one move); its
  non-zeros each name a row (2 bytes, in order) and read that row's sums, 4 k bytes, from L1 where the sums of a
  mini-batch fill half of it at most, else from L2. A distinct feature costs another 6 bytes in order (its number, how
  many non-zeros).
- A row costs its label, weight of gradient, score, loss (4 bytes each) and an offset (8), in order.
- What is read in order comes from RAM. Arithmetic takes no time, and all levels wait for each other.
"""

from dataclasses import dataclass, field

import numpy as np
from bandwidth import IN_ORDER, LINE, MOVE, READ

SLOTS = 1  # of adagrad
ROW_BYTES = 4 * 4 + 8
SAMPLED = 100  # mini-batches whose distinct features are counted


@dataclass
class Traffic:
    """The memory traffic of a non-zero: lines by (kind, level), and bytes in order."""

    lines: dict = field(default_factory=dict)
    in_order: float = 0.0

    def add(self, kind, level, lines):
        """Count lines."""
        self.lines[kind, level] = self.lines.get((kind, level), 0) + lines

    @property
    def bytes(self):
        """Return all bytes; a line that is moved is read and written."""
        return self.in_order + sum(LINE * (1 + (kind == MOVE)) * lines for (kind, _), lines in self.lines.items())

    def seconds(self, rates):
        """Return the seconds that a non-zero takes at least, given lines a second by (kind, level)."""
        moved = sum(lines / rates[at] for at, lines in self.lines.items())
        return moved + self.in_order / LINE / rates[IN_ORDER, "RAM"]


def lines_of(floats):
    """Return the lines that hold `floats` floats from the beginning of one."""
    return -(-4 * floats // LINE)


def row_lines(factors):
    """Return the lines that hold a feature's weights and their state while training."""
    return lines_of((1 + SLOTS) * (factors + 1))


def level_of(indices, lines, levels):
    """Return the level that caches keep each feature in: int64 (feature_dim,), an index into levels."""
    counts = np.bincount(indices)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    capacity = np.cumsum([min(size, 1 << 50) // (lines * LINE) for size in levels.values()])
    return np.searchsorted(capacity, rank, side="right")


def training(batch, factors, mini_batch_size, levels):
    """Return the Traffic of an epoch, by a sample of its mini-batches; levels: bytes by name, nearest first."""
    names, whole, read = list(levels), row_lines(factors), lines_of(factors + 1)
    at = level_of(batch.indices, whole, levels)
    distinct, non_zeros = np.zeros(len(names)), np.zeros(len(names))
    for indices in mini_batches(batch, mini_batch_size):
        distinct += np.bincount(at[np.unique(indices)], minlength=len(names))
        non_zeros += np.bincount(at[indices], minlength=len(names))
    total, traffic = non_zeros.sum(), Traffic()
    for number, name in enumerate(names):
        near = names[min(number, names.index("L2"))]
        traffic.add(MOVE, name, distinct[number] * whole / total)
        traffic.add(READ, near, (non_zeros[number] - distinct[number]) * read / total)
    sums = 4 * factors
    traffic.add(READ, "L1" if 2 * sums * mini_batch_size <= levels["L1"] else "L2", sums / LINE)
    traffic.in_order = 4 + 2 + 6 * distinct.sum() / total + ROW_BYTES * len(batch) / len(batch.indices)
    return traffic


def mini_batches(batch, size):
    """Return the indices of up to SAMPLED mini-batches, of rows drawn at random."""
    order = np.random.default_rng(0).permutation(len(batch))
    for first in range(0, min(len(order), SAMPLED * size), size):
        yield batch.take(order[first : first + size]).indices


def scoring(batch, factors, levels):
    """Return the Traffic of scoring rows."""
    names, lines, traffic = list(levels), lines_of(factors + 1), Traffic()
    shares = np.bincount(level_of(batch.indices, lines, levels)[batch.indices], minlength=len(names))
    for name, share in zip(names, shares / len(batch.indices), strict=True):
        traffic.add(READ, name, share * lines)
    traffic.in_order = 4 + (4 + 8) * len(batch) / len(batch.indices)
    return traffic


def decoding(size, batch):
    """Return the Traffic of decoding `size` bytes in memory into a batch, which is written: fetched, then stored."""
    return Traffic(in_order=(size + 2 * batch.nbytes) / len(batch.indices))


def described(touched):
    """Return bytes by level and in order, as text."""
    by_level = {"in order": touched.in_order}
    for (kind, level), lines in touched.lines.items():
        size = LINE * (1 + (kind == MOVE)) * lines
        by_level[level] = by_level.get(level, 0) + size
    return ", ".join(f"{level} {size:.0f}" for level, size in by_level.items())

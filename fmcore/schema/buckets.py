"""Numeric columns cut into buckets, each a feature of its own, so that a score need not be linear in a number.

A bucket holds the values from one edge up to below the next; the first and the last take whatever lies beyond. Numbers
are compared in 32 bits, as features have them, so that text and binary columns of any width fall into the same ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fmcore.errors import DataError
from fmcore.schema._buckets import places
from fmcore.schema.options import FEWEST

MOST_OF_AUTO = 64
MISSING = "missing"  # in place of a bucket's text
BUCKET = re.compile(r"[\[(]([^,]+),[^,]+\)")


@dataclass(frozen=True, eq=False)
class Buckets:
    """The buckets of a column, and where missing values were seen an entry of theirs after them.

    edges: float64 (buckets - 1,), ascending, values as they were read; empty for no bucket. missing: whether there is
    that entry; without one, a missing value is no feature.
    """

    edges: np.ndarray
    missing: bool = False

    def __len__(self) -> int:
        return (len(self.edges) + 1 if len(self.edges) else 0) + self.missing

    def indices(self, numbers: np.ndarray, first: int) -> np.ndarray:
        """Return the index of each number's entry, int32 (rows,), -1 for none.

        numbers: float32 (rows,), NaN where missing. first: the index of the first entry.
        """
        with np.errstate(over="ignore"):
            edges = self.edges.astype(np.float32)
        return places(numbers, edges, first, first + len(self) - 1 if self.missing else -1)

    def texts(self) -> tuple[str, ...]:
        """Return what each entry holds: "(-inf,17)", "[17,21)", ..., "[65,inf)", and "missing"."""
        bounds = [*(repr(edge).removesuffix(".0") for edge in self.edges.tolist()), "inf"]
        between = [f"[{low},{high})" for low, high in pairwise(bounds)]
        first = [f"(-inf,{bounds[0]})"] if between else []
        return (*first, *between, *([MISSING] if self.missing else []))

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Buckets:
        """Return the Buckets whose `texts` these are, the edges to the bit; DataError for texts of none."""
        missing = bool(texts) and texts[-1] == MISSING
        found = [BUCKET.fullmatch(text) for text in texts[: len(texts) - missing]]
        try:
            made = cls(np.array([float(each[1]) for each in found[1:] if each]), missing)
        except ValueError:
            made = cls(np.empty(0))
        if made.texts() != tuple(texts) or not are_edges(made.edges):
            raise DataError("these are no buckets, which follow each other from (-inf,A) to [Z,inf)")
        return made


def is_bucket(text: str) -> bool:
    """Return whether a text may be one of `Buckets.texts`."""
    return text == MISSING or BUCKET.fullmatch(text) is not None


def are_edges(numbers: np.ndarray) -> bool:
    """Return whether float64 numbers can be edges: finite and ascending."""
    return bool(np.isfinite(numbers).all() and (np.diff(numbers) > 0).all())


def wanted(choice: str | int, rows: int) -> int:
    """Return into how many buckets to cut a column, of so many rows; choice: AUTO, or the number itself."""
    if isinstance(choice, int):
        return choice
    return max(FEWEST, min(MOST_OF_AUTO, math.isqrt(rows) // 6))


def cut(numbers: np.ndarray, parts: int) -> Buckets:
    """Return the Buckets of a column by its rows; numbers: float64 (rows,), NaN where missing.

    parts: each bucket is to hold one of so many equal parts of the rows. See `starts` for the rule. Where there are at
    most as many distinct values, each has a bucket. One value alone has none: it would be in every row, as the bias is.
    """
    present = np.sort(numbers[~np.isnan(numbers)]) + 0.0  # so that -0 is 0
    if not len(present):
        return Buckets(np.empty(0))
    narrow = present.astype(np.float32)
    first = np.flatnonzero(np.append(True, narrow[1:] != narrow[:-1]))
    counts = np.diff(first, append=len(present))
    rows, zeros = len(present), int((narrow == 0).sum())
    if 2 * zeros > rows:
        rows -= zeros
    found = np.arange(1, len(first)) if len(first) <= parts else starts(counts, rows, parts)
    return Buckets(_short(present[first[found]]), missing=len(present) < len(numbers))


def starts(counts: np.ndarray, rows: int, parts: int) -> np.ndarray:
    """Return the places of the values that begin a bucket, int64, without the first.

    counts: int64, rows of each distinct value in ascending order. A bucket ends with the value that brings it to
    rows / parts rows; one that has half of that by itself is a bucket of its own. Where most values are 0, `rows` are
    the others, so that 0 is one bucket, and these are cut into `parts`.
    """
    through, alone = np.cumsum(counts), np.flatnonzero(2 * parts * counts >= rows)
    found, first = [], 0
    while first < len(counts):
        found.append(first)
        full = np.searchsorted(parts * through, parts * (through[first] - counts[first]) + rows) + 1
        after = np.searchsorted(alone, first)
        if after < len(alone):
            full = min(full, first + 1 if alone[after] == first else alone[after])
        first = int(full)
    return np.array(found[1:], np.int64)


def _short(edges: np.ndarray) -> np.ndarray:
    """Return edges that are fractions of 32 bits with the fewest digits: 0.1, no 0.10000000149."""
    narrow = edges.astype(np.float32)
    shorter = (narrow == edges) & (edges != np.floor(edges))
    return np.where(shorter, narrow.astype(str).astype(np.float64), edges)

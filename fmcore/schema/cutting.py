"""The buckets of a model's columns, which the first rows decide on, before any index is handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fmcore.rows.blocks import BLOCK_NON_ZEROS, BLOCK_ROWS
from fmcore.schema.buckets import Buckets, cut, wanted
from fmcore.schema.columns import Column
from fmcore.schema.matching import listed_plain
from fmcore.schema.options import AUTO, NONE, TableOptions
from fmcore.schema.roles import in_buckets


class Cutting:
    """The Buckets of columns by name, and the columns whose buckets are still to be decided on.

    buckets: of columns that have any.
    """

    def __init__(self, buckets: Mapping[str, Buckets] | None = None) -> None:
        self.buckets = dict(buckets or {})
        self._uncut: tuple[str, ...] = ()
        self._into: str | int = AUTO
        self._rows = 0

    @property
    def waits_for(self) -> int:
        """Return how many rows decide on the buckets; 0 once they are known."""
        return self._rows if self._uncut else 0

    def plan(self, columns: Sequence[Column], options: TableOptions) -> None:
        """Take note of the columns that the options want to be cut; errors as for `in_buckets`.

        The rows of a block will decide (see fmcore.rows.blocks), fewer where they have very many columns.
        """
        self._uncut, self._into = in_buckets(columns, options), options.buckets or AUTO
        features = sum(column.is_feature for column in columns)
        self._rows = min(BLOCK_ROWS, max(1, BLOCK_NON_ZEROS // max(1, features)))

    def learn(self, numbers: Callable[[str], np.ndarray]) -> str | None:
        """Decide on the buckets that are waited for; return what to note of them, None where there are none.

        numbers: from the name of a column to its numbers in the first rows, float64 (rows,), NaN where missing.
        """
        for name in self._uncut:
            of_column = numbers(name)[: self._rows]
            made = cut(of_column, wanted(self._into, len(of_column)))
            if len(made):
                self.buckets[name] = made
        self._uncut = ()
        found = listed_plain([f"{name} {len(made)}" for name, made in self.buckets.items()])
        return f"buckets: {found} (--buckets {NONE} leaves them out)" if found else None

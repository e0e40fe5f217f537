"""The features that columns have whatever their values: of a number itself and its buckets, of a date its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fmcore.schema.buckets import Buckets
from fmcore.schema.columns import Column

Entry = tuple[str, str | None]  # the name of a feature, and the text of a bucket or None


class OwnFeatures:
    """The features of columns before those of values, from index 0 on, in the order of the columns.

    A numeric column has its value, then its buckets. first: column -> the first of its indices. size: how many there
    are. fields: feature column -> its number among these.
    """

    def __init__(self, columns: Sequence[Column], buckets: Mapping[str, Buckets]) -> None:
        self._columns = [column for column in columns if column.is_feature]
        self._buckets, self.size = buckets, 0
        self.first: dict[str, int] = {}
        for column in self._columns:
            self.first[column.name] = self.size
            self.size += len(column.own) + len(buckets.get(column.name, ()))
        self.fields = {column.name: number for number, column in enumerate(self._columns)}

    def entries(self) -> Iterator[Entry]:
        """Yield the name of each feature: of the column, with the text of the bucket where it is one."""
        for column in self._columns:
            yield from ((name, None) for name in column.own)
            if column.name in self._buckets:
                yield from ((column.name, text) for text in self._buckets[column.name].texts())

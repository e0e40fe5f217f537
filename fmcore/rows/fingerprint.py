"""Whether rows that are read again are those that were read before."""

import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import cast

import numpy as np

from fmcore.errors import DataError
from fmcore.rows.batch import ARRAYS, Batch

ADVICE = (
    "the file changed while training went on. Rows that do not fit in memory are read again each epoch: train on "
    "a copy that stays as it is, or give more with --memory-limit"
)


class FirstPass:
    """Fingerprints of a first pass over the rows, batch by batch, which later passes must match."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []  # (rows, CRC-32) of each batch
        self._rows = 0

    def add(self, batch: Batch) -> None:
        """Note the next batch of the first pass."""
        self._seen.append((len(batch), checksum(batch)))
        self._rows += len(batch)

    def again(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches of a later pass (a generator), each only once it is found to be the same.

        Raises DataError where one is another, and where there are more or fewer.
        """
        rows = count = 0
        with closing(cast("Generator[Batch, None, None]", batches)):
            for batch in batches:
                expected = self._seen[count] if count < len(self._seen) else None
                if (len(batch), checksum(batch)) != expected:
                    raise self._changed(rows, len(batch))
                yield batch
                rows, count = rows + len(batch), count + 1
        if count < len(self._seen):
            raise DataError(f"there are {rows:,} rows, where the first pass found {self._rows:,}; {ADVICE}")

    def _changed(self, before: int, rows: int) -> DataError:
        if before + rows > self._rows:
            return DataError(f"there are more rows than the {self._rows:,} that the first pass found; {ADVICE}")
        return DataError(f"rows {before + 1:,} to {before + rows:,} are not what the first pass found there; {ADVICE}")


def checksum(batch: Batch) -> int:
    """Return the CRC-32 of a batch's numbers."""
    value = 0
    for name in ARRAYS:
        array = getattr(batch, name)
        if array is not None:
            value = zlib.crc32(np.ascontiguousarray(array).data, value)
    return value

"""The features of categorical values: listed in a table of values, or hashed."""

from collections.abc import Sequence

import numpy as np

from fmcore.errors import ModelError, UsageError
from fmcore.schema.values import ValueTable

MAX_HASH_BITS = 30  # 2**31 indices would pass MAX_FEATURE_DIM


def checked_bits(bits: int) -> int:
    """Return the bits of a hash, which index features; raise UsageError for too few or too many."""
    if not 1 <= bits <= MAX_HASH_BITS:
        raise UsageError(f"--hash-bits is {bits}; expected 1 to {MAX_HASH_BITS}")
    return bits


class Listed:
    """Values that each have an index of their own, in order of first appearance.

    names: of their columns; a column's number in the ValueTable is its place in this list.
    table: the ValueTable. fixed: how many features come before the values'.
    """

    def __init__(self, names: Sequence[str] = (), table: ValueTable | None = None) -> None:
        self.names, self.table = list(names), ValueTable() if table is None else table
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.table)

    def find(self, name: str, values: list[str]) -> np.ndarray:
        """Return int32, the index of each value of a column among the values; -1 where it is not listed."""
        number = self._numbers.get(name)
        return np.full(len(values), -1, np.int32) if number is None else self.table.find(number, values)

    def add(self, name: str, value: str) -> int:
        """Return the index of a value, added at the end where it is new. Raise DataError beyond what indices can be."""
        return self.table.add(self._number(name), value)

    def extend(self, names: Sequence[str], columns: np.ndarray, values: Sequence[str]) -> np.ndarray:
        """Return the index of each value, int32, as `add` does; columns: of each value, its place among the names."""
        places, first = np.unique(columns, return_index=True)
        numbers = np.zeros(len(names), np.int64)
        for place in places[np.argsort(first)].tolist():
            numbers[place] = self._number(names[place])
        return self.table.extend(numbers[columns], values)

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def keep(self, kept: np.ndarray) -> None:
        """Drop the values for which kept (bool, one a value) is False."""
        self.table = self.table.subset(kept)

    def entry(self, index: int) -> tuple[str, str]:
        """Return (column, value)."""
        number, value = self.table.entry(index)
        self.require_known(number)
        return self.names[number], value

    def require_known(self, number: int) -> None:
        """Raise ModelError for a column's number that has no name, as a damaged file may have it."""
        if number >= len(self.names):
            raise ModelError(f"damaged: a categorical value is of column {number}; there are {len(self.names)}")


class Hashed:
    """Values hashed into 2**bits indices, H(column=value) mod 2**bits.

    H is BLAKE2b (RFC 7693) with a digest of 8 bytes read as a little-endian integer, over the UTF-8 text: equal on
    every platform and in every run.
    kept: bool for each index, those that are features where rare ones are dropped, packed as bits; None for all.
    """

    def __init__(self, bits: int, kept: np.ndarray | None = None) -> None:
        self.bits, self.kept = checked_bits(bits), kept

    def __len__(self) -> int:
        return 1 << self.bits

    def find(self, name: str, values: list[str]) -> np.ndarray:
        """Return int32, the index of each value of a column; -1 where it is not kept."""
        import hashlib  # only where values are hashed, as other commands start sooner without

        prefix = hashlib.blake2b(f"{name}=".encode(), digest_size=8)
        digests = bytearray()
        for value in values:
            text = prefix.copy()
            text.update(value.encode())
            digests += text.digest()
        found = (np.frombuffer(bytes(digests), "<u8") % (1 << self.bits)).astype(np.int32)
        if self.kept is None:
            return found
        kept = self.kept[found >> 3] >> (found & 7).astype(np.uint8) & 1
        return np.where(kept.astype(bool), found, np.int32(-1))

    def keep(self, kept: np.ndarray) -> None:
        """Drop the indices for which kept (bool, one an index) is False."""
        self.kept = np.packbits(kept, bitorder="little")

    def entry(self, _index: int) -> None:
        """Return None: what is behind a hashed index is not known."""
        return

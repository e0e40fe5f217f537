"""The categorical values of a model: pairs of a column's number and a text, each with an index, in a few arrays.

The arrays are used as they lie in a model file, mapped into memory: opening them reads next to nothing of them, and a
search the few pages that it needs. For entries of `n` bytes of text they take about n + 10 bytes each:

    texts    uint8    the UTF-8 of all entries, joined
    ends     uint32   where the text of each entry ends there; int64 from 4 GiB of text
    columns  uint8    the column's number of each entry; uint16 or uint32 where one needs it
    slots    uint32   a hash table: open addressing with linear probing, four slots for three entries, placed in order.
                      0: empty. Else the lower b bits are an entry's index + 1, where b is the bits of the number of
                      entries, and the upper ones are the lower ones of its hash (texthash.h). The first slot to look
                      at is (upper half of the hash) * slots / 2**32.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fmcore.errors import ModelError
from fmcore.rows.batch import MAX_FEATURE_DIM
from fmcore.schema._values import ValueArrays, end_type, slot_count

NAMES = ("texts", "ends", "columns", "slots")
COLUMN_TYPES = tuple(map(np.dtype, (np.uint8, np.uint16, np.uint32)))
MANY = 1 << 16  # entries handled at once where all are gone through


class ValueTable:
    """Categorical values (column number, text) -> index: 0, 1, 2, ... in the order in which they were added.

    At most 2**31 - 1 entries. Column numbers are below 2**32. A text may be empty, long, and hold any character.
    """

    def __init__(self, arrays: ValueArrays | None = None) -> None:
        if arrays is None:
            nothing = np.empty(0, np.uint8)
            arrays = ValueArrays.filled(nothing, np.empty(0, np.uint32), nothing)
        self._arrays = arrays
        self._digests: dict[int, str] = {}  # by the number of entries

    def __len__(self) -> int:
        return len(self._arrays)

    def find(self, column: int, texts: Sequence[str] | Sequence[bytes]) -> np.ndarray:
        """Return the index of each text (str, or UTF-8 as bytes) of a column: int32, -1 where it is not listed."""
        return self._arrays.find(column, texts if isinstance(texts, list) else list(texts))

    def add(self, column: int, text: str) -> int:
        """Return the index of a text, which is appended where it is new; see `extend`."""
        return self._arrays.add(column, text)

    def extend(self, columns: int | Sequence[int] | np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Return the index of each (column, text), int32; those that are new are appended in their order.

        columns: of each text, or one of all. A mapped table is copied into memory first.
        Raises DataError where there are too many entries, or a text is no valid Unicode; those before it are added.
        """
        numbers = np.asarray(columns)
        if numbers.dtype != np.uint32:
            if numbers.size and not (numbers.dtype.kind in "iu" and 0 <= numbers.min() <= numbers.max() < 2**32):
                raise ValueError("column numbers are whole numbers below 2**32")
            numbers = numbers.astype(np.uint32)
        numbers = np.ascontiguousarray(np.broadcast_to(numbers, len(texts)))
        return self._arrays.extend(numbers, list(texts))  # a copy, which no other thread can change meanwhile

    def entry(self, index: int) -> tuple[int, str]:
        """Return column number and text of an entry. Raises IndexError where there is none."""
        (text,) = self.texts([index])
        return int(self._arrays.columns[index]), text

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, str]]:
        """Yield (column number, text) of the entries from `start` to before `stop`, by default all."""
        first, last, _ = slice(start, stop).indices(len(self))
        for begin in range(first, last, MANY):
            end = min(begin + MANY, last)
            yield from zip(self.columns(begin, end).tolist(), self.texts(np.arange(begin, end)), strict=True)

    def texts(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """Return the texts of entries. Raises IndexError where one does not exist."""
        try:
            return self._arrays.decode(np.ascontiguousarray(indices, np.int64))
        except UnicodeDecodeError as error:
            raise ModelError(f"damaged: a categorical value is no UTF-8 ({error.reason})") from None

    def columns(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the column number of the entries from `start` to before `stop`: a read-only view."""
        return _read_only(self._arrays.columns[: len(self)][start:stop])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the whole table as arrays (see above), read-only; the same entries give the same bytes."""
        arrays, count = self._arrays, len(self)
        arrays.fit()
        used = (arrays.texts[: arrays.size], arrays.ends[:count], arrays.columns[:count], arrays.slots)
        return dict(zip(NAMES, map(_read_only, used), strict=True))

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray]) -> "ValueTable":
        """Return the table that `tensors` gave, which uses the arrays as they lie and reads next to nothing of them.

        Raises ModelError where they do not fit each other. Arrays that are damaged beyond that never lead outside of
        themselves: `find` and others raise ModelError, or find nothing.
        """
        return cls(ValueArrays(*_checked(tensors)))

    def subset(self, keep: np.ndarray) -> "ValueTable":
        """Return a table of those entries where `keep`, bool (entries,), is true, in order."""
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != (len(self),):
            raise ValueError(f"keep is {keep.dtype} {keep.shape}; expected bool ({len(self)},)")
        return ValueTable(self._arrays.taken(np.flatnonzero(keep).astype(np.int64, copy=False)))

    def digest(self, first: int | None = None) -> str:
        """Return the SHA-256, in hexadecimal, of all entries or of the first ones, columns and texts in order.

        It is that of the number of entries (uint64 LE), their columns (uint32 LE), ends (uint64 LE) and texts.
        """
        count = len(self) if first is None else first
        if count not in self._digests:
            self._digests[count] = self._computed_digest(count)
        return self._digests[count]

    def _computed_digest(self, count: int) -> str:
        import hashlib  # only where a digest is wanted, as commands that have none start sooner

        ends, digest = self._ends(count), hashlib.sha256(count.to_bytes(8, "little"))
        for array, kind in ((self._arrays.columns[:count], "<u4"), (ends, "<u8")):
            for begin in range(0, count, MANY):
                digest.update(np.ascontiguousarray(array[begin : begin + MANY], kind).data)
        digest.update(self._arrays.texts[: _last(ends)].data)
        return digest.hexdigest()

    def starts_with(self, other: "ValueTable") -> bool:
        """Return whether the first entries are those of another table, in the same order."""
        return len(other) <= len(self) and self.digest(len(other)) == other.digest()

    def _ends(self, count: int) -> np.ndarray:
        """Return where the first entries' texts end. Raises ModelError where the last of them ends outside."""
        if not 0 <= count <= len(self):
            raise IndexError(f"{count} of {len(self)} categorical values")
        ends = self._arrays.ends[:count]
        if not 0 <= _last(ends) <= self._arrays.size:
            raise ModelError("damaged: a categorical value ends outside of the text of all of them")
        return ends

    @property
    def nbytes(self) -> int:
        """Return the bytes of its arrays, mapped or in memory."""
        return sum(getattr(self._arrays, name).nbytes for name in NAMES)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_tensors, (self.tensors(),)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _last(ends: np.ndarray) -> int:
    """Return how long the text of these entries is."""
    return int(ends[-1]) if len(ends) else 0


def _checked(tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return texts, ends, columns and slots. Raises ModelError where they do not fit each other."""
    if tensors.keys() != set(NAMES):
        found = ", ".join(sorted(tensors))
        raise ModelError(f"the list of categorical values has {found or 'no tensors'}; expected {', '.join(NAMES)}")
    texts, ends, columns, slots = arrays = [tensors[name] for name in NAMES]
    expected = {
        "texts": (texts, np.uint8, texts.size),
        "ends": (ends, end_type(texts.size), ends.size),
        "columns": (columns, columns.dtype if columns.dtype in COLUMN_TYPES else np.uint8, ends.size),
        "slots": (slots, np.uint32, slot_count(ends.size)),
    }
    for name, (array, dtype, size) in expected.items():
        if array.dtype != dtype or array.shape != (size,) or not array.flags.c_contiguous:
            raise ModelError(
                f"damaged: {name} of the list of categorical values is {array.dtype} {list(array.shape)}; "
                f"expected {np.dtype(dtype)} [{size}]"
            )
    if ends.size > MAX_FEATURE_DIM:
        raise ModelError(f"damaged: {ends.size:,} categorical values; expected at most {MAX_FEATURE_DIM:,}")
    if _last(ends) != texts.size:
        raise ModelError(f"damaged: categorical values take {_last(ends)} bytes by their ends, not {texts.size}")
    return arrays

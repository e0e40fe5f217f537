"""Read MXNet's file of named arrays, the `params` of an archive: bytes to arrays, dense or row-sparse.

Layout, little-endian, as `mx.nd.save` of MXNet 1.x writes it:

    uint64 0x112, uint64 0, uint64 count, then each array:
        uint32 magic       0xF993fac9; 0xF993fac8 before MXNet 0.12 (no storage type); before 0.11 the ndim itself
        int32 storage      0 dense, 1 row_sparse
        shape              of the rows stored, row_sparse alone
        shape              uint32 ndim, int64 each (uint32 before 0.11); with ndim 0 the array ends here
        int32, int32       kind and number of the device
        int32 dtype        0 float32, 1 float64, 2 float16, 3 uint8, 4 int32, 5 int8, 6 int64
        int32 dtype, shape of the row numbers, row_sparse alone
        data               then the row numbers: int64, ascending
    uint64 count, then each name: uint64 length, bytes, which begin with "arg:" or "aux:"
"""

import math
import struct
from typing import NamedTuple

import numpy as np

from fmcore.errors import ModelError
from fmcore.hyper.params import MAX_NUM_FACTORS
from fmcore.rows.batch import MAX_FEATURE_DIM

LIST_MAGIC = struct.pack("<QQ", 0x112, 0)
WITH_STORAGE, WITHOUT_STORAGE = 0xF993FAC9, 0xF993FAC8
DTYPES = dict(enumerate(map(np.dtype, ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8"))))
ROW_NUMBERS = 6  # int64
MAX_DIMENSIONS = 8
MAX_ARRAYS = 1000  # a factorization machine has three
LONGEST_NAME = 1000
MAX_SIZE = MAX_FEATURE_DIM * MAX_NUM_FACTORS


class Array(NamedTuple):
    """One array as it is stored.

    shape: of the whole. values: of shape `shape`, or (stored rows, *shape[1:]), mapped from the file.
    rows: int64 (stored rows,), ascending, all other rows being 0; None where the array is dense.
    """

    shape: tuple
    values: np.ndarray
    rows: np.ndarray | None = None

    def dense(self):
        """Return the whole array as a new float32 one; numbers too large for it become infinite."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.rows is None:
                return self.values.astype(np.float32)
            whole = np.zeros(self.shape, np.float32)
            whole[self.rows] = self.values
            return whole


def read(data):
    """Return a dict of name -> `Array` for the bytes of a whole file; names lose the prefixes "arg:" and "aux:".

    No memory is reserved for numbers before the file is known to hold them. Raises ModelError for every defect.
    """
    cursor = _Cursor(data)
    if cursor.take(16, "the head") != LIST_MAGIC:
        raise ModelError("not a file of MXNet arrays: its first 16 bytes are wrong")
    arrays = [_array(cursor) for _ in range(_count(cursor, "arrays"))]
    names = [_name(cursor) for _ in range(_count(cursor, "names"))]
    if len(names) != len(arrays):
        raise ModelError(f"damaged: it has {len(arrays)} arrays, but {len(names)} names")
    if cursor.left:
        raise ModelError(f"damaged: {cursor.left} bytes follow its last name")
    named = dict(zip(names, arrays, strict=True))
    if len(named) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"damaged: it has two arrays called {twice!r}")
    return named


class _Cursor:
    """Bytes that are read one after the other."""

    def __init__(self, data):
        self._data, self._at = memoryview(data), 0

    @property
    def left(self):
        return len(self._data) - self._at

    def take(self, size, what):
        """Return the next bytes as a view; `what` names them in the error where there are fewer."""
        if size > self.left:
            raise ModelError(f"cut off: {what} at byte {self._at} takes {size} bytes, but only {self.left} follow")
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, form, what):
        """Return the next numbers, in a struct format without its byte order."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}"), what))

    def array(self, shape, dtype, what):
        """Return the next numbers as an array that is a view of the data."""
        size = math.prod(shape) * dtype.itemsize
        return np.ndarray(shape, dtype, self.take(size, what))


def _count(cursor, what):
    (count,) = cursor.numbers("Q", f"the number of {what}")
    if count > MAX_ARRAYS:
        raise ModelError(f"damaged: it claims {count} {what}; at most {MAX_ARRAYS} are read")
    return count


def _array(cursor):
    (magic,) = cursor.numbers("I", "an array's magic")
    if magic == WITH_STORAGE:
        (storage,) = cursor.numbers("i", "a storage type")
        if storage not in (0, 1):
            raise ModelError(f"an array has storage type {storage}; expected 0 (dense) or 1 (row_sparse)")
        stored = _shape(cursor) if storage else None
        shape = _shape(cursor)
    elif magic == WITHOUT_STORAGE:
        stored, shape = None, _shape(cursor)
    elif magic <= MAX_DIMENSIONS:
        stored, shape = None, cursor.numbers(f"{magic}I", "a shape")
    else:
        raise ModelError(f"an array begins with {magic:#x}; expected {WITH_STORAGE:#x}, as MXNet 1.x writes it")
    if not shape:
        return Array((), np.empty(0, np.float32))
    if 0 in shape:
        raise ModelError(f"damaged: an array has shape {list(shape)}, with a dimension of 0")
    cursor.numbers("2i", "a device")
    dtype = _dtype(cursor)
    if stored is None:
        return Array(shape, cursor.array(shape, dtype, f"an array of shape {list(shape)}"))
    return _row_sparse(cursor, shape, stored, dtype)


def _row_sparse(cursor, shape, stored, dtype):
    """Return the array that follows the head of a row-sparse one."""
    (kind,) = cursor.numbers("i", "a dtype")
    counted = _shape(cursor)
    if stored != (*counted, *shape[1:]) or len(counted) != 1 or kind != ROW_NUMBERS:
        raise ModelError(
            f"damaged: a row_sparse array of shape {list(shape)} stores {list(stored)} with row numbers "
            f"of shape {list(counted)} and dtype {kind}; expected one int64 ({ROW_NUMBERS}) a stored row"
        )
    values = cursor.array(stored, dtype, f"stored rows of shape {list(stored)}")
    rows = cursor.array(counted, DTYPES[kind], "row numbers")
    if len(rows) and (rows[0] < 0 or rows[-1] >= shape[0] or (rows[1:] <= rows[:-1]).any()):
        raise ModelError(f"damaged: the row numbers of a row_sparse array do not ascend from 0 to {shape[0] - 1}")
    return Array(shape, values, rows)


def _shape(cursor):
    (ndim,) = cursor.numbers("I", "a shape")
    if ndim > MAX_DIMENSIONS:
        raise ModelError(f"damaged: an array has {ndim} dimensions; expected 1 or 2")
    shape = cursor.numbers(f"{ndim}q", "a shape")
    if any(size < 0 for size in shape) or math.prod(size or 1 for size in shape) > MAX_SIZE:
        raise ModelError(f"damaged: an array has shape {list(shape)}, which no factorization machine has")
    return shape


def _dtype(cursor):
    (number,) = cursor.numbers("i", "a dtype")
    if number not in DTYPES:
        raise ModelError(f"an array has dtype {number}; expected 0 (float32)")
    return DTYPES[number]


def _name(cursor):
    (size,) = cursor.numbers("Q", "the length of a name")
    if size > LONGEST_NAME:
        raise ModelError(f"damaged: a name takes {size} bytes; at most {LONGEST_NAME} are read")
    try:
        name = bytes(cursor.take(size, "a name")).decode()
    except UnicodeDecodeError:
        raise ModelError("damaged: the name of an array is not UTF-8") from None
    return name.removeprefix("arg:").removeprefix("aux:")

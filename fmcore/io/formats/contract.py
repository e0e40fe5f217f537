"""The contract of a format of rows: its name, how it looks, and how it is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from fmcore.io.options import ReadOptions
from fmcore.io.pieces import Decoded


class Codec(NamedTuple):
    """The functions that read one format in pieces.

    chunks: stream -> iterator of bytes-like pieces of whole units; its DataErrors count from the stream's start.
    decode: piece -> Decoded; its DataErrors count from the piece's start.
    """

    chunks: Callable[[Any], Iterator[bytes]]
    decode: Callable[[bytes], Decoded]


class Head(NamedTuple):
    """The first bytes of a stream.

    text: all of them, without a byte order mark. first: the first line that holds more than blanks and a comment.
    features: the first of these that holds more than a label. Lines are without outer blanks, and empty where there is
    none.
    """

    text: bytes
    first: bytes
    features: bytes


def by_magic_alone(_head: Head) -> bool:
    """Return False: the format is known by its first bytes alone."""
    return False


@dataclass(frozen=True)
class Format:
    """A format of rows.

    name: the value of the option format.
    codec: from ReadOptions to how it is read; None for tables, which fmcore.io.tables reads by columns.
    magic: the bytes that every file begins with, at least four; empty where there are none.
    looks: whether a Head that begins with no format's magic is of this one.
    last: whether `looks` is called only where no other format claims the Head, as it takes almost anything.
    names: whether the first bytes of a file with a codec have the names of columns all the same, so that it is a table;
    None where they never do.
    cut: whether its units are lines, which are found from anywhere in a file, so that several workers share one.
    """

    name: str
    codec: Callable[[ReadOptions], Codec] | None
    magic: bytes = b""
    looks: Callable[[Head], bool] = by_magic_alone
    last: bool = False
    cut: bool = False
    names: Callable[[bytes], bool] | None = None

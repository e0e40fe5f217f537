"""The result of decoding one piece of a stream."""

from typing import NamedTuple

from fmcore.rows.batch import Batch


class Decoded(NamedTuple):
    """Rows decoded from one piece (a run of whole lines or whole records).

    batch: its rows; `origin.numbers` count from 1 within the piece.
    units: lines or records the piece holds, rows or not, so that the next piece's can be numbered.
    skipped: DataErrors of the units left out (on_error="skip"); their numbers count from 1 within the piece.
    facts: (name, value) pairs of observations made while decoding, for example ("min_index", 1).
    """

    batch: Batch
    units: int
    skipped: tuple = ()
    facts: tuple = ()

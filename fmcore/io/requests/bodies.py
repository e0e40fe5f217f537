"""Bodies of requests into rows to score: by index or by the names of columns, in JSON, CSV and recordIO."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from typing import NamedTuple

from fmcore.errors import DataError, UsageError
from fmcore.io.formats import FORMATS
from fmcore.io.indexing import Indexing
from fmcore.io.options import ReadOptions, Report
from fmcore.io.pieces import Decoded
from fmcore.rows.batch import Batch, concatenate
from fmcore.rows.checks import require_within
from fmcore.schema.encoder import Encoder


class Body(NamedTuple):
    """A body as a source of rows. name: for messages; path: None, as it is no file."""

    name: str = "the body"
    path: None = None


class BodyReader:
    """A reader of bodies as the rows of one model; may be used from several threads at once.

    options: of how the model's rows are read. encoder: gives an Encoder of its columns, one for each body by name.
    """

    def __init__(self, options: ReadOptions, encoder: Callable[[], Encoder]) -> None:
        # any label will do, or none: with a positive label named, every other one is legal
        self._options, self._encoder = replace(options, binary=False, positive="1", on_error="fail"), encoder

    def read(self, body: bytes, format: str) -> Batch:  # noqa: A002 - ReadOptions' word
        """Return the rows of a body; raise DataError for one that is malformed, or not of the model's columns."""
        names = FORMATS[format].names
        decode = self._decoders.get(format)
        try:
            if decode is None or (names is not None and names(body)):
                return self._table(body, format)
            clear = names is not None and not self._columns.buckets  # as in fmcore.io.readers
            self._columns.take_indices(Body().name, by_position=self._options.by_position or clear)
        except UsageError as error:  # of columns that are not the model's
            raise DataError(str(error)) from None
        batch, _ = Indexing(self._columns.ids, self._options.base).apply(decode(body).batch)
        if self._columns.columns is not None:
            require_within(batch, self._columns.feature_dim or 0)
        return batch

    def _table(self, body: bytes, format: str) -> Batch:  # noqa: A002
        from fmcore.io.tables import codec as tables

        read = tables.read(Body(), BytesIO(body), self._options, Report(), format, encoder=self._encoder())
        return concatenate(list(read))

    @cached_property
    def _columns(self) -> Encoder:
        return self._encoder()

    @cached_property
    def _decoders(self) -> dict[str, Callable[[bytes], Decoded]]:
        """Return format -> decoder of rows by index; made at first use, as commands that read files never need it."""
        width = None if self._columns.columns is None else self._columns.feature_dim
        options = replace(self._options, width=width)
        codecs = {name: each.codec(options) for name, each in FORMATS.items() if each.codec is not None}
        return {name: codec.decode for name, codec in codecs.items()}

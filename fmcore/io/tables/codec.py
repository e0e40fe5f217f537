"""CSV, TSV and Parquet into batches, in constant memory; pyarrow is used here alone."""

import shlex
from pathlib import Path

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.labels import Labels
from fmcore.io.tables._quotes import QuoteScanner
from fmcore.io.tables.arrays import Fields, advice, is_text, plain
from fmcore.io.tables.columns import resolve
from fmcore.io.tables.csvhead import Rejoined, RepeatedHeader, read_head
from fmcore.io.tables.onehot import OneHot
from fmcore.io.tables.ragged import Quotes, Ragged
from fmcore.io.tables.vocabulary import open_encoder
from fmcore.io.text.utf8 import ValidUTF8

BLOCK_BYTES = 2 << 20  # of CSV text; a row must fit
BLOCK_FIELDS = 2 << 20  # of a Parquet file, rows times columns
DELIMITERS = {"csv": ",", "tsv": "\t"}


def read(source, stream, options, report, format, *, encoder=None, labels=None):  # noqa: A002  (ReadOptions' word)
    """Yield the rows of a table as batches; origins count rows from 1, without the header and without blank lines,
    which are rows where there is one column.

    source: has `name`, for messages, and `path`, which Parquet opens (None or no regular file: DataError).
    stream: binary file-like object with read(n), decompressed; not used for Parquet.
    options: `ReadOptions`. report: `Report`. format: "csv", "tsv" or "parquet".
    encoder: from `open_encoder`, one for all tables of a run; by default the one of options.table, whose vocabulary
    must exist then. labels: `Labels` of the data set, by default of this table alone.

    Blanks around a field do not count. A field is missing where it is empty or a text of options.table.missing_values,
    null or NaN. Texts come in one spelling (fmcore.schema.texts), whatever the format; ids stay as they are written.
    Raises UsageError for columns that do not fit the options, DataError for the first bad row; of one block of rows,
    those with another number of fields than the first line come before all others.
    """
    if encoder is None:
        encoder = open_encoder(options.table, build=False)
    if labels is None:
        labels = Labels(binary=options.binary, positive=options.positive)

    def one_hot(columns):
        return OneHot(source.name, columns, encoder, labels, options, report)

    if format == "parquet":
        yield from _read_parquet(source, options, report, one_hot)
    else:
        yield from _read_csv(source, stream, _delimiter(options.table, format), options, report, one_hot)


def _delimiter(table, name):
    """Return the character between fields; raise UsageError for one that cannot be."""
    delimiter = DELIMITERS[name] if table.delimiter is None else table.delimiter
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise UsageError(f"--delimiter is {delimiter!r}; expected one ASCII character, no quote and no line end")
    return delimiter


def _read_csv(source, stream, delimiter, options, report, one_hot):
    try:
        head = read_head(stream, delimiter, options.table, report)
    except DataError as error:
        raise error.moved(source.name) from None
    if head is None:
        report.note(f"{source.name} is empty")
        return
    columns = resolve(head.names, options.table, report)
    rows, fields = one_hot(columns), Fields(columns, options.table.missing_values, report)
    header = RepeatedHeader(head.names, columns)
    scanner = QuoteScanner(ord(delimiter), len(columns.names) == 1)
    ragged = Ragged(source.name, options.on_error, report, scanner)
    if head.rows:
        whole = Rejoined(head.rows, stream)
        whole = ValidUTF8(Quotes(scanner, whole) if options.table.quotes else whole)
        parse = _parse_options(options.table, delimiter, columns, ragged)
        for batch in _csv_batches(whole, parse, columns, ragged):
            numbers = ragged.number(batch.num_rows)
            arrays = {p: batch.column(str(p)) for p in columns.used}
            block = fields.block(numbers, arrays)
            block.faults.extend(ragged.faults(numbers))
            if head.header:
                block.faults.extend(header.faults(block, arrays))
            made = rows.batch(block)
            if len(made):
                yield made
        ragged.finish()


def _parse_options(table, delimiter, columns, ragged):
    from pyarrow import csv

    return csv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if table.quotes else False,
        newlines_in_values=table.quotes,
        ignore_empty_lines=len(columns.names) > 1,  # a blank line of one column is a missing value
        invalid_row_handler=ragged,
    )


def _csv_batches(stream, parse_options, columns, ragged):
    """Yield record batches, columns called by their position: numbers as binary, texts as dictionaries of binary."""
    import pyarrow as pa
    from pyarrow import csv

    # Everything is taken as bytes: what is no number or not UTF-8 is found later with its row, and can be skipped.
    kinds = {str(p): pa.binary() for p in columns.numbers}
    kinds |= {str(p): pa.dictionary(pa.int32(), pa.binary()) for p in columns.texts}
    names = [str(p) for p in range(len(columns.names))]
    try:
        with csv.open_csv(
            stream,
            # One thread: with more, the rows of another length come without their number.
            read_options=csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
            parse_options=parse_options,
            convert_options=csv.ConvertOptions(
                column_types=kinds,
                include_columns=list(kinds),
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=False,
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        ragged.raise_first()
        straddling = "straddling" in str(error)
        raise (ragged.too_long(BLOCK_BYTES) if straddling else ragged.not_csv(error)) from None


def _read_parquet(source, options, report, one_hot):
    import pyarrow as pa
    from pyarrow import parquet

    if source.path is None or not Path(source.path).is_file():
        raise DataError(
            "Parquet is read from its end, so it must be a regular file: write it to one first",
            source=source.name,
            unit="row",
        )
    try:
        with parquet.ParquetFile(source.path) as file:
            schema = file.schema_arrow
            columns = resolve(schema.names, options.table, report)
            _check_types(schema, columns)
            rows, fields, done = one_hot(columns), Fields(columns, options.table.missing_values, report), 0
            size = min(1 << 16, max(1, BLOCK_FIELDS // len(columns.used)))
            names = [schema.names[p] for p in columns.used]
            for batch in file.iter_batches(size, columns=names, use_threads=options.threads > 1):
                arrays = {p: plain(batch.column(name)) for p, name in zip(columns.used, names, strict=True)}
                made = rows.batch(fields.block(np.arange(done + 1, done + 1 + len(batch)), arrays))
                done += len(batch)
                if len(made):
                    yield made
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not a Parquet file that can be read: {error}", source=source.name, unit="row") from None


def _check_types(schema, columns):
    """Raise UsageError for a column that is neither numbers nor text, as its role wants it."""
    from pyarrow import types

    if len(set(schema.names)) < len(schema.names):
        raise UsageError(f"several columns have one name; the columns found are: {', '.join(schema.names)}")
    numbers = set(columns.numbers)
    for position in columns.used:
        name, kind = columns.names[position], schema.types[position]
        text = is_text(kind) or types.is_dictionary(kind)
        number = types.is_null(kind) or any(
            test(kind) for test in (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
        )
        if types.is_nested(kind):
            raise UsageError(
                f"column {name!r} has the type {kind}, which is neither a number nor text: "
                f"leave it out with --ignore {shlex.quote(name)}"
            )
        if position in numbers and not (text or number):
            raise UsageError(f"column {name!r} has the type {kind}, which is not a number: {advice(name)}")

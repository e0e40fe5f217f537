"""Tables, of whatever format, into batches; CSV and TSV in constant memory."""

from dataclasses import replace

from fmcore.errors import DataError
from fmcore.io.labels import Labels
from fmcore.io.tables import parquet, records
from fmcore.io.tables._quotes import QuoteScanner
from fmcore.io.tables.arrays import Fields
from fmcore.io.tables.csvhead import Rejoined, RepeatedHeader, read_head
from fmcore.io.tables.kinds import description, kind_of
from fmcore.io.tables.onehot import OneHot
from fmcore.io.tables.ragged import Quotes, Ragged
from fmcore.io.tables.records import Strictness
from fmcore.io.text.utf8 import ValidUTF8
from fmcore.schema.encoder import Encoder, Heading
from fmcore.schema.options import parse_delimiter
from fmcore.schema.roles import named_columns, require_separators
from fmcore.schema.texts import missing_texts

BLOCK_BYTES = 2 << 20  # of CSV text; a row must fit
DELIMITERS = {"csv": ",", "tsv": "\t"}


def read(source, stream, options, report, format, *, encoder=None, labels=None):  # noqa: A002  (ReadOptions' word)
    """Yield the rows of a table as batches, or as `HeldColumns` while the encoder waits for buckets.

    Origins count rows from 1, without the header and without blank lines, which are rows where there is one column.

    source: has `name`, for messages, and `path`, which Parquet opens (None or no regular file: DataError).
    stream: binary file-like object with read(n), decompressed; not used for Parquet.
    options: `ReadOptions`. report: `Report`. format: "csv", "tsv" or "parquet".
    encoder: `Encoder`, one for all tables of a run; by default one of this table alone. labels: `Labels` of the data
    set, by default of this table alone.

    Blanks around a field do not count. A field is missing where it is empty or a text of options.table.missing_values,
    null or NaN. Texts come in one spelling (fmcore.schema.texts), whatever the format; ids stay as they are written.
    Raises UsageError for columns that do not fit the options, DataError for the first bad row; of one block of rows,
    those with another number of fields than the first line come before all others.
    """
    if encoder is None:
        encoder = Encoder()
        options = replace(options, table=replace(options.table, buckets=None, buckets_for=()))
    if labels is None:
        labels = Labels(binary=options.binary, positive=options.positive)

    unit, decides = records.UNITS.get(format, "row"), encoder.columns is None and encoder.learns

    def one_hot(names, named, found, examples):
        head = Heading(source.name, names, named, found)
        columns = bind(encoder, head, examples if decides else None, options, report)
        return columns, OneHot(source.name, columns, encoder, labels, options, report, unit)

    if format in records.UNITS:
        yield from _read_records(source, stream, format, options, report, one_hot)
    elif format == "parquet":
        yield from parquet.read(source, options, report, one_hot, decides=decides)
    else:
        given = options.table.delimiter
        delimiter = DELIMITERS[format] if given is None else parse_delimiter(given)
        yield from _read_csv(source, stream, delimiter, options, report, one_hot, _known(encoder))


def _read_csv(source, stream, delimiter, options, report, one_hot, known):
    try:
        head = read_head(stream, delimiter, options.table, report, known)
    except DataError as error:
        raise error.moved(source.name) from None
    if head is None:
        report.note(f"{source.name} is empty")
        return
    if known is None and not head.rows:  # which shows nothing of what its columns are
        report.note(f"{source.name} has no rows")
        return
    names = [name.strip() or str(position) for position, name in enumerate(head.names)]
    examples = _examples(head.sample if known is None else (), len(names), missing_texts(options.table.missing_values))
    columns, rows = one_hot(names, head.header, [kind_of(column) for column in examples], examples)
    require_separators(column for _, column in columns.features)
    fields, header = Fields(columns, options.table, report), RepeatedHeader(head.names, columns)
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


def _known(encoder):
    """Return the names of the columns that an encoder knows, none where they are numbered; None before any table."""
    if encoder.columns is None:
        return None
    return frozenset(column.name for column in encoder.columns) if encoder.named else frozenset()


def bind(encoder, head, examples, options, report):
    """Return the Binding of a table; where it is the first one, and what it shows decides, the report says what of.

    examples: the first fields of each column, missing ones left out; None for another table than the first.
    """
    binding = encoder.bind(head, options.table, report, by_position=options.by_position)
    if examples is not None:
        named = named_columns(head.names, options.table)
        shown = [list(dict.fromkeys(fields)) for fields in examples]
        free = [place not in named for place in range(len(head.names))]
        report.note(description(head.title, encoder.columns, shown, free))
    return binding


def _examples(sample, columns, missing):
    """Return the fields of each column of some rows, blanks stripped, without missing ones."""
    rows = [fields for fields in sample if len(fields) == columns]
    stripped = ([field.strip() for field in column] for column in zip(*rows, strict=True)) if rows else [[]] * columns
    return [[field for field in column if field not in missing] for column in stripped]


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


def _read_records(source, stream, format, options, report, one_hot):  # noqa: A002  (ReadOptions' word)
    def refuse(error):
        if options.on_error != "skip":
            raise error
        report.skip(error.moved(source.name))

    strictness = Strictness(missing_texts(options.table.missing_values), options.table.missing_columns)
    try:
        yield from records.read(stream, format, one_hot, refuse, strictness)
    except DataError as error:
        raise error.moved(source.name) from None

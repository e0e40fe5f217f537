"""CSV, TSV and Parquet into batches, in constant memory; pyarrow is used here alone."""

import shlex
from pathlib import Path

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.labels import Labels
from fmcore.io.tables import records
from fmcore.io.tables.blocks import ColumnBlock, Fault, Lists
from fmcore.io.tables.csvhead import Rejoined, read_head
from fmcore.io.tables.kinds import description, kind_of, parse_number
from fmcore.io.tables.onehot import OneHot
from fmcore.io.tables.ragged import Ragged
from fmcore.io.tables.records import Strictness
from fmcore.io.text.utf8 import ValidUTF8
from fmcore.schema.columns import CATEGORICAL, LIST, NUMERIC
from fmcore.schema.encoder import Encoder, Head, Texts
from fmcore.schema.roles import named_columns
from fmcore.schema.texts import missing_texts

BLOCK_BYTES = 2 << 20  # of CSV text; a row must fit
BLOCK_FIELDS = 2 << 20  # of a Parquet file, rows times columns
DELIMITERS = {"csv": ",", "tsv": "\t"}
EXAMPLES = 100  # rows of a Parquet file whose texts are examples
NO_TEXT = "is not UTF-8, or contains a NUL"


def read(source, stream, options, report, format, *, encoder=None, labels=None):  # noqa: A002  (ReadOptions' word)
    """Yield the rows of a table as batches; origins count rows from 1, without the header and blank lines.

    source: has `name`, for messages, and `path`, which Parquet opens (None or no regular file: DataError).
    stream: binary file-like object with read(n), decompressed; not used for Parquet.
    options: `ReadOptions`. report: `Report`. format: "csv", "tsv" or "parquet".
    encoder: `Encoder`, one for all tables of a run; by default one of this table alone. labels: `Labels` of the data
    set, by default of this table alone.

    Blanks around a field do not count. A field is missing where it is empty, null in Parquet, or a NaN in a numeric
    column. Raises UsageError for columns that do not fit the options, DataError for the first bad row;
    of one block of rows, those with another number of fields than the first line come before all others.
    """
    if encoder is None:
        encoder = Encoder()
    if labels is None:
        labels = Labels(binary=options.binary, positive=options.positive)

    unit = records.UNITS.get(format, "row")

    def one_hot(names, named, found, examples):
        head = Head(source.name, names, named, found)
        columns = bind(encoder, head, examples, options, report)
        return columns, OneHot(source.name, columns, encoder, labels, options, report, unit)

    if format in records.UNITS:
        yield from _read_records(source, stream, format, options, report, one_hot)
    elif format == "parquet":
        yield from _read_parquet(source, options, one_hot)
    else:
        yield from _read_csv(source, stream, DELIMITERS[format], options, report, one_hot)


def _read_csv(source, stream, delimiter, options, report, one_hot):
    try:
        head = read_head(stream, delimiter, options.table, report)
    except DataError as error:
        raise error.moved(source.name) from None
    if head is None:
        report.note(f"{source.name} is empty")
        return
    names = [name.strip() or str(position) for position, name in enumerate(head.names)]
    examples = _examples(head.sample, len(names))
    columns, rows = one_hot(names, head.named, [kind_of(fields) for fields in examples], examples)
    ragged = Ragged(source.name, options.on_error, report)
    if head.rows:
        for batch in _csv_batches(ValidUTF8(Rejoined(head.rows, stream)), delimiter, columns, ragged):
            numbers = ragged.number(batch.num_rows)
            made = rows.batch(_block(columns, numbers, {p: batch.column(str(p)) for p in columns.used}))
            if len(made):
                yield made
        ragged.finish()


def bind(encoder, head, examples, options, report):
    """Return the Binding of a table; where it is the first one, and what it shows decides, the report says what of.

    examples: the first fields of each column, missing ones left out.
    """
    decides = encoder.columns is None and encoder.learns
    binding = encoder.bind(head, options.table, report, by_position=options.by_position)
    if decides:
        named = named_columns(head.names, options.table)
        shown = [list(dict.fromkeys(fields)) for fields in examples]
        free = [place not in named for place in range(len(head.names))]
        report.note(description(head.title, encoder.columns, shown, free))
    return binding


def _examples(sample, columns):
    """Return the fields of each column of some rows, blanks stripped, without missing ones."""
    rows = [fields for fields in sample if len(fields) == columns]
    stripped = ([field.strip() for field in column] for column in zip(*rows, strict=True)) if rows else [[]] * columns
    return [[field for field in column if field] for column in stripped]


def _csv_batches(stream, delimiter, columns, ragged):
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
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=ragged),
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
        problem = f"not CSV: {error}"
        if "straddling" in str(error):
            problem = f"a row is longer than {BLOCK_BYTES} bytes; perhaps a quote is never closed"
        raise DataError(problem, source=ragged.source, unit="row") from None


def _read_records(source, stream, format, options, report, one_hot):  # noqa: A002  (ReadOptions' word)
    def refuse(error):
        if options.on_error != "skip":
            raise error.moved(source.name)
        report.skip(error.moved(source.name))

    missing = missing_texts(options.table.missing_values)
    yield from records.read(stream, format, one_hot, refuse, Strictness(missing, options.table.missing_columns))


def _read_parquet(source, options, one_hot):
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
            if len(set(schema.names)) < len(schema.names):
                raise UsageError(f"several columns have one name; the columns found are: {', '.join(schema.names)}")
            columns, rows = one_hot(schema.names, True, *_typed(file, options))
            _check_types(schema, columns)
            done = 0
            size = min(1 << 16, max(1, BLOCK_FIELDS // max(1, len(columns.used))))
            names = [schema.names[p] for p in columns.used]
            for batch in file.iter_batches(size, columns=names, use_threads=options.threads > 1):
                arrays = {p: _plain(batch.column(name)) for p, name in zip(columns.used, names, strict=True)}
                made = rows.batch(_block(columns, np.arange(done + 1, done + 1 + len(batch)), arrays))
                done += len(batch)
                if len(made):
                    yield made
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not a Parquet file that can be read: {error}", source=source.name, unit="row") from None


def _typed(file, options):
    """Return (the kind that each column's type shows or None, some of its texts)."""
    schema = file.schema_arrow
    flat = [name for name, kind in zip(schema.names, schema.types, strict=True) if not _is_nested(kind)]
    head = next(file.iter_batches(EXAMPLES, columns=flat, use_threads=options.threads > 1), None)
    examples = [_texts(_plain(head.column(name)))[0].values if head and name in flat else [] for name in schema.names]
    return [_kind_of_type(kind) for kind in schema.types], examples


def _kind_of_type(kind):
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if _is_list(kind):
        return LIST
    return NUMERIC if _is_number(kind) else CATEGORICAL


def _check_types(schema, columns):
    """Raise UsageError for a column that is not of a type that its kind can be made of."""
    from pyarrow import types

    kinds = {position: column.kind for position, column in columns.features}
    for position in columns.used:
        name, kind = columns.names[position], schema.types[position]
        if _is_nested(kind) and not (_is_list(kind) and kinds.get(position) == LIST):
            raise UsageError(
                f"column {name!r} has the type {kind}, which is neither a number nor text: "
                f"leave it out with --ignore {shlex.quote(name)}"
            )
        value = kind.value_type if types.is_dictionary(kind) else kind
        number = _is_number(value) or types.is_null(value) or types.is_boolean(value) or _is_text(value)
        if position in columns.numbers and not number:
            raise UsageError(f"column {name!r} has the type {kind}, which is not a number: {_advice(name)}")


def _is_nested(kind):
    from pyarrow import types

    return types.is_nested(kind)


def _is_list(kind):
    from pyarrow import types

    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and not types.is_nested(kind.value_type)


def _is_number(kind):
    from pyarrow import types

    return types.is_null(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


def _is_text(kind):
    from pyarrow import types

    return any(
        test(kind)
        for test in (
            types.is_string,
            types.is_binary,
            types.is_large_string,
            types.is_large_binary,
            types.is_fixed_size_binary,
        )
    )


def _plain(array):
    """Return the array without dictionary; text as binary."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.binary()) if _is_text(array.type) else array


def _block(columns, rows, arrays):
    """Return the `ColumnBlock` of these arrays (position -> pyarrow array)."""
    block = ColumnBlock(rows, {}, {}, {}, [])
    for position in columns.numbers:
        block.numbers[position], bad = _numbers(arrays[position], columns.names[position])
        block.faults.extend(Fault(row, position, problem) for row, problem in bad)
    for position in columns.texts:
        if _is_nested(arrays[position].type):
            block.lists[position], bad = _lists(arrays[position])
        else:
            block.texts[position], bad = _texts(arrays[position])
        block.faults.extend(Fault(row, position, problem) for row, problem in bad)
    return block


def _lists(array):
    """Return (`Lists` of an array of lists, each value once, (row, problem) pairs of values that are no text)."""
    from pyarrow import compute

    lengths = compute.fill_null(compute.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    items, bad = _texts(_plain(compute.list_flatten(array)))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    problems = [(int(rows[place]), problem) for place, problem in bad]
    return Lists.distinct(rows, len(lengths), items), problems


def _numbers(array, name):
    """Return (float64 (rows,), NaN where missing; (row, problem) pairs of fields that are no number)."""
    import pyarrow as pa

    if not pa.types.is_binary(array.type):
        return _float64(array.cast(pa.float64(), safe=False)), []
    numbers = _parse_all(array)
    if numbers is None:
        numbers = _parse_all(_stripped(array))
    return _parse_each(array.dictionary_encode(), name) if numbers is None else (numbers, [])


def _parse_all(array):
    """Return float64 (rows,) of an array of text; None where any of it is no number."""
    import pyarrow as pa

    try:
        return _float64(array.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None


def _float64(array):
    return array.fill_null(np.nan).to_numpy(zero_copy_only=False)


def _stripped(array):
    import pyarrow as pa
    from pyarrow import compute

    return compute.ascii_trim_whitespace(array.view(pa.string()))  # a view: bytes that are not UTF-8 may pass here


def _parse_each(array, name):
    """Do as `_numbers` for a dictionary of binary, one distinct text after the other."""
    texts = [value.strip().decode(errors="replace") for value in array.dictionary.to_pylist()]
    parsed = [parse_number(text) if text else np.nan for text in texts]
    codes = _codes(array)
    numbers = np.array([*(np.nan if number is None else number for number in parsed), np.nan])[codes]
    bad = np.array([*(number is None for number in parsed), False])[codes]
    return numbers, [
        (row, f"{texts[codes[row]][:40]!r} is not a number: {_advice(name)}") for row in np.flatnonzero(bad).tolist()
    ]


def _texts(array):
    """Return (`Texts`, (row, problem) pairs of fields that are no text)."""
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        array = array if pa.types.is_binary(array.type) else array.cast(pa.string()).cast(pa.binary())
        array = array.dictionary_encode()
    values, problems = [], {}
    for code, value in enumerate(array.dictionary.to_pylist()):
        try:
            values.append(value.strip().decode())
        except UnicodeDecodeError:
            values.append("")
            problems[code] = NO_TEXT
        if b"\0" in value:
            problems[code] = NO_TEXT
    codes = _codes(array)
    bad = [(row, problems[codes[row]]) for row in np.flatnonzero(np.isin(codes, list(problems))).tolist()]
    if "" in values:
        codes = np.where(np.array([not text for text in values] + [True])[codes], np.int32(-1), codes)
    return Texts(codes, values), bad


def _codes(array):
    """Return int32 (rows,) codes of a dictionary array, -1 where null."""
    return array.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _advice(name):
    return f"--categorical {shlex.quote(name)} or --ignore {shlex.quote(name)}"

"""Parquet into batches, in constant memory."""

import shlex
from pathlib import Path

import numpy as np

from fmcore.errors import DataError, UsageError
from fmcore.io.tables.arrays import Fields, advice, is_list, is_nested, is_text, plain, shown
from fmcore.schema.columns import CATEGORICAL, LIST, NUMERIC
from fmcore.schema.roles import require_separators

BLOCK_FIELDS = 2 << 20  # rows times columns
EXAMPLES = 100  # rows whose texts are examples


def read(source, options, report, one_hot, *, decides):
    """Yield the rows of a Parquet file as batches.

    one_hot: from (names, named, kinds, examples) to (Binding, OneHot). decides: whether kinds and examples are used.
    """
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
            nothing = [None] * len(schema.names)
            if len(set(schema.names)) < len(schema.names):
                raise UsageError(f"several columns have one name; the columns found are: {', '.join(schema.names)}")
            columns, rows = one_hot(schema.names, True, *(_typed(file, options) if decides else (nothing, nothing)))
            _check_types(schema, columns)
            fields, done = Fields(columns, options.table, report), 0
            size = min(1 << 16, max(1, BLOCK_FIELDS // max(1, len(columns.used))))
            names = [schema.names[p] for p in columns.used]
            for batch in file.iter_batches(size, columns=names, use_threads=options.threads > 1):
                arrays = {p: plain(batch.column(name)) for p, name in zip(columns.used, names, strict=True)}
                made = rows.batch(fields.block(np.arange(done + 1, done + 1 + len(batch)), arrays))
                done += len(batch)
                if len(made):
                    yield made
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not a Parquet file that can be read: {error}", source=source.name, unit="row") from None


def _typed(file, options):
    """Return (the kind that each column's type shows or None, some of its texts)."""
    schema = file.schema_arrow
    flat = [name for name, kind in zip(schema.names, schema.types, strict=True) if not is_nested(kind)]
    head = next(file.iter_batches(EXAMPLES, columns=flat, use_threads=options.threads > 1), None)
    examples = [shown(plain(head.column(name))) if head and name in flat else [] for name in schema.names]
    return [_kind_of_type(kind) for kind in schema.types], examples


def _kind_of_type(kind):
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if is_list(kind):
        return LIST
    return NUMERIC if _is_number(kind) else CATEGORICAL


def _check_types(schema, columns):
    """Raise UsageError for a column that is not of a type that its kind can be made of."""
    from pyarrow import types

    kinds = {position: column.kind for position, column in columns.features}
    for position in columns.used:
        name, kind = columns.names[position], schema.types[position]
        if is_nested(kind) and not (is_list(kind) and kinds.get(position) == LIST):
            raise UsageError(
                f"column {name!r} has the type {kind}, which is neither a number nor text: "
                f"leave it out with --ignore {shlex.quote(name)}"
            )
        if not is_nested(kind):
            require_separators(column for at, column in columns.features if at == position)
        value = kind.value_type if types.is_dictionary(kind) else kind
        number = _is_number(value) or types.is_null(value) or types.is_boolean(value) or is_text(value)
        if position in columns.numbers and not number:
            raise UsageError(f"column {name!r} has the type {kind}, which is not a number: {advice(name)}")


def _is_number(kind):
    from pyarrow import types

    return types.is_null(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)

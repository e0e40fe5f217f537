"""What `fm train --dry-run` prints: the columns, and the first rows as features."""

from collections.abc import Iterator

from fmcore.api import Preview
from fmcore.schema.columns import DATE_PARTS, NUMBERS, Column
from fmcore.schema.schema import Schema


def lines(preview: Preview) -> Iterator[str]:
    """Yield the lines that show a Preview."""
    schema = preview.schema
    if schema.columns is None:
        yield "rows have indices, which are the features"
    else:
        yield from ("\t".join(cells) for cells in table(schema))
    for number, row in enumerate(preview.rows, 1):
        weight = f", weight {row.weight:g}" if row.weight != 1 else ""
        features = " ".join(f"{name}:{value:g}" for name, value in row.features)
        yield f"row {number}: label {row.label:g}{weight}; {features}"


def table(schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Yield a header and (column, kind, what its features are) for each column."""
    yield "column", "kind", "features"
    buckets = schema.buckets()
    for column in schema.columns or ():
        number = len(buckets.get(column.name, ())) if column.kind in NUMBERS else 0
        more = f", {counted_buckets(number)}" if number else ""
        yield column.name, column.kind, features(column, schema.hash_bits) + more


def counted_buckets(number: int) -> str:
    """Return how many buckets a column has, in words."""
    return f"{number:,} bucket{'s' * (number != 1)}"


def features(column: Column, hash_bits: int | None) -> str:
    """Return what the features of a column are, in words; buckets apart."""
    if column.kind == "log":
        return "sign(x) log(1 + |x|)"
    if column.kind == "date":
        return ", ".join(DATE_PARTS)
    if not column.is_valued:
        return "its value" if column.is_feature else "none"
    each = "one for each value" if hash_bits is None else f"values hashed into 2^{hash_bits}"
    if column.separator:
        each += f", separated by {column.separator!r}"
    return f"{each}, of weight 1/n" if column.mean else each

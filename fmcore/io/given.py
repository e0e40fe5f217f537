"""Options that the user gave, held against the format of the rows: what means nothing for it is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from fmcore.errors import UsageError
from fmcore.io.options import ReadOptions
from fmcore.schema.options import TableOptions

SPELLED = {
    "header": "--header and --no-header",
    "label": "--label-column",
    "weight": "--weight-column",
    "row_id": "--id-column",
    "quotes": "--quotes and --no-quotes",
}  # others are spelled as their fields
IDS = ("index_base", "compact")
OF_BOTH = ("hash_bits", "min_count", "buckets", "buckets_for")
COLUMNS = tuple(field.name for field in fields(TableOptions) if field.name not in OF_BOTH)
TEXT = ("header", "delimiter", "quotes")


def require_meaning(options: ReadOptions, name: str, source: str, *, is_table: bool) -> None:
    """Raise UsageError where options.given holds what means nothing for a source of the format `name`.

    is_table: whether its rows have columns, as those of JSON may.
    """
    if not is_table:
        _refuse(options, COLUMNS, source, name, "columns of tables")
        return
    _refuse(options, IDS, source, name, "ids of libsvm, libffm, recordIO and JSON")
    if name not in ("csv", "tsv"):
        _refuse(options, TEXT, source, name, "text of CSV and TSV")


def _refuse(options: ReadOptions, names: Iterable[str], source: str, name: str, meant: str) -> None:
    found = [SPELLED.get(each, f"--{each.replace('_', '-')}") for each in names if each in options.given]
    if found:
        listed = ", ".join(found)
        verb, them = ("is", "it") if len(found) == 1 and " and " not in listed else ("are", "them")
        raise UsageError(f"{listed} {verb} for the {meant}, but {source} is {name}, which has none; leave {them} out")

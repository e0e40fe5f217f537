"""Options of how rows are read, and what the user gave of them."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import click

from fmcli.option_types import Parsed
from fmcli.options import gathered, stacked
from fmcore.io.formats import choices
from fmcore.io.options import ReadOptions
from fmcore.schema.options import MODES, TABLES, TableOptions, parse_buckets, parse_delimiter
from fmcore.schema.selection import split

COLUMN_LISTS = ("numeric", "log", "dates", "categorical", "ignore", "buckets_for")  # options that take several columns
TABLE_NAMES = tuple(field.name for field in fields(TableOptions))


@dataclass(frozen=True)
class Reading:
    """The way to read rows, as a command line gives it: None, or (), where an option is not given.

    The fields are those of ReadOptions and of TableOptions that a user may choose; of COLUMN_LISTS as they were typed.
    """

    format: str | None
    index_base: str | None
    compact: bool | None
    on_error: str | None
    positive: str | None
    header: bool | None
    delimiter: str | None
    quotes: bool | None
    label: str | None
    weight: str | None
    row_id: str | None
    numeric: tuple[str, ...]
    log: tuple[str, ...]
    dates: tuple[str, ...]
    categorical: tuple[str, ...]
    lists: tuple[str, ...]
    ignore: tuple[str, ...]
    buckets: str | int | None
    buckets_for: tuple[str, ...]
    vocabulary: str | None
    vocabulary_mode: str | None
    hash_bits: int | None
    min_count: int | None
    missing: str | None
    missing_values: str | None
    missing_columns: str | None
    by_position: bool | None

    def given(self, threads: int) -> dict[str, Any]:
        """Return name -> value of the ReadOptions that were given, those of tables as a dict under "table".

        threads: to decode with, which are always among them, and so are the names, under "given".
        """
        values = asdict(self)
        for name in COLUMN_LISTS:
            values[name] = tuple(column for columns in values[name] for column in split(columns))
        if self.missing_values is not None:
            values["missing_values"] = split(self.missing_values)
        values = {name: value for name, value in values.items() if value not in (None, ()) or name == "missing_values"}
        if self.missing_values is None:
            del values["missing_values"]
        table = {name: values[name] for name in TABLE_NAMES if name in values}
        return {
            **{name: values[name] for name in values if name not in TABLE_NAMES},
            "table": table,
            "threads": threads,
            "given": frozenset(values),
        }

    def options(self, threads: int, *, binary: bool = False, buckets: str | None = None) -> ReadOptions:
        """Return the ReadOptions of what was given, where no model carries any; buckets: where none are asked for."""
        given = self.given(threads)
        table = TableOptions(**{**given["table"], "buckets": self.buckets or buckets})
        return ReadOptions(**{**given, "table": table, "binary": binary})


def buckets_by(preset: str) -> str | None:
    """Return into how many buckets the numeric columns of tables are cut where nothing is said; see TableOptions."""
    return TABLES if preset == "native" else None


READING_NAMES = tuple(field.name for field in fields(Reading))

read_options = stacked(
    click.option("--format", type=click.Choice(choices()), help="Format of the rows.  [default: by content]"),
    click.option(
        "--index-base",
        type=click.Choice(("auto", "0", "1")),
        help="libsvm, libffm, keys of recordIO and JSON: 1 subtracts one from every index; 0 and auto keep indices as "
        "they stand, and auto adds a note when those of text look 1-based.",
    ),
    click.option(
        "--compact",
        is_flag=True,
        default=None,
        help="libsvm, libffm, recordIO: number ids as they first appear, up to 2^64, where few of a huge range occur.",
    ),
    click.option(
        "--on-error",
        type=click.Choice(("fail", "skip")),
        help="At a bad row, fail or leave it out and count it.  [default: fail]",
    ),
    click.option("--positive-label", "positive", metavar="X", help="The label that means 1; every other one means 0."),
    click.option(
        "--header/--no-header", default=None, help="CSV: whether the first line names columns.  [default: by content]"
    ),
    click.option(
        "--delimiter",
        type=Parsed("delimiter", parse_delimiter),
        metavar="CHAR",
        help="CSV, TSV: the character between fields, or tab, space, semicolon, pipe.  [default: a comma, a tab]",
    ),
    click.option(
        "--quotes/--no-quotes",
        default=None,
        help='CSV, TSV: whether " encloses fields, which may hold delimiters then.  [default: --quotes]',
    ),
    click.option("--label-column", "label", metavar="COL", help="Column of the label, by name or number from 0."),
    click.option("--weight-column", "weight", metavar="COL", help="Column of the row's weight."),
    click.option("--id-column", "row_id", metavar="COL", help="Column of the row's id, passed on to predictions."),
    click.option(
        "--numeric",
        multiple=True,
        metavar="COLS",
        help="Numeric columns, separated by commas: names, numbers from 0, ranges (c1-c20) and patterns (c*).  "
        "[default: columns of numbers]",
    ),
    click.option("--log", multiple=True, metavar="COLS", help="Numeric columns taken as sign(x) log(1 + |x|)."),
    click.option(
        "--dates",
        multiple=True,
        metavar="COLS",
        help="Dates, times or Unix seconds: years passed, and place in the year, the week and the day.",
    ),
    click.option(
        "--categorical",
        multiple=True,
        metavar="COLS",
        help="Columns whose every value is a feature.  [default: columns of text]",
    ),
    click.option(
        "--lists",
        multiple=True,
        metavar="COL:SEP",
        help="Columns of several values, each a feature: genres:'|'. With COL:SEP:mean n values are 1/n each.",
    ),
    click.option("--ignore", multiple=True, metavar="COLS", help="Columns to leave out."),
    click.option(
        "--buckets",
        type=Parsed("buckets", parse_buckets),
        metavar="auto|N|none",
        help="Numeric columns give buckets beside their value: about N of equally many rows, or as many as the rows "
        "allow; where asked for, values of ids do too.  [default: auto with the preset native, for columns alone; else "
        "none; fm convert: auto with --vocabulary]",
    ),
    click.option(
        "--buckets-for",
        multiple=True,
        metavar="COLS",
        help="Give buckets for these columns or ids alone.  [default: all]",
    ),
    click.option(
        "--vocabulary",
        metavar="FILE",
        help="Write the categorical values and their indices to this file too, or share those that it lists.",
    ),
    click.option(
        "--vocabulary-mode",
        type=click.Choice(MODES),
        help="A vocabulary that exists: replace it (new), add values (grow), or leave out those that it does not list "
        "(fixed).  [default: grow; fm convert: fixed]",
    ),
    click.option(
        "--hash-bits",
        type=click.IntRange(1, 30),
        metavar="B",
        help="Hash categorical values, or the ids of libsvm, libffm and recordIO up to 2^64, into 2^B indices instead.",
    ),
    click.option(
        "--min-count",
        type=click.IntRange(1),
        metavar="N",
        help="Values in fewer than N training rows are no feature; takes a pass of its own.  [default: 1]",
    ),
    click.option(
        "--missing",
        type=click.Choice(("zero", "error")),
        help="Tables: a missing value is no feature, or an error.  [default: zero]",
    ),
    click.option(
        "--missing-values",
        metavar="TEXTS",
        help="Texts that mean a missing value, separated by commas; '' for empty fields alone.  "
        r"[default: NA, N/A, NULL, NaN, None, \N and the like]",
    ),
    click.option(
        "--missing-columns",
        type=click.Choice(("error", "zero")),
        help="A feature column of the model that a table lacks: an error, or no such features.  [default: error]",
    ),
    click.option(
        "--by-position",
        is_flag=True,
        default=None,
        help="Take columns in the order of training where their names are not known, and indices as columns.",
    ),
    gathered("reading", Reading),
)

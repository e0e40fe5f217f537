"""The meaning of the columns of a table, as a user states it."""

from dataclasses import dataclass

from fmcore.errors import UsageError

MODES = ("new", "grow", "fixed")  # of a vocabulary
AUTO, TABLES, NONE, FEWEST, MOST = "auto", "tables", "none", 2, 1000  # of buckets
DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}


@dataclass(frozen=True)
class TableOptions:
    """The meaning of the columns of a CSV, TSV or Parquet file, or of rows of JSON by name.

    Columns are named as fmcore.schema.selection describes: by name, number from 0, range or pattern.

    header: True, False, or None to find out.
    delimiter: the character between fields of CSV and TSV, None for that of the format. quotes: whether `"` encloses
    fields; else it is a character as any other.
    label, weight, row_id: a column, or None.
    numeric, log, dates, categorical, lists, ignore: columns of a kind; what none of them names is of the kind that its
    content or its type shows. log: numeric, by sign(x) log(1 + |x|). lists: several values in a field, each as
    `COLUMN:SEPARATOR`, or `COLUMN:SEPARATOR:mean` where the values of a row share a weight of 1.
    buckets: into how many buckets numbers are cut, beside their value: AUTO, by the number of rows, a number, TABLES,
    which is AUTO for numeric columns and NONE for ids of index formats, NONE, or None, which is NONE where no
    vocabulary or model has any. buckets_for: the columns, or ids such as "3-9", to cut, () for all.
    vocabulary: path of a file that lists the categorical values, to share them among models, or None.
    vocabulary_mode: one of MODES, what becomes of a vocabulary that exists; None for what the command does by itself.
    hash_bits: categorical values are hashed into 2**hash_bits indices instead of being listed, or None.
    min_count: values in fewer training rows than this are no feature.
    missing: "zero" (the row has no such feature) or "error".
    missing_values: the texts that mean a missing value, beside empty ones; None for those of fmcore.schema.texts.
    canonical: whether one value has one text, as fmcore.schema.texts describes; models of format 1 take texts as they
    are written.
    missing_columns: "error" where a table lacks a feature column of the model, or "zero" for no such features.
    """

    header: bool | None = None
    delimiter: str | None = None
    quotes: bool = True
    label: str | None = None
    weight: str | None = None
    row_id: str | None = None
    numeric: tuple = ()
    log: tuple = ()
    dates: tuple = ()
    categorical: tuple = ()
    lists: tuple = ()
    ignore: tuple = ()
    buckets: str | int | None = None
    buckets_for: tuple = ()
    vocabulary: str | None = None
    vocabulary_mode: str | None = None
    hash_bits: int | None = None
    min_count: int = 1
    missing: str = "zero"
    missing_values: tuple | None = None
    canonical: bool = True
    missing_columns: str = "error"

    def __post_init__(self) -> None:
        """Raise UsageError where buckets are wanted and not wanted."""
        if self.buckets_for and self.buckets == NONE:
            raise UsageError("--buckets none and --buckets-for contradict each other; leave one of them out")

    @property
    def buckets_of_ids(self) -> bool:
        """Whether ids of index formats are to have buckets."""
        return bool(self.buckets_for) or self.buckets not in (None, NONE, TABLES)


def parse_delimiter(text: str) -> str:
    """Return the delimiter that a user names: a character, or tab, space, comma, semicolon, pipe.

    Raises UsageError for what cannot separate fields.
    """
    found = DELIMITERS.get(text, text)
    if len(found) != 1 or not found.isascii() or found in '"\r\n\0':
        raise UsageError(f"--delimiter is {text!r}; expected one ASCII character, no quote and no line end")
    return found


def parse_buckets(text: str) -> str | int:
    """Return the number of buckets that a user asks for, or AUTO or NONE; raise UsageError for what is neither."""
    if text in (AUTO, NONE):
        return text
    if not (text.isascii() and text.isdigit() and FEWEST <= int(text) <= MOST):
        raise UsageError(f"--buckets is {text!r}; expected {AUTO}, {NONE}, or a number from {FEWEST} to {MOST:,}")
    return int(text)

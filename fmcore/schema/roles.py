"""The columns of the first table of a training: what the options say of them, and their content of the others."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fmcore.errors import UsageError
from fmcore.schema.columns import CATEGORICAL, DATE, ID, IGNORED, LABEL, LIST, LOG, NUMBERS, NUMERIC, WEIGHT, Column
from fmcore.schema.options import NONE, TableOptions
from fmcore.schema.selection import several, single

SINGLE = {LABEL: "label", WEIGHT: "weight", ID: "row_id"}  # kind -> the field of TableOptions that names its column
MANY = {NUMERIC: "numeric", LOG: "log", DATE: "dates", CATEGORICAL: "categorical", IGNORED: "ignore"}
MEAN = "mean"
LISTED = 30  # columns that a message names at most


def columns_of(names: Sequence[str], found: Sequence[str | None], options: TableOptions) -> tuple[Column, ...]:
    """Return the columns of a table, in its order.

    names: one a column. found: the kind that the content of each shows, None where it shows none (numeric then).
    Raises UsageError for a column that is not there, that has two roles, or whose name is not unique; the label and,
    beside it, the weight may be missing: the rows are then without.
    """
    kinds = named_columns(names, options)
    columns = []
    for place, (name, kind) in enumerate(zip(names, found, strict=True)):
        columns.append(replace(kinds[place], name=name) if place in kinds else Column(name, kind or NUMERIC))
    if not any(column.is_feature for column in columns):
        raise UsageError(f"no column is left to be a feature; the columns found are: {listed(names)}")
    require_distinct(columns)
    return tuple(columns)


def named_columns(names: Sequence[str], options: TableOptions) -> dict[int, Column]:
    """Return position -> Column, without its name, of those that the options name; errors as for `columns_of`."""
    kinds = _exact(names, options)
    _add_groups(kinds, names, options)
    return kinds


def in_buckets(columns: Sequence[Column], options: TableOptions) -> tuple[str, ...]:
    """Return the names of the columns that the options want to be cut into buckets.

    Raises UsageError for one that is not there, or is not numeric; of ranges and patterns these are passed over.
    """
    numeric = [place for place, column in enumerate(columns) if column.kind in NUMBERS]
    if not options.buckets_for:
        return tuple(columns[place].name for place in numeric) if options.buckets not in (None, NONE) else ()
    names, chosen = [column.name for column in columns], set()
    for named in options.buckets_for:
        place = single(names, named)
        places = several(names, named) if place is None else [place]
        if places is None:
            raise not_found(named, names)
        if not set(places) & set(numeric):
            raise UsageError(
                f"--buckets-for names {named!r}, but column {names[places[0]]!r} is {columns[places[0]].kind}; "
                "buckets are of numeric columns"
            )
        chosen.update(places)
    return tuple(names[place] for place in numeric if place in chosen)


def require_distinct(columns: Iterable[Column]) -> None:
    """Raise UsageError where two feature columns have one name."""
    seen = set()
    for place, column in enumerate(columns):
        if column.is_feature and column.name in seen:
            raise UsageError(f"two columns are named {column.name!r}: leave one out with --ignore {place}, its number")
        if column.is_feature:
            seen.add(column.name)


def require_separators(columns: Iterable[Column]) -> None:
    """Raise UsageError for columns of lists that are read as text where no separator is known."""
    for column in columns:
        if column.kind == LIST and not column.separator:
            raise UsageError(
                f"column {column.name!r} is a list, but text here: name what separates its values, with "
                f"--lists {shlex.quote(column.name + ':SEPARATOR')}"
            )


def not_found(column: str, names: Sequence[str]) -> UsageError:
    """Return the error for a column that is not among these names."""
    return UsageError(f"no column {column!r}; the columns found are: {listed(names)}")


def listed(names: Sequence[str]) -> str:
    """Return the names of columns, with their numbers, as a message has them."""
    shown = [f"{place} {name}" if name != str(place) else name for place, name in enumerate(names[:LISTED])]
    return ", ".join(shown) + (f" and {len(names) - LISTED:,} more" if len(names) > LISTED else "")


def list_column(text: str) -> tuple[str, Column]:
    """Return (column as named, Column of kind LIST) of `COLUMN:SEPARATOR[:mean]`; raise UsageError for another form."""
    whole = text.removesuffix(f":{MEAN}")
    mean = whole != text and ":" in whole
    whole = whole if mean else text
    name, _, separator = whole.rpartition(":")  # a name may hold colons
    if whole.endswith("::"):
        name, separator = whole[:-2], ":"
    if not (name.strip() and separator):
        raise UsageError(
            f"--lists {text!r} is not understood; expected COLUMN:SEPARATOR, such as genres:'|', or "
            "COLUMN:SEPARATOR:mean for values that share a weight of 1"
        )
    return name.strip(), Column("", LIST, separator, mean)


def _exact(names: Sequence[str], options: TableOptions) -> dict[int, Column]:
    """Return position -> Column, without its name, of those that an option gives by name or number."""
    kinds: dict[int, Column] = {}
    for kind, field in SINGLE.items():
        wanted = getattr(options, field)
        place = single(names, wanted)
        if place is not None:
            _assign(kinds, place, Column("", kind), names)
        elif wanted is not None and (kind == ID or (kind == WEIGHT and not _lacks_label(names, options))):
            raise not_found(wanted, names)
    for named, column in _wanted(options):
        place = single(names, named)
        if place is not None:
            _assign(kinds, place, column, names)
        elif several(names, named) is None:
            raise not_found(named, names)
    return kinds


def _lacks_label(names: Sequence[str], options: TableOptions) -> bool:
    return options.label is not None and single(names, options.label) is None


def _add_groups(kinds: dict[int, Column], names: Sequence[str], options: TableOptions) -> None:
    """Add the columns of ranges and patterns; what an option names exactly is none of these."""
    exact = frozenset(kinds)
    for named, column in _wanted(options):
        if single(names, named) is None:
            for place in several(names, named) or ():
                if place not in exact:
                    _assign(kinds, place, column, names)


def _wanted(options: TableOptions) -> list[tuple[str, Column]]:
    named = [(text, Column("", kind)) for kind, field in MANY.items() for text in getattr(options, field)]
    return named + [list_column(text) for text in options.lists]


def _assign(kinds: dict[int, Column], place: int, column: Column, names: Sequence[str]) -> None:
    if place in kinds and kinds[place] != column:
        raise UsageError(
            f"column {names[place]!r} is named as {kinds[place].kind} and as {column.kind}; "
            f"choose one (the columns found are: {', '.join(names)})"
        )
    kinds[place] = column


def disagreement(columns: Sequence[Column], options: TableOptions) -> str | None:
    """Return how options contradict the columns of a schema, as a clause; None where they do not.

    What they name and the schema does not have is another matter.
    """
    names = [column.name for column in columns]
    for named, wanted in _wanted(options):
        place = single(names, named)
        for at in (several(names, named) or ()) if place is None else (place,):
            own = replace(columns[at], name="")
            if own != wanted and (place is not None or own.is_feature):
                return (
                    f"column {names[at]!r} is {_described(wanted)} by the options, but {_described(own)} in the model"
                )
    return None


def separated(columns: Sequence[Column], options: TableOptions) -> tuple[Column, ...]:
    """Return the columns of a schema, with the options' separators for lists that have none, as those of Parquet."""
    names, found = [column.name for column in columns], list(columns)
    for named, wanted in map(list_column, options.lists):
        place = single(names, named)
        for at in (several(names, named) or ()) if place is None else (place,):
            if replace(found[at], name="", separator=wanted.separator) == wanted and not found[at].separator:
                found[at] = replace(found[at], separator=wanted.separator)
    return tuple(found)


def _described(column: Column) -> str:
    mean = ", shared" if column.mean else ""
    return f"a list separated by {column.separator!r}{mean}" if column.kind == LIST else column.kind

"""A table's columns found by the names that the model of a schema knows."""

from collections.abc import Sequence
from typing import NamedTuple

from fmcore.errors import DataError
from fmcore.schema.columns import ID, LABEL, WEIGHT, Column
from fmcore.schema.options import TableOptions
from fmcore.schema.roles import listed, not_found
from fmcore.schema.selection import single


class Binding(NamedTuple):
    """Where the columns of a schema are in one table.

    names: of the table's columns, in its order.
    features: (position, Column) of the feature columns, in the schema's order. A column that is missing, which
    --missing-columns zero allows, is not among them.
    label, weight, row_id: a position, or None.
    """

    names: tuple[str, ...]
    features: tuple[tuple[int, Column], ...]
    label: int | None
    weight: int | None
    row_id: int | None

    @property
    def texts(self) -> tuple[int, ...]:
        """Return the positions of the columns read as text, lists in text among them."""
        others = [place for place in (self.label, self.row_id) if place is not None]
        return tuple(sorted({*(place for place, column in self.features if not column.is_number), *others}))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the positions of the columns read as numbers."""
        weight = () if self.weight is None else (self.weight,)
        return tuple(sorted({*(place for place, column in self.features if column.is_number), *weight}))

    @property
    def used(self) -> tuple[int, ...]:
        """Return the positions of all columns that are read."""
        return tuple(sorted({*self.numbers, *self.texts}))


def bound(names: Sequence[str], columns: Sequence[Column]) -> Binding:
    """Return the Binding of the table that the columns are those of."""
    places = {column.kind: place for place, column in enumerate(columns)}
    features = tuple((place, column) for place, column in enumerate(columns) if column.is_feature)
    return Binding(tuple(names), features, places.get(LABEL), places.get(WEIGHT), places.get(ID))


def matched(names: Sequence[str], columns: Sequence[Column], options: TableOptions, report, title: str) -> Binding:
    """Return the Binding of another table with these names; columns: those of the schema.

    options: label, weight and row_id in place of those of the schema, where they are given; missing_columns.
    A column that is no feature may be missing, and what the schema does not know is ignored; the report notes both.
    Raises DataError, of `title`, for a feature column that is missing, UsageError for a column given that is not there.
    """
    features, missing = [], []
    for column in columns:
        if column.is_feature:
            place = _only(names, column.name, title)
            if place is None:
                missing.append(column.name)
            else:
                features.append((place, column))
    if missing and options.missing_columns != "zero":
        raise _missing(missing, names, title)
    if missing:
        report.note(f"{title}: columns of the model that are missing count as empty: {listed_plain(missing)}")
    roles = {
        kind: _role(names, columns, kind, wanted)
        for kind, wanted in ((LABEL, options.label), (WEIGHT, options.weight), (ID, options.row_id))
    }
    if roles[LABEL] is None and (options.label is not None or any(c.kind == LABEL for c in columns)):
        report.note(f"{title}: the label column is absent: rows are read without labels")
    _note_extra(names, columns, roles.values(), report)
    return Binding(tuple(names), tuple(features), roles[LABEL], roles[WEIGHT], roles[ID])


def _only(names: Sequence[str], name: str, title: str) -> int | None:
    if names.count(name) > 1:
        raise DataError(f"several columns are named {name!r}, which is a feature of the model", source=title)
    return names.index(name) if name in names else None


def _role(names: Sequence[str], columns: Sequence[Column], kind: str, wanted: str | None) -> int | None:
    """Return the position of the label, weight or id: as given, else by the schema's name, None where it is absent."""
    own = next((column.name for column in columns if column.kind == kind), None)
    if wanted is None or wanted == own:
        return names.index(own) if own in names else None
    place = single(names, wanted)
    if place is None and kind == ID:
        raise not_found(wanted, names)
    return place


def _missing(missing: list[str], names: Sequence[str], title: str) -> DataError:
    which = f"column {missing[0]!r}" if len(missing) == 1 else f"columns {', '.join(map(repr, missing[:10]))}"
    more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
    verb = "is" if len(missing) == 1 else "are"
    return DataError(
        f"{which}{more} of the model {verb} missing; the columns found are: {listed(names)}; "
        "--missing-columns zero reads rows without",
        source=title,
    )


def _note_extra(names: Sequence[str], columns: Sequence[Column], used, report) -> None:
    known = {column.name for column in columns}
    extra = [name for place, name in enumerate(names) if name not in known and place not in used]
    if extra:
        report.note(f"columns that the model does not know are ignored: {listed_plain(extra)}")


def listed_plain(names: Sequence[str]) -> str:
    """Return names as a message has them, at most thirty."""
    return ", ".join(names[:30]) + (f" and {len(names) - 30:,} more" if len(names) > 30 else "")

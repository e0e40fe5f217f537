"""A table's columns found by the names that the model of a schema knows."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fmcore.errors import DataError, UsageError
from fmcore.schema.columns import ID, LABEL, WEIGHT, Column
from fmcore.schema.options import TableOptions
from fmcore.schema.roles import listed, not_found
from fmcore.schema.selection import single


class Binding(NamedTuple):
    """The places of a schema's columns in one table.

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


def matched(names: Sequence[str], columns: Sequence[Column], options: TableOptions, report: Any, title: str) -> Binding:
    """Return the Binding of another table with these names; columns: those of the schema.

    options: label, weight and row_id in place of those of the schema, where they are given; missing_columns.
    A column that is no feature may be missing, and what the schema does not know is ignored; the report notes both.
    Raises DataError, of `title`, for a feature column that is missing, UsageError for a column given that is not there.
    """
    features, missing = _features(names, columns, title)
    if missing and options.missing_columns != "zero":
        raise _missing(missing, names, title)
    if missing:
        report.note(f"{title}: columns of the model that are missing count as empty: {listed_plain(missing)}")
    taken = {place for place, _ in features}
    roles = {
        kind: _role(names, columns, taken, kind, wanted)
        for kind, wanted in ((LABEL, options.label), (WEIGHT, options.weight), (ID, options.row_id))
    }
    label = next((column.name for column in columns if column.kind == LABEL), options.label)
    if roles[LABEL] is None and label is not None:
        report.note(label_absent(label))
    _note_extra(names, columns, roles.values(), report)
    return Binding(tuple(names), tuple(features), roles[LABEL], roles[WEIGHT], roles[ID])


def label_absent(label: str) -> str:
    """Return the note on a table without the label column."""
    return f"the label column {label!r} is absent: rows are read without labels"


def _features(
    names: Sequence[str], columns: Sequence[Column], title: str
) -> tuple[list[tuple[int, Column]], list[str]]:
    """Return (position, Column) of the feature columns, and the names of those that are missing.

    Where several columns have one name, the table must have as many of them as the schema.
    """
    found, missing = [], []
    there, known = _places(names), _places([column.name for column in columns])
    for number, column in enumerate(columns):
        if not column.is_feature:
            continue
        places, alike = there.get(column.name, []), known[column.name]
        if len(places) == len(alike):
            found.append((places[alike.index(number)], column))
        elif len(places) > 1:
            raise DataError(f"several columns are named {column.name!r}, which is a feature of the model", source=title)
        elif places:
            found.append((places[0], column))
        else:
            missing.append(column.name)
    return found, missing


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return places


def _role(
    names: Sequence[str], columns: Sequence[Column], taken: set[int], kind: str, wanted: str | None
) -> int | None:
    """Return the position of the label, weight or id: as given, else by the schema's name, None where it is absent.

    The number of the schema's own column means that column, wherever it is. taken: the positions of features.
    """
    own = next((place for place, column in enumerate(columns) if column.kind == kind), None)
    name = None if own is None else columns[own].name
    if name is not None and (wanted is None or wanted.strip() in (name, str(own))):
        place = next((p for p, found in enumerate(names) if found == name and p not in taken), None)
        if place is None and wanted is not None and kind == ID:
            raise not_found(name, names)
        return place
    place = single(names, wanted)
    if place in taken:
        raise UsageError(f"column {names[place]!r} is a feature of the model, so it cannot be the {kind}")
    if place is None and wanted is not None and kind != LABEL:
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


def _note_extra(names: Sequence[str], columns: Sequence[Column], used: Iterable[int | None], report: Any) -> None:
    known = {column.name for column in columns}
    extra = [name for place, name in enumerate(names) if name not in known and place not in used]
    if extra:
        report.note(f"columns that the model does not know are ignored: {listed_plain(extra)}")


def listed_plain(names: Sequence[str]) -> str:
    """Return names as a message has them, at most thirty."""
    return ", ".join(names[:30]) + (f" and {len(names) - 30:,} more" if len(names) > 30 else "")

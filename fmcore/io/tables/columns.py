"""The meaning of a table's columns: `TableOptions` resolved against the columns that a table has."""

from typing import NamedTuple

from fmcore.errors import UsageError


class Columns(NamedTuple):
    """Columns by their meaning, as positions from 0 in the file's order.

    names: one a column, distinct among the features; a column without a name has its position as one.
    label, weight, row_id: a position, or None.
    """

    names: tuple
    numeric: tuple
    categorical: tuple
    label: int | None
    weight: int | None
    row_id: int | None

    @property
    def features(self):
        """Return the positions of the feature columns, in the file's order."""
        return tuple(sorted(self.numeric + self.categorical))

    @property
    def texts(self):
        """Return the positions of the columns read as text."""
        others = (p for p in (self.label, self.row_id) if p is not None)
        return tuple(sorted({*self.categorical, *others}))

    @property
    def numbers(self):
        """Return the positions of the columns read as numbers."""
        return tuple(sorted({*self.numeric, *(() if self.weight is None else (self.weight,))}))

    @property
    def used(self):
        """Return the positions of all columns that are read, numbers and texts."""
        return tuple(sorted(self.numbers + self.texts))

    def named(self, positions):
        """Return the names of these positions."""
        return [self.names[p] for p in positions]


def resolve(header, options, report):
    """Return the `Columns` of a table with these column names (list of str; position numbers where it has none).

    A table without the label column is one to score: its rows have NaN labels, its weight column may be absent as
    well, and the report states it. Every other column that the options name must be there.
    Raises UsageError for a column that is not there, that has two roles, or whose name is not unique.
    """
    names = tuple(name.strip() or str(position) for position, name in enumerate(header))
    label = _single(names, options.label)
    scoring = options.label is not None and label is None
    if scoring:
        report.note(f"the label column {options.label!r} is absent: rows are read without labels")
    roles = {
        "label": _some(label),
        "weight": _some(_single(names, options.weight)),
        "id": _some(_single(names, options.row_id)),
        "numeric": _many(names, options.numeric),
        "categorical": _many(names, options.categorical),
        "ignored": _many(names, options.ignore),
    }
    for role, wanted in (("weight", options.weight), ("id", options.row_id)):
        if wanted is not None and not roles[role] and not (role == "weight" and scoring):
            raise _not_found(wanted, names)
    taken = _one_role_each(names, roles)
    rest = {p for p in range(len(names)) if p not in taken}
    columns = Columns(
        names,
        tuple(sorted(roles["numeric"] | rest)),
        tuple(sorted(roles["categorical"])),
        *(min(roles[role], default=None) for role in ("label", "weight", "id")),
    )
    if not columns.features:
        raise UsageError(f"no column is left to be a feature; the columns found are: {', '.join(names)}")
    _require_distinct(columns)
    return columns


def _is_number_of_column(column):
    return column.isascii() and column.isdigit()


def _some(position):
    return set() if position is None else {position}


def _single(names, column):
    """Return the position of the column of that name or number, or None where there is none."""
    if column is None:
        return None
    if names.count(column) > 1:
        raise UsageError(f"several columns are named {column!r}: give the number of the one meant, from 0")
    if column in names:
        return names.index(column)
    if _is_number_of_column(column) and int(column) < len(names):
        return int(column)
    return None


def _many(names, columns):
    positions = set()
    for column in columns:
        position = _single(names, column)
        if position is None:
            raise _not_found(column, names)
        positions.add(position)
    return positions


def _not_found(column, names):
    listed = ", ".join(f"{position} {name}" if name != str(position) else name for position, name in enumerate(names))
    return UsageError(f"no column {column!r}; the columns found are: {listed}")


def _one_role_each(names, roles):
    """Return the positions that have a role."""
    role_of = {}
    for role, positions in roles.items():
        for position in sorted(positions):
            if position in role_of:
                raise UsageError(
                    f"column {names[position]!r} is named as {role_of[position]} and as {role}; "
                    f"choose one (the columns found are: {', '.join(names)})"
                )
            role_of[position] = role
    return role_of


def _require_distinct(columns):
    seen = set()
    for position in columns.features:
        name = columns.names[position]
        if name in seen:
            raise UsageError(f"two columns are named {name!r}: leave one out with --ignore {position}, its number")
        seen.add(name)

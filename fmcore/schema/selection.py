"""Columns as a command line names them: by name, by number, as a range, as a pattern.

`site` is the column of that name; `3`, where none is called so, the fourth. `c1-c20`, where both are columns, is all
that are named c and a number from 1 to 20; `price-site` is all from the one to the other in the table's order; `3-7`
are numbers. `c*` is a pattern: `*` stands for any text, `?` for any character. What is exactly the name of a column is
that column, whatever it looks like.
"""

import csv
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from fmcore.errors import UsageError

NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


def split(text: str) -> tuple[str, ...]:
    """Return the columns in a list separated by commas; one that holds a comma stands in double quotes."""
    return tuple(name for field in next(csv.reader([text], skipinitialspace=True), []) if (name := field.strip()))


def single(names: Sequence[str], column: str | None) -> int | None:
    """Return the position of the column of that name or number, or None where there is none.

    Raises UsageError where several have that name.
    """
    if column is None:
        return None
    column = column.strip()
    if names.count(column) > 1:
        raise UsageError(f"several columns are named {column!r}: give the number of the one meant, from 0")
    if column in names:
        return names.index(column)
    if is_number(column) and int(column) < len(names):
        return int(column)
    return None


def several(names: Sequence[str], column: str) -> list[int] | None:
    """Return the positions that a range or a pattern stands for, None where it is neither or matches nothing."""
    if "*" in column or "?" in column:
        return [place for place, name in enumerate(names) if fnmatchcase(name, _pattern(column))] or None
    for cut in (found.start() for found in re.finditer("-", column)):
        first, last = column[:cut].strip(), column[cut + 1 :].strip()
        if found := _range(names, first, last):
            return found
    return None


def is_number(column: str) -> bool:
    """Return whether a column is given by its number, unless one has it as name."""
    return column.isascii() and column.isdigit()


def names_columns(column: str) -> bool:
    """Return whether a column, range or pattern can only be meant by name."""
    return not re.fullmatch(r"\s*\d+\s*(-\s*\d+\s*)?", column, re.ASCII) and column.strip() != "*"


def _pattern(column: str) -> str:
    return column.replace("[", "[[]")


def _range(names: Sequence[str], first: str, last: str) -> list[int] | None:
    low, high = single(names, first) if first else None, single(names, last) if last else None
    if low is None or high is None:
        return None
    begin, end = NUMBERED.fullmatch(first), NUMBERED.fullmatch(last)
    if not (begin and end and begin[1] and begin[1] == end[1]):
        return list(range(low, high + 1)) or None
    numbered = [NUMBERED.fullmatch(name) for name in names]
    wanted = range(int(begin[2]), int(end[2]) + 1)
    return [place for place, it in enumerate(numbered) if it and it[1] == begin[1] and int(it[2]) in wanted] or None

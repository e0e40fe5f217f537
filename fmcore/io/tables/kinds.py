"""The kind of a column that no option names, by its content or its type; and a description of all columns."""

from collections.abc import Iterable, Sequence

from fmcore.schema.columns import CATEGORICAL, FEATURES, ID, IGNORED, LABEL, NUMERIC, WEIGHT, Column
from fmcore.schema.texts import parse_number

NUMBERS = 0.9  # of the fields that are there: with fewer numbers a column is of text
SHOWN, LONGEST, MOST = 3, 20, 200  # examples of a column, characters of one, columns in a message


def kind_of(fields: Iterable[str]) -> str | None:
    """Return the kind that the fields of a column show, missing ones left out; None where there are none."""
    present = list(fields)
    if not present:
        return None
    distinct = {field: parse_number(field) is not None for field in set(present)}
    numbers = sum(distinct[field] for field in present)
    return NUMERIC if numbers >= NUMBERS * len(present) else CATEGORICAL


def description(
    title: str, columns: Sequence[Column], examples: Sequence[Sequence[str]], decided: Sequence[bool]
) -> str:
    """Return what a table's columns are taken for, a line each kind.

    examples: distinct fields of each column. decided: whether no option names the column.
    """
    lines = [f"columns of {title}:"]
    for kind in (LABEL, WEIGHT, ID, *FEATURES, IGNORED):
        chosen = [place for place, column in enumerate(columns) if column.kind == kind]
        if chosen:
            shown = [_example(columns[place], examples[place]) for place in chosen[:MOST]]
            more = f" and {len(chosen) - MOST:,} more" if len(chosen) > MOST else ""
            lines.append(f"  {kind:<11}  {', '.join(shown)}{more}")
    if any(decided):
        lines.append(
            "  by their content, where no option says it: --numeric, --categorical, --lists, --dates, --ignore"
        )
    names = [c.name for c, free in zip(columns, decided, strict=True) if free and c.kind == NUMERIC and _is_id(c.name)]
    if names:
        lines.append(f"  numbers that may be names of things: --categorical {','.join(names[:MOST])}")
    return "\n".join(lines)


def _example(column: Column, fields: Sequence[str]) -> str:
    shown = [_shortened(field) for field in fields[:SHOWN]]
    return f"{column.name} ({', '.join(shown)}{', ...' if len(fields) > SHOWN else ''})" if shown else column.name


def _shortened(field: str) -> str:
    short = field if len(field) <= LONGEST else f"{field[: LONGEST - 3]}..."
    return f'"{short}"' if "," in field else short


def _is_id(name: str) -> bool:
    return name.lower().endswith("id")

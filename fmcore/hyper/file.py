"""hyperparameters.json: one JSON object of names and values, as SageMaker hands them to a job."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmcore.errors import DataError, UsageError
from fmcore.hyper.given import from_strings
from fmcore.hyper.parameter import Value

MAX_SIZE = 1 << 20  # bytes
EXPECTED = 'expected a JSON object of hyperparameters, such as {"epochs": "3"}'


def read_file(path: Path | str) -> tuple[dict[str, Value], list[str]]:
    """Return (typed values by name, ignored names) of a file whose object maps names to texts, numbers or booleans.

    Ignored are names that begin with "_", settings of SageMaker's jobs that are no hyperparameters.
    Raises DataError where the file holds no such object, UsageError where a name is unknown, a value is invalid, or a
    number is of another init method than its group's; each names the file.
    """
    return typed(read_object(path, EXPECTED), path)


def typed(given: Mapping[str, object], path: Path | str) -> tuple[dict[str, Value], list[str]]:
    """Return what `read_file` returns for the object that is given, read from path."""
    ignored = [name for name in given if name.startswith("_")]
    try:
        return from_strings({name: value for name, value in given.items() if name not in ignored}), ignored
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def read_object(path: Path | str, expected: str) -> dict[str, Any]:
    """Return the JSON object in a file, its numbers left as the texts that they are written as.

    expected: states what the object is, in a DataError where there is none, or a name stands in it twice.
    """
    try:
        with Path(path).open("rb") as handle:
            data = handle.read(MAX_SIZE + 1)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", source=path) from None
    if len(data) > MAX_SIZE:
        raise DataError(f"larger than {MAX_SIZE:,} bytes; {expected}", source=path)
    try:
        given = json.loads(data, object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON ({error}); {expected}", source=path) from None
    if not isinstance(given, dict):
        raise DataError(expected, source=path)
    return given


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; raise ValueError where a name stands there twice, with two values."""
    given = {}
    for name, value in pairs:
        if name in given:
            raise ValueError(f"{name!r} is given twice")
        given[name] = value
    return given

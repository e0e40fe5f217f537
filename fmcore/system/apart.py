"""Outputs are kept apart from inputs and from each other, before anything is read or written."""

import os
import re
import stat
import sys
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from fmcore.errors import UsageError
from fmcore.system.publish import STDOUT

STDIN = "-"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
STANDARD_OUTPUT = "standard output"
Place = str | os.PathLike[str] | None


def require_apart(outputs: Mapping[str, Place], inputs: Iterable[Place] = ()) -> None:
    """Raise UsageError where an output is an input, or two outputs are one, however their paths are spelled.

    outputs: what is written, as "the model" -> its path, "-" for standard output. inputs: paths of what is read, "-"
    for standard input; of a folder, the files in it. None where there is none. Links, dots, case where the file system
    ignores it, and redirected standard streams are seen through; devices, which nothing replaces, do not count.
    """
    written: dict[Hashable, str] = {}
    for what, path in outputs.items():
        if path is not None and is_url(path):
            raise UsageError(f"{path} is a URL, to which nothing is written; write a file, and copy it there")
        marks = _output_marks(path)
        for mark in marks & written.keys():
            shown = STANDARD_OUTPUT if STANDARD_OUTPUT in marks else path
            raise UsageError(
                f"{shown} is named for two outputs, {written[mark]} and {what}; name another file for one of them"
            )
        written |= dict.fromkeys(marks, what)
    for path in inputs:
        for mark in _input_marks(path) & written.keys():
            output = outputs[written[mark]]
            raise UsageError(
                f"{written[mark]} cannot be written to {STANDARD_OUTPUT if output in STDOUT else output}: that is the "
                f"input {'on standard input' if path == STDIN else path}, which it would replace; name another file"
            )


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a URL, and nothing by that name exists, nor a folder that it would stand in."""
    return URL.match(os.fspath(path)) is not None and not Path(path).parent.exists()


def _output_marks(path: Place) -> set[Hashable]:
    """Return what an output is recognized by; nothing where it is a device, or None."""
    if path is None:
        return set()
    if path in STDOUT:
        return {STANDARD_OUTPUT, *_marks_of_stream(sys.__stdout__)}
    return _marks_of_file(path)


def _input_marks(path: Place) -> set[Hashable]:
    """Return what an input is recognized by."""
    if path is None:
        return set()
    if path == STDIN:
        return _marks_of_stream(sys.__stdin__)
    with suppress(OSError, ValueError):
        if Path(path).is_dir():
            return {mark for entry in Path(path).iterdir() for mark in _marks_of_file(entry)}
    return _marks_of_file(path)


def _marks_of_stream(stream: TextIO | None) -> set[Hashable]:
    with suppress(OSError, ValueError):
        return set() if stream is None else _marks(os.fstat(stream.fileno()))
    return set()


def _marks_of_file(path: str | os.PathLike[str]) -> set[Hashable]:
    try:
        return _marks(Path(path).stat())
    except FileNotFoundError:
        return {_mark_to_be(path)}
    except (OSError, ValueError):  # which whoever opens it reports
        return set()


def _marks(status: os.stat_result) -> set[Hashable]:
    replaceable = stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)
    return {(status.st_dev, status.st_ino)} if replaceable else set()


def _mark_to_be(path: str | os.PathLike[str]) -> Hashable:
    """Return what a file that does not exist yet is recognized by: its folder, and its name in there."""
    target = Path(os.path.realpath(path))
    folder: Hashable = str(target.parent)
    with suppress(OSError):
        status = target.parent.stat()
        folder = status.st_dev, status.st_ino
    ignored = ignores_case(target.parent)
    return folder, unicodedata.normalize("NFC", target.name).casefold() if ignored else target.name


def ignores_case(folder: Path) -> bool:
    """Return whether the file system that a folder stands in takes names in another case for the same."""
    with suppress(OSError, ValueError):
        other = folder.with_name(folder.name.swapcase())
        return other != folder and other.samefile(folder)
    return False

"""Remarks on standard error, and standard streams whose readers are gone."""

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all controls but tab and newline


def printable(text: str) -> str:
    """Return the text with control characters spelled out: names in files from others must not steer a terminal."""
    return UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say(text: object, *, quiet: bool = False) -> None:
    """Print a line on standard error; that nobody reads it is no failure of the work it reports."""
    if quiet or sys.stderr is None:
        return
    with suppress(OSError):
        print(printable(str(text)), file=sys.stderr)
    flush(sys.stderr)


def flush(stream: TextIO) -> None:
    """Flush a text stream; where that fails, discard the rest, as it would fail again when Python ends."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

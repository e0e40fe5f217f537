"""Remarks on standard error, and standard streams that nobody reads any more."""

import os
import re
import sys
from contextlib import suppress

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all controls but tab and newline


def printable(text):
    """The text with control characters spelled out: names in strangers' files must not steer a terminal."""
    return UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say(text, *, quiet=False):
    """Print a line on standard error; nobody there to read it is no failure of what the line is about."""
    if quiet or sys.stderr is None:
        return
    with suppress(OSError):
        print(printable(str(text)), file=sys.stderr)
    settle(sys.stderr)


def settle(stream):
    """Flush a text stream; where that fails, its rest goes nowhere, as it would fail again when Python ends."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

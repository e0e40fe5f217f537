"""The formats of rows by name. To add one: a file here with its `Format`, and its name in FORMATS.

The registry is read whenever a name is checked, the first bytes of a file are looked at or rows are read, so a program
may put a format of its own in. Each file is small, and imports what reads its rows where they are read.
"""

from fmcore.io.formats.contract import Codec, Format, Head
from fmcore.io.formats.json import JSON, JSONLINES
from fmcore.io.formats.recordio import RECORDIO
from fmcore.io.formats.tables import CSV, PARQUET, TSV
from fmcore.io.formats.text import LIBFFM, LIBSVM

__all__ = ["AUTO", "FORMATS", "Codec", "Format", "Head", "choices"]

AUTO = "auto"  # in place of a name: by the first bytes
FORMATS: dict[str, Format] = {
    each.name: each for each in (LIBSVM, LIBFFM, CSV, TSV, PARQUET, RECORDIO, JSON, JSONLINES)
}


def choices() -> tuple[str, ...]:
    """Return what the format of ReadOptions may be."""
    return (AUTO, *FORMATS)

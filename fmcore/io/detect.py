"""The format of a stream, from its first bytes."""

import re

from fmcore.errors import DataError
from fmcore.io.formats import FORMATS, Head
from fmcore.io.formats.json import begins_object, holds_instances, is_whole
from fmcore.io.formats.text import LABEL
from fmcore.io.text.utf8 import BOM

MAGIC = 4  # bytes of a magic that are looked at
UTF16 = (b"\xff\xfe", b"\xfe\xff")  # its byte order marks
OTHERS = {  # what is not read -> its first bytes
    "compressed by xz": b"\xfd7zXZ",
    "compressed by lz4": b"\x04\x22\x4d\x18",
    "a ZIP archive or a workbook": b"PK\x03\x04",
    "an Arrow file": b"ARROW1",
    "an ORC file": b"ORC",
    "an Avro file": b"Obj\x01",
    "an HDF5 file": b"\x89HDF",
    "a NumPy array": b"\x93NUMPY",
    "an SQLite file": b"SQLite format 3",
}

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def enough(head):
    """Return whether these first bytes suffice for `detect`: more would not change its answer."""
    if any(magic.startswith(head[:MAGIC]) for magic in _magics()):
        return len(head) >= MAGIC
    *lines, cut_off = head.removeprefix(BOM).split(b"\n")
    lines = [line for line in map(_data, lines) if line]
    first = lines[0] if lines else b""
    if begins_object(first or cut_off.lstrip()):
        return holds_instances(head) or is_whole(first)
    return bool(_first_with_features(lines))


def detect(head, source=None):
    """Return one of FORMATS for the first bytes of a stream; only blanks and comments count as libsvm.

    head: at least what `enough` asks for, or the whole stream. source: its name, for the error.
    Raises DataError where the bytes are of no known format.
    """
    for magic, name in _magics().items():
        if head[:MAGIC] == magic or head == magic[:3]:  # a file cut off within it is not mistaken for a comment
            return name
    text = head.removeprefix(BOM)
    lines = [line for line in map(_data, text.split(b"\n")) if line] or [b""]
    found = Head(text, lines[0], _first_with_features(lines))
    asked = sorted(FORMATS.values(), key=lambda each: each.last)
    name = next((each.name for each in asked if each.looks(found)), None)
    if name is None or _CONTROL.search(found.first):
        raise DataError(_refusal(head, found), source=source)
    return name


def _refusal(head, found):
    """Return why the first bytes of a stream are of no known format, and what to try."""
    if head.startswith(UTF16) or (len(head) > 3 and any(head[:64:2]) != any(head[1:64:2])):
        return "the text is in UTF-16, but is read as UTF-8; convert it first, as by iconv -f UTF-16 -t UTF-8"
    for name, magic in OTHERS.items():
        if head.startswith(magic):
            return f"the content is {name}, which is not read; unpack it or write it in another format first"
    line = found.features or found.first
    delimiter = next((each for each in (";", "|") if each.encode() in line), None)
    if delimiter and not re.search(rb",| \|", line) and not _CONTROL.search(line):
        return (
            f"the content is of no known format; if fields stand between {delimiter!r}, give --delimiter {delimiter!r}"
        )
    known = ", ".join(FORMATS)
    return f"the content is of no known format ({known}); if it is one of these, choose it with --format"


def _magics():
    """Return the first MAGIC bytes of the formats that have them -> the format's name."""
    return {each.magic[:MAGIC]: each.name for each in FORMATS.values() if each.magic}


def _data(line):
    """Return the line without comment and outer blanks; empty where nothing is left. Tabs count as fields of TSV."""
    return b"" if line.lstrip().startswith(b"#") else line.strip(b" \r\v\f") if line.strip() else b""


def _first_with_features(lines):
    """Return the first line that holds more than a label, or b""."""
    return next((line for line in lines if line and not LABEL.fullmatch(line.split(b"#")[0].strip(b" "))), b"")

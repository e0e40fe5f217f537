"""The format of a stream, from its first bytes."""

import json
import re

from fmcore.errors import DataError
from fmcore.io.options import FORMATS

BOM = b"\xef\xbb\xbf"  # byte order mark, which some editors put before UTF-8
MAGICS = ((b"\x0a\x23\xd7\xce", "recordio"), (b"PAR1", "parquet"))

_NUMBER = rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_HEAD = re.compile(_NUMBER + rb"(?::" + _NUMBER + rb")?")  # label[:weight]
_PAIR = re.compile(rb"\d+:[^:]*|qid:\d+")
_QID = re.compile(rb"qid:\d+")
_TRIPLE = re.compile(rb"\d+:\d+:[^:]*")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def enough(head):
    """Return whether these first bytes suffice for `detect`: more would not change its answer."""
    if any(magic.startswith(head[:4]) for magic, _ in MAGICS):
        return len(head) >= 4
    *lines, cut_off = head.removeprefix(BOM).split(b"\n")
    lines = [line for line in map(_data, lines) if line]
    first = lines[0] if lines else b""
    if (first or cut_off.lstrip())[:1] == b"{":  # an object may take many lines, or one very long one
        return b'"instances"' in head or _is_whole(first)
    return _first_with_features(lines) is not None


def detect(head, source=None):
    """Return one of options.FORMATS for the first bytes of a stream; only blanks and comments count as libsvm.

    head: at least what `enough` asks for, or the whole stream. source: its name, for the error.
    Raises DataError where the bytes are of no known format.
    """
    for magic, name in MAGICS:
        if head[:4] == magic or head == magic[:3]:  # a file cut off within the magic is not mistaken for a comment
            return name
    head = head.removeprefix(BOM)
    lines = [line for line in map(_data, head.split(b"\n")) if line] or [b""]
    name = _of_json(head, lines[0]) if lines[0][:1] == b"{" else _of_lines(lines)
    if name is None or _CONTROL.search(lines[0]):
        known = ", ".join(FORMATS[1:])
        raise DataError(
            f"the content is of no known format ({known}); if it is one of these, choose it with --format",
            source=source,
        )
    return name


def _data(line):
    """Return the line without comment and outer blanks; empty where nothing is left. Tabs count as fields of TSV."""
    return b"" if line.lstrip().startswith(b"#") else line.strip(b" \r\v\f") if line.strip() else b""


def _is_whole(line):
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _of_json(head, first):
    """Return the format of objects: json for one that holds "instances", jsonlines for an instance in each line."""
    if _is_whole(first):
        return "json" if "instances" in json.loads(first) else "jsonlines"
    return "json" if b'"instances"' in head else "jsonlines"  # the object continues on further lines, or past the head


def _of_lines(lines):
    line = _first_with_features(lines)
    if line is None:
        return "libsvm"
    tokens = line.split(b"#")[0].split()
    if _HEAD.fullmatch(tokens[0]) and (name := _of_features(line, tokens[1:])):
        return name
    commas, tabs = line.count(b","), line.count(b"\t")
    if not (commas or tabs) or line.startswith(b"["):  # a list in JSON has commas, but is no table
        return None
    return "csv" if commas > tabs else "tsv"


def _first_with_features(lines):
    """Return the first line that holds more than a label, or None."""
    return next((line for line in lines if line and not _HEAD.fullmatch(line.split(b"#")[0].strip(b" "))), None)


def _of_features(line, tokens):
    """Return libsvm or libffm for the tokens after a label; None without tokens, or where they look like a table."""
    if len(tokens) > 1 and _QID.fullmatch(tokens[0]) and _TRIPLE.fullmatch(tokens[1]):
        tokens = tokens[1:]  # both formats may begin with qid:
    tokens = tokens if b"," in line or b"\t" in line else tokens[:1]  # blanks alone: leave later errors to the decoder
    for name, pattern in (("libsvm", _PAIR), ("libffm", _TRIPLE)):
        if tokens and all(pattern.fullmatch(token) for token in tokens):
            return name
    return None

"""libsvm and libffm text."""

import re
from functools import partial
from typing import Any

from fmcore.io.formats.contract import Codec, Format, Head
from fmcore.io.options import ReadOptions

_NUMBER = rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
LABEL = re.compile(_NUMBER + rb"(?::" + _NUMBER + rb")?")  # label[:weight]
_PAIR = re.compile(rb"\d+:[^:]*|qid:\d+")
_QID = re.compile(rb"qid:\d+")
_TRIPLE = re.compile(rb"\d+:\d+:[^:]*")
_LIKE_PAIR = re.compile(rb"[^:|{}\[\]\"';]+:[^:]*")  # as people may write them, for the decoder to say what is wrong
_LIKE_TRIPLE = re.compile(rb"[^:|{}\[\]\"';]+:[^:]+:[^:]*")


def _libsvm(options: ReadOptions) -> Codec:
    from fmcore.io.text import codec as text

    return Codec(text.chunks, partial(text.decode_libsvm, groups=options.groups, **_common(options)))


def _libffm(options: ReadOptions) -> Codec:
    from fmcore.io.text import codec as text

    decode = partial(text.decode_libffm, fields=options.fields, groups=options.groups, **_common(options))
    return Codec(text.chunks, decode)


def _common(options: ReadOptions) -> dict[str, Any]:
    return {"index_base": options.index_base, "on_error": options.on_error, "wide": options.wide}


def _looks_like_libsvm(head: Head) -> bool:
    """Return whether pairs follow a label; a file without any features is libsvm as well."""
    return not head.features or _features_are(_PAIR, head.features) or _begins_like(_LIKE_PAIR, head.features)


def _looks_like_libffm(head: Head) -> bool:
    if _looks_like_libsvm(head):
        return False
    return _features_are(_TRIPLE, head.features) or _begins_like(_LIKE_TRIPLE, head.features)


def _features_are(pattern: re.Pattern[bytes], line: bytes) -> bool:
    """Return whether the tokens after a label are of a pattern; False without any, or where they look like a table."""
    label, *tokens = line.split(b"#")[0].split() or [b""]
    if not LABEL.fullmatch(label):
        return False
    if len(tokens) > 1 and _QID.fullmatch(tokens[0]) and _TRIPLE.fullmatch(tokens[1]):
        tokens = tokens[1:]  # both formats may begin with qid:
    tokens = tokens if b"," in line or b"\t" in line else tokens[:1]  # blanks alone: leave later errors to the decoder
    return bool(tokens) and all(pattern.fullmatch(token) for token in tokens)


def _begins_like(pattern: re.Pattern[bytes], line: bytes) -> bool:
    """Return whether the second token of a line between blanks is like a pattern; no table and no JSON is meant."""
    _, *tokens = line.split(b"#")[0].split() or [b""]
    if len(tokens) > 1 and _QID.fullmatch(tokens[0]):
        tokens = tokens[1:]
    return not re.search(rb"[,\t]|^[{\[\"]", line) and bool(tokens) and pattern.fullmatch(tokens[0]) is not None


LIBSVM = Format("libsvm", _libsvm, looks=_looks_like_libsvm, cut=True)
LIBFFM = Format("libffm", _libffm, looks=_looks_like_libffm, cut=True)

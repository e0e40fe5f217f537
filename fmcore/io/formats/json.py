"""JSON and JSON Lines: requests as SageMaker's factorization machines have them."""

import json
import re
from functools import partial

from fmcore.io.formats.contract import Codec, Format, Head
from fmcore.io.options import ReadOptions
from fmcore.io.requests.grammar import FEATURE_KEYS

FORM_KEYS = {key.encode() for key in FEATURE_KEYS}
FIRST_FEATURES = re.compile(rb'"features"\s*:\s*(?:\[|\{\s*(?:\}|"((?:[^"\\]|\\.)*)"\s*:\s*(.)))', re.DOTALL)
MOST = 1 << 16  # bytes in which they must begin


def _requests(options: ReadOptions, *, name: str) -> Codec:
    from fmcore.io.requests import codec as requests

    decode = partial(requests.decode, index_base=options.index_base, wide=options.wide, width=options.width)
    return Codec(partial(requests.chunks, format=name), partial(decode, format=name, on_error=options.on_error))


def begins_object(line: bytes) -> bool:
    """Return whether the first line begins an object, which may take many lines, or one very long one."""
    return line[:1] == b"{"


def is_whole(line: bytes) -> bool:
    """Return whether a line is a value of JSON as it stands."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def holds_instances(text: bytes) -> bool:
    """Return whether the first bytes name the instances of one document."""
    return b'"instances"' in text


def shows_features(head: bytes) -> bool:
    """Return whether these first bytes suffice for `names_columns`."""
    return len(head) >= MOST or FIRST_FEATURES.search(head) is not None


def names_columns(head: bytes) -> bool:
    """Return whether the first instance has its features by the names of columns, instead of by index."""
    found = FIRST_FEATURES.search(head)
    return found is not None and found[1] is not None and not (found[1] in FORM_KEYS and found[2] == b"[")


def _looks_like_json(head: Head) -> bool:
    """Return whether there is one object that holds "instances"; it may continue on further lines, or past the head."""
    if not begins_object(head.first):
        return False
    return "instances" in json.loads(head.first) if is_whole(head.first) else holds_instances(head.text)


def _looks_like_jsonlines(head: Head) -> bool:
    """Return whether there is an instance in each line."""
    return begins_object(head.first) and not _looks_like_json(head)


JSON = Format("json", partial(_requests, name="json"), looks=_looks_like_json, names=names_columns)
JSONLINES = Format(
    "jsonlines", partial(_requests, name="jsonlines"), looks=_looks_like_jsonlines, cut=True, names=names_columns
)

"""Content types of requests and predictions, and the one an Accept header asks for (RFC 9110, section 12.5.1)."""

import re

from fmcore.errors import UsageError

TYPES = {  # media type -> format; the first of each format is its official name, others are in use by clients
    "application/json": "json",
    "application/jsonlines": "jsonlines",
    "application/x-recordio-protobuf": "recordio",
    "text/csv": "csv",
    "application/x-jsonlines": "jsonlines",
    "application/jsonl": "jsonlines",
    "application/x-ndjson": "jsonlines",
}
KNOWN = "application/json, application/jsonlines, application/x-recordio-protobuf and text/csv"
QUALITY = re.compile(r"q=([01](?:\.\d*)?)")


class ContentTypeError(UsageError):
    """The body is of a type that has no decoder."""


class AcceptError(UsageError):
    """The client accepts no type in which predictions can be given."""


def request_type(content_type):
    """Return the media type, a key of TYPES, of a Content-Type header (None where absent), without parameters."""
    found = (content_type or "").partition(";")[0].strip().lower()
    if found not in TYPES:
        what = f"Content-Type {found[:80]} is not known" if found else "the request has no Content-Type"
        raise ContentTypeError(f"{what}; expected {KNOWN}")
    return found


def answer_type(accept, own):
    """Return the media type, a key of TYPES, to answer with: the one with the highest quality in an Accept header.

    own: the request's type, which is the answer's where the header is absent or leaves it open. Of equal qualities the
    more specific name wins, then the first.
    """
    if accept in {None, "*/*", own}:  # the header of nearly all clients
        return own
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    ranked = {candidate: _rank(candidate, ranges) for candidate in (own, *TYPES)}
    best = max(ranked, key=ranked.get)
    if ranked[best][0] == 0:
        raise AcceptError(f"Accept {accept[:80]} allows no supported type; predictions are given as {KNOWN}")
    return best


def _range(part):
    """Return (media range, quality) of one element of an Accept header."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    found = [match[1] for match in map(QUALITY.fullmatch, parameters) if match]
    return name, min(float(found[-1]), 1.0) if found else 1.0


def _rank(candidate, ranges):
    """Return (quality, specificity, -position) that the most specific matching range gives a media type."""
    patterns = ("*/*", candidate.partition("/")[0] + "/*", candidate)
    matching = [
        (patterns.index(name), -place, quality) for place, (name, quality) in enumerate(ranges) if name in patterns
    ]
    exactness, place, quality = max(matching, default=(0, 0, 0))
    return quality, exactness, place

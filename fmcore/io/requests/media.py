"""Content types of requests and predictions, and the one that an Accept header asks for (RFC 9110, section 12.5.1)."""

import re

from fmcore.errors import UsageError

TYPES = {  # media type -> format; the first of a format is its own name, others are names that clients use
    "application/json": "json",
    "application/jsonlines": "jsonlines",
    "application/x-recordio-protobuf": "recordio",
    "application/x-jsonlines": "jsonlines",
    "application/jsonl": "jsonlines",
    "application/x-ndjson": "jsonlines",
}
KNOWN = "application/json, application/jsonlines and application/x-recordio-protobuf"
QUALITY = re.compile(r"q=([01](?:\.\d*)?)")


class ContentTypeError(UsageError):
    """The body is of a type that no decoder is for."""


class AcceptError(UsageError):
    """The client takes no type that predictions can be given as."""


def request_type(content_type):
    """The media type, a key of TYPES, that a Content-Type header (None where absent) names; parameters do not count."""
    found = (content_type or "").partition(";")[0].strip().lower()
    if found not in TYPES:
        what = f"Content-Type {found[:80]} is not known" if found else "the request has no Content-Type"
        raise ContentTypeError(f"{what}; known are {KNOWN}")
    return found


def answer_type(accept, own):
    """The media type, a key of TYPES, to answer with: the one that an Accept header gives the highest quality.

    own: the request's type, which is the answer's where the header is absent or leaves it open. Of equal qualities the
    one named more exactly wins, then the one named first.
    """
    if accept in {None, "*/*", own}:  # as nearly all clients say it
        return own
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    ranked = {candidate: _rank(candidate, ranges) for candidate in (own, *TYPES)}
    best = max(ranked, key=ranked.get)
    if ranked[best][0] == 0:
        raise AcceptError(f"Accept {accept[:80]} allows nothing that can be given; predictions are given as {KNOWN}")
    return best


def _range(part):
    """(media range, quality) of one element of an Accept header."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    found = [match[1] for match in map(QUALITY.fullmatch, parameters) if match]
    return name, min(float(found[-1]), 1.0) if found else 1.0


def _rank(candidate, ranges):
    """(quality, exactness, -place) that the most exact of the matching ranges gives a media type."""
    patterns = ("*/*", candidate.partition("/")[0] + "/*", candidate)
    matching = [
        (patterns.index(name), -place, quality) for place, (name, quality) in enumerate(ranges) if name in patterns
    ]
    exactness, place, quality = max(matching, default=(0, 0, 0))
    return quality, exactness, place

"""Content types, and what an Accept header asks for."""

import pytest

from fmcore.io.requests.media import KNOWN, TYPES, AcceptError, ContentTypeError, answer_type, request_type

JSON, LINES, RECORDS = "application/json", "application/jsonlines", "application/x-recordio-protobuf"
CSV = "text/csv"
OTHER = "application/x-jsonlines"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (JSON, JSON),
        ("Application/JSON; charset=utf-8", JSON),
        (" application/jsonlines ;x=1;y", LINES),
        (RECORDS, RECORDS),
        (OTHER, OTHER),
        ("text/csv; header=present", CSV),
    ],
)
def test_known_content_types_are_recognized_with_parameters(header, found):
    assert request_type(header) == found


@pytest.mark.parametrize("header", [None, "", ";", "text/html", "application/*", "json", "application/json, text/csv"])
def test_unknown_content_types_are_refused(header):
    with pytest.raises(ContentTypeError, match=f"expected {KNOWN}"):
        request_type(header)


@pytest.mark.parametrize(
    ("accept", "own", "found"),
    [
        (None, JSON, JSON),
        ("", LINES, LINES),
        ("*/*", RECORDS, RECORDS),
        (" , ", JSON, JSON),
        ("application/*", OTHER, OTHER),
        ("text/html, */*;q=0.1", LINES, LINES),
        (JSON, RECORDS, JSON),
        ("APPLICATION/JSON;charset=utf-8", RECORDS, JSON),
        (OTHER, JSON, OTHER),
        (f"{JSON}, {RECORDS}", LINES, JSON),
        (f"{RECORDS}, {JSON}", LINES, RECORDS),
        (f"{JSON}, */*", LINES, JSON),
        (f"{JSON};q=0.5, {RECORDS}", JSON, RECORDS),
        (f"*/*;q=1, {JSON};q=0.5", JSON, LINES),
        (f"{JSON};q=0, */*", JSON, LINES),
        (f"{JSON};q=0.2, application/*;q=0.3", JSON, LINES),
        (f"text/html, {LINES};Q=0.001", JSON, LINES),
        ("text/*", JSON, CSV),
        (f"{LINES};q=0.5, {CSV}", JSON, CSV),
        (f"{JSON};q=high", LINES, JSON),
        (f"{JSON};q=1.7, {LINES}", LINES, JSON),
    ],
)
def test_accept_headers_choose_the_answer_type(accept, own, found):
    assert answer_type(accept, own) == found


@pytest.mark.parametrize("accept", ["text/html", "image/*", "*/*;q=0", "application/*;q=0.0", "json", "*/json"])
def test_accept_headers_without_a_supported_type_are_refused(accept):
    with pytest.raises(AcceptError, match=f"allows no supported type; predictions are given as {KNOWN}"):
        answer_type(accept, JSON)


def test_the_error_names_the_official_type_of_every_format():
    own_names = {format_name: media_type for media_type, format_name in reversed(TYPES.items())}
    names = [own_names[name] for name in ("json", "jsonlines", "recordio", "csv")]
    assert "{}, {}, {} and {}".format(*names) == KNOWN

"""The fast path of JSON requests against the slow one: both read alike, and requests of clients take the fast one."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import DataError
from fmcore.io.requests import _requests
from fmcore.io.requests.codec import _uncommon, decode
from fmcore.io.requests.instance import Keys

FORMATS = ["json", "jsonlines"]
COMMON = [
    '{"features": [1.5, 0, 16.0]}',
    '{"data": {"features": {"values": [1.5, 16.0]}}}',
    '{"data": {"features": [1.5, 16.0]}, "configuration": {}}',
    '{"configuration":{},"data":{"features":{"keys":[26,182],"shape":[2000],"values":[1,1]}}}',
    '{"features": {"keys": [], "shape": [3], "values": [1, 0, 2]}}',
    '{"features": {"shape": [4]}}',
    '{"features": {"shape": [4], "keys": [], "values": []}}',
    '{"features": []}',
    '{"features": {"values": []}}',
    '{ "features" :\t{ "values" : [ -1e-3 , 2E+2 ] , "keys" : [ 0,2147483646 ] } }',
    '{"features": [0.1, 1e38, -0.0, 123456789012345678901234567890, 3.4028235e38, 1e-46, 0, 7]}',
]
PIECES = [
    "0",
    "1",
    "-",
    "+",
    ".",
    "e",
    "E",
    ",",
    ":",
    "[",
    "]",
    "{",
    "}",
    '"',
    " ",
    "\n",
    "\r",
    "\t",
    "\0",
    "\\",
    "null",
    '"id":"a",',
    '"features":',
    '"data":',
    '"keys":',
    '"values":',
    '"shape":',
    '"configuration":{}',
    "1e400",
    "true",
    "2147483647",
    "18446744073709551615",
    "18446744073709551616",
    "00",
    "[]",
    "{}",
    "NaN",
]


def chunk(instances, form):
    """Return the bytes of a request with these instances, given as text."""
    text = '{"instances": [' + ", ".join(instances) + "]}" if form == "json" else "\n".join(instances)
    return text.encode()


def same(data, form):
    """Return whether the fast path accepts it; if so, the slow one must read it alike and find no error.

    The same holds however keys are read, for which it may accept other requests.
    """
    accepted = [_same(data, form, Keys(base, wide)) for wide in (False, True) for base in (0, 1)]
    return accepted[0]


def _same(data, form, keys):
    if _requests.parse(data, form == "jsonlines", *keys) is None:
        return False
    options = {"index_base": str(keys.base), "wide": keys.wide}
    fast, slow = decode(data, form, **options), _uncommon(data, form, "fail", keys)
    assert fast.batch.indices.dtype == keys.dtype
    assert (fast.units, fast.facts, len(fast.skipped)) == (slow.units, slow.facts, len(slow.skipped))
    for name in ("indptr", "indices", "values", "labels"):
        left, right = getattr(fast.batch, name), getattr(slow.batch, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert fast.batch.origin.numbers.tolist() == slow.batch.origin.numbers.tolist()
    assert (fast.batch.origin.unit, fast.batch.ids) == (slow.batch.origin.unit, slow.batch.ids)
    return True


@pytest.mark.parametrize("form", FORMATS)
def test_requests_of_common_clients_take_the_fast_path(form):
    for instance in COMMON:
        assert same(chunk([instance], form), form), instance
    assert same(chunk(COMMON, form), form)
    assert same(chunk([], form), form)
    blanks = {"json": ' {"instances" :\n[ ] }\r\n ', "jsonlines": f"\n \n\t\r\n{COMMON[0]}\n\n "}
    assert same(blanks[form].encode(), form)


@pytest.mark.parametrize("dump", [{}, {"indent": 1}, {"separators": (",", ":")}])
def test_every_way_of_writing_a_document_decodes_alike(dump):
    assert same(json.dumps({"instances": [json.loads(instance) for instance in COMMON]}, **dump).encode(), "json")


@pytest.mark.parametrize(
    ("instance", "form"),
    [
        ('{"features": [], "id": "a"}', "json"),
        ('{"features": [], "metadata": 1}', "jsonlines"),
        ('{"features": [01]}', "json"),
        ('{"features": [+1]}', "json"),
        ('{"features": [1.]}', "json"),
        ('{"features": [1.e3]}', "json"),
        ('{"features": [.5]}', "json"),
        ('{"features": [1e]}', "json"),
        ('{"features": [1e39]}', "json"),
        ('{"features": [1,]}', "json"),
        ('{"features": [1]', "jsonlines"),
        ('{"features": [1]} 2', "jsonlines"),
        ('{"features": [1],\n"configuration": {}}', "jsonlines"),
        ('{"features": [1]}\0', "json"),
        ('{"features": [1]}\0', "jsonlines"),
        ('{"features": [], "features": []}', "json"),
        ('{"features": {"keys": [1], "values": [1], "shape": [1]}}', "json"),
        ('{"features": {}}', "json"),
        ('{"features": {"keys": [2147483647], "values": [1]}}', "json"),
        ('{"features": {"keys": [1]}}', "json"),
        ('{"features": {"keys": [1.0], "values": [1]}}', "json"),
        ('{"features": {"keys": [01], "values": [1]}}', "json"),
        ('{"features": {"values": [], "shape": [0]}}', "json"),
        ('{"features": {"shape": [2], "values": [1]}}', "json"),
        ('{"features": {"shape": [1, 2]}}', "json"),
        ('{"features": {"shape": [4], "shape": [4]}}', "json"),
        ('{"configuration": {}}', "json"),
        ('{"features": [], "configuration": {"a": 1}}', "json"),
        ('{"features": [1]},', "json"),
        ("[1]", "json"),
        ("\ufeff" + COMMON[0], "jsonlines"),
    ],
)
def test_requests_not_in_the_common_form_are_left_to_the_slow_path(instance, form):
    assert _requests.parse(chunk([instance], form), form == "jsonlines") is None


@pytest.mark.parametrize("form", FORMATS)
def test_every_truncation_of_a_request_decodes_alike_on_both_paths(form):
    data = chunk(COMMON, form)
    for end in range(len(data)):
        assert not (same(data[:end], form) and form == "json")


@given(st.integers(0, 2**32), st.sampled_from(FORMATS))
def test_damaged_requests_are_declined_or_decode_alike_on_both_paths(seed, form):
    rng = random.Random(seed)
    text = chunk(rng.sample(COMMON, 2), form).decode()
    for _ in range(rng.randint(1, 3)):
        at, cut = rng.randrange(len(text) + 1), rng.randrange(4)
        text = text[:at] + rng.choice(["", *PIECES]) + text[at + cut :]
    same(text.encode(), form)


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.floats(width=32, allow_nan=False, allow_infinity=False),
                st.integers(-(2**70), 2**70),
                st.floats(-1e38, 1e38),
            ),
            max_size=6,
        ),
        max_size=4,
    )
)
def test_numbers_of_any_size_decode_alike_on_both_paths(rows):
    for form in FORMATS:
        assert same(chunk([json.dumps({"features": row}) for row in rows], form), form)


def test_random_bytes_are_declined_or_decode_alike_on_both_paths():
    rng = random.Random(5)
    for _ in range(300):
        data = bytes(rng.choices(b'{}[]",:0123456789.eE-+ \n\0\xff', k=rng.randrange(60)))
        for form in FORMATS:
            if _requests.parse(data, form == "jsonlines") is None:
                continue
            assert same(data, form)
    with pytest.raises(DataError):
        decode(b"\0", "json")

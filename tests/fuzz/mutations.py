"""Damaged copies of seeds, the same each time: inputs for tests without a fuzzing engine."""

import random
import re

LARGEST = 4096  # bytes of a damaged copy, but for those that repeat a part
NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 28,
    1 << 29,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
WORDS = (
    b"",
    b"\0",
    b"\n",
    b"-",
    b"1e999",
    b"-1",
    b"nan",
    b"inf",
    b"2147483647",
    b"18446744073709551616",
    b"[[[[",
    b'"',
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b":",
    b"\t",
    b",",
    b"{}",
    b"0" * 400,
)


def damaged(seeds, count, seed=0):
    """Yield `count` damaged copies of the seeds (list of bytes)."""
    rng = random.Random(seed)
    for _ in range(count):
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            data = rng.choice(WAYS)(rng, data, seeds)[:LARGEST]
        if rng.random() < 0.01:
            data = _repeated(rng, data)
        yield data


def _flip(rng, data, seeds):
    at = rng.randrange(8 * len(data) or 1)
    return _spliced(data, at // 8, 1, bytes(byte ^ 1 << at % 8 for byte in data[at // 8 : at // 8 + 1]))


def _set(rng, data, seeds):
    return _spliced(data, rng.randrange(len(data) or 1), 1, bytes([rng.randrange(256)]))


def _cut(rng, data, seeds):
    return data[: rng.randrange(len(data) + 1)]


def _drop(rng, data, seeds):
    return _spliced(data, rng.randrange(len(data) or 1), rng.choice((1, 2, 4, 8, 64)), b"")


def _word(rng, data, seeds):
    return _spliced(data, rng.randrange(len(data) + 1), rng.choice((0, 1, 4)), rng.choice(WORDS))


def _binary_number(rng, data, seeds):
    size = rng.choice((1, 2, 4, 8))
    number = (rng.choice(NUMBERS) + rng.choice((-1, 0, 1))) % (1 << 8 * size)
    return _spliced(data, rng.randrange(len(data) or 1), size, number.to_bytes(size, rng.choice(("little", "big"))))


def _decimal_number(rng, data, seeds):
    found = list(re.finditer(rb"[0-9]+", data))
    if not found:
        return data
    place = rng.choice(found)
    return _spliced(data, place.start(), place.end() - place.start(), b"%d" % rng.choice(NUMBERS))


def _copy(rng, data, seeds):
    start = rng.randrange(len(data) or 1)
    return _spliced(data, rng.randrange(len(data) + 1), 0, data[start : start + rng.choice((1, 4, 16, 64))])


def _cross(rng, data, seeds):
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _repeated(rng, data):
    start = rng.randrange(len(data) or 1)
    part = data[start : start + rng.choice((1, 2, 8, 64))]
    return _spliced(data, start, 0, part * (4 * LARGEST // (len(part) or 1)))


def _spliced(data, start, size, inserted):
    return data[:start] + inserted + data[start + size :]


WAYS = (_flip, _set, _cut, _drop, _word, _binary_number, _decimal_number, _copy, _cross)

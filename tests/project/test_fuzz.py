"""Every reader under its seeds, which hold what fuzzing once found, and under damaged copies of them."""

from pathlib import Path

import pytest
from fuzz import memory
from fuzz.driver import seeds_of
from fuzz.mutations import damaged
from fuzz.targets import TARGETS, load

# Of those that take milliseconds each.
COPIES = {"csv": 200, "meta": 200, "archive": 300, "model": 300, "jsonlines": 400}
SEEDS = {name: sorted(seeds_of(name).iterdir()) for name in TARGETS}


@pytest.fixture(scope="module", autouse=True)
def _traced():
    with memory.traced():
        yield


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name in TARGETS for path in SEEDS[name]],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_readers_survive_the_seeds_of_the_fuzzer(name, path):
    memory.check(load(name), path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_readers_survive_damaged_copies_of_seeds(name, tmp_path):
    target, file = load(name), tmp_path / name
    for data in damaged([path.read_bytes() for path in SEEDS[name]], COPIES.get(name, 800)):
        file.write_bytes(data)  # to be looked at, if it is the last
        memory.check(target, data)


def test_memory_out_of_proportion_is_found():
    with pytest.raises(AssertionError, match=r"^3 bytes of input took 1"):
        memory.check(lambda data: bytes(len(data) * 5_000_000), b"abc")

"""The machine's resources: memory and processors, with containers' limits; sizes as people write them."""

import os
import platform
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.errors import UsageError
from fmcore.system import memory, threads
from fmcore.system.memory import default_limit, parse_size
from fmcore.system.threads import default_threads


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("1K", 1024),
        ("1.5GiB", 3 << 29),
        ("8 gb", 8 << 30),
        (" 2m ", 2 << 20),
        ("3T", 3 << 40),
        (64, 64),
    ],
)
def test_parse_size_reads_numbers_with_and_without_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "5 apples", "1.G", "٣", "nan", "9" * 400])
def test_parse_size_refuses_other_texts(text):
    with pytest.raises(UsageError, match="is invalid; expected a number of bytes, or one with K, M, G or T"):
        parse_size(text)


@given(st.text())
def test_parse_size_of_any_text_returns_bytes_or_a_usage_error(text):
    with suppress(UsageError):
        assert parse_size(text) >= 0


FAULTS = """\
import resource
from fmcore.system.memory import keep_freed
keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [bytearray(1 << 20) for _ in range(8)]
    del blocks
pages = (8 << 20) // resource.getpagesize()
assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2 * pages
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have their own ways")
def test_keep_freed_reuses_freed_blocks(fm):
    fm.python(FAULTS)


@pytest.fixture
def meminfo(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       9999999 kB\nMemAvailable:    4194304 kB\n")
    return path


def write(folder, files):
    """Make a cgroup's files: name -> text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_default_limit_is_half_of_the_available_memory(tmp_path, meminfo):
    assert default_limit(tmp_path, meminfo) == 2 << 30


def test_default_limit_counts_the_cgroup_of_a_container(tmp_path, meminfo):
    write(tmp_path, {"memory.max": "1073741824\n", "memory.current": "73741824\n"})
    assert default_limit(tmp_path, meminfo) == 500_000_000
    write(tmp_path, {"memory.max": "max\n"})
    assert default_limit(tmp_path, meminfo) == 2 << 30
    write(tmp_path, {"memory/memory.limit_in_bytes": "300000000", "memory/memory.usage_in_bytes": "100000000"})
    assert default_limit(tmp_path, meminfo) == 100_000_000
    write(tmp_path, {"memory.max": "1000\n", "memory.current": "5000\n"})
    assert default_limit(tmp_path, meminfo) == 1 << 24


def test_default_limit_where_the_system_reports_no_available_memory(tmp_path, monkeypatch):
    pages = {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 1 << 12}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert default_limit(tmp_path, tmp_path / "none") == 2 << 30
    monkeypatch.delattr(os, "sysconf")
    assert default_limit(tmp_path, tmp_path / "none") == 1 << 30
    assert memory.default_limit() >= 1 << 24


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "odd\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
    ],
)
def test_default_threads_are_the_least_of_affinity_and_cpu_quota(tmp_path, monkeypatch, files, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(8), raising=False)
    write(tmp_path, files)
    assert default_threads(tmp_path) == count


def test_default_threads_without_an_affinity_mask(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert default_threads(tmp_path) == 4
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.default_threads(tmp_path) == 1

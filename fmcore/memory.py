"""How much memory there is, sizes as people write them, and memory that is kept to be used again."""
import os
import re
from contextlib import suppress
from pathlib import Path

from fmcore.errors import UsageError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text):
    """Bytes of "500M", "8G", "1.5GiB" or a plain number of bytes."""
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.ASCII | re.IGNORECASE)
    if not found:
        raise UsageError(f"size {text!r} is not understood; expected a number of bytes, or one with K, M, G or T")
    return int(float(found[1]) * UNITS[found[2].upper()])


def default_limit(cgroup=Path("/sys/fs/cgroup"), meminfo=Path("/proc/meminfo")):
    """Half of the memory that this process may still take; 1 GiB where the system does not tell."""
    return max(1 << 24, min(_available(meminfo), _left(cgroup)) // 2)


def keep_freed():
    """Keep freed blocks of up to 31 MiB for the next ones, where the C library is glibc; elsewhere nothing happens.

    It hands free memory back to the system at 128 KiB or, in time, at twice the largest block that was freed before. A
    stream whose pieces and arrays of megabytes come and go then spends a fifth of its time on pages taken anew. The
    block freed here is never touched, so it costs nothing.
    """
    bytes(31 << 20)


def _available(meminfo):
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 2 << 30


def _left(cgroup):
    """Bytes below the limit of a container, which is no limit where there is none."""
    for limit, used in (("memory.max", "memory.current"),
                        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with suppress(OSError, ValueError):  # no such file, or "max"
            return int((cgroup / limit).read_text()) - int((cgroup / used).read_text())
    return 1 << 62

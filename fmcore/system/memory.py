"""How much memory there is, sizes as people write them, and memory that is kept to be used again."""

import ctypes
import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fmcore.errors import UsageError
from fmcore.system.cgroups import MEMBERSHIP, ROOT, folders

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MEMINFO = Path("/proc/meminfo")
LEAST = 1 << 24  # bytes; a process of ours takes more in any case, so a smaller limit only says to keep no rows
NO_LIMIT = 1 << 62


class Budget(NamedTuple):
    """The memory that a training may take. total: bytes. rows: those of them that rows may take. told: by the user."""

    total: int
    rows: int
    told: bool

    def reserved(self, needed: int) -> int:
        """Bytes of `rows` that are not for rows, where the model needs so many of the total."""
        return max(0, needed - (self.total - self.rows))


def budget(limit: int | None = None) -> Budget:
    """The Budget that a limit means: all of it for either; without one, what is free, and half of it for rows."""
    if limit is not None:
        return Budget(max(limit, LEAST), limit, told=True)
    return Budget(max(LEAST, free()), default_limit(), told=False)


def default_limit(cgroup: Path = ROOT, meminfo: Path = MEMINFO, membership: Path = MEMBERSHIP) -> int:
    """Half of the memory that this process may still take; see `free`."""
    return max(LEAST, free(cgroup, meminfo, membership) // 2)


def parse_size(text: object) -> int:
    """Bytes of "500M", "8G", "1.5GiB" or a plain number of bytes."""
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.ASCII | re.IGNORECASE)
    if not found:
        raise UsageError(f"size {text!r} is not understood; expected a number of bytes, or one with K, M, G or T")
    return int(float(found[1]) * UNITS[found[2].upper()])


def free(cgroup: Path = ROOT, meminfo: Path = MEMINFO, membership: Path = MEMBERSHIP) -> int:
    """Bytes that this process may still take: of the machine, its cgroups (containers, services) and its address space.

    2 GiB where the system does not tell.
    """
    left = [_left(folder) for folder in folders("memory", cgroup, membership)]
    return max(0, min([_available(meminfo), _address_space(), *left]))


def keep_freed() -> None:
    """Keep freed blocks of up to 31 MiB for the next ones, where the C library is glibc; elsewhere nothing happens.

    It hands free memory back to the system at 128 KiB or, in time, at twice the largest block that was freed before. A
    stream whose pieces and arrays of megabytes come and go then spends a fifth of its time on pages taken anew. The
    block freed here is never touched, so it costs nothing.
    """
    bytes(31 << 20)


def give_back() -> None:
    """Give the system back what is kept freed, where the C library is glibc: before work that has no use for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _available(meminfo: Path) -> int:
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


def _address_space() -> int:
    """Bytes below the limit of the process (ulimit -v)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return NO_LIMIT
    with suppress(OSError, ValueError):  # where there is no /proc
        limit -= int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return limit


def _left(folder: Path) -> int:
    """Bytes below the limit of one cgroup; what the system keeps of files in memory makes room where it is needed."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with suppress(OSError, ValueError):  # no such file, or "max"
            return int((folder / limit).read_text()) - int((folder / used).read_text()) + _files(folder)
    return NO_LIMIT


def _files(folder: Path) -> int:
    """Bytes of files that a cgroup has in memory."""
    with suppress(OSError):
        text = (folder / "memory.stat").read_text()
        for prefix in ("total_", ""):  # of v1, where the plain ones leave out the groups below
            found = re.findall(rf"^{prefix}(?:in)?active_file (\d+)$", text, re.MULTILINE)
            if found:
                return sum(map(int, found))
    return 0

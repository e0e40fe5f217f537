"""How much memory is available, sizes as people write them, and freed memory that is kept for reuse."""

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
LEAST = 1 << 24  # bytes; any process of fmkit takes more, so a smaller limit only means that no rows are kept
NO_LIMIT = 1 << 62


class Budget(NamedTuple):
    """The memory that a training may take.

    total: bytes. rows: those of them that rows may take. given: whether the user set the limit.
    """

    total: int
    rows: int
    given: bool

    def reserved(self, needed: int) -> int:
        """Return the bytes of `rows` that cannot hold rows where the model needs `needed` bytes of the total."""
        return max(0, needed - (self.total - self.rows))


def budget(limit: int | None = None) -> Budget:
    """Return the Budget for a limit: all of it for either; without a limit, the free memory, half of it for rows."""
    if limit is not None:
        return Budget(max(limit, LEAST), limit, given=True)
    return Budget(max(LEAST, free()), default_limit(), given=False)


def default_limit(cgroup: Path = ROOT, meminfo: Path = MEMINFO, membership: Path = MEMBERSHIP) -> int:
    """Return half of the memory that this process may still take; see `free`."""
    return max(LEAST, free(cgroup, meminfo, membership) // 2)


def parse_size(text: object) -> int:
    """Return the number of bytes in "500M", "8G", "1.5GiB" or a plain number of bytes."""
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.ASCII | re.IGNORECASE)
    if not found:
        raise UsageError(f"size {text!r} is invalid; expected a number of bytes, or one with K, M, G or T")
    return int(float(found[1]) * UNITS[found[2].upper()])


def free(cgroup: Path = ROOT, meminfo: Path = MEMINFO, membership: Path = MEMBERSHIP) -> int:
    """Return the bytes that this process may still take: of the machine, its cgroups and its address space.

    The cgroups are those of containers and services. 2 GiB where the system does not report it.
    """
    left = [_left(folder) for folder in folders("memory", cgroup, membership)]
    return max(0, min([_available(meminfo), _address_space(), *left]))


def keep_freed() -> None:
    """Keep freed blocks of up to 31 MiB for reuse, where the C library is glibc; do nothing elsewhere.

    By default glibc returns free memory to the system at 128 KiB or, in time, at twice the largest block freed before.
    A stream that allocates and frees pieces and arrays of megabytes then spends a fifth of its time on fresh pages. The
    block freed here is never touched, so it costs nothing.
    """
    bytes(31 << 20)


def give_back() -> None:
    """Return kept freed memory to the system, where the C library is glibc: before work that would not reuse it."""
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
    """Return the bytes left below the address space limit of the process (ulimit -v)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return NO_LIMIT
    with suppress(OSError, ValueError):  # on systems without /proc
        limit -= int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return limit


def _left(folder: Path) -> int:
    """Return the bytes left below the limit of one cgroup; the page cache counts as free, as the system reclaims it."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with suppress(OSError, ValueError):  # no such file, or "max"
            return int((folder / limit).read_text()) - int((folder / used).read_text()) + _files(folder)
    return NO_LIMIT


def _files(folder: Path) -> int:
    """Return the bytes of cached files that count as memory of a cgroup."""
    with suppress(OSError):
        text = (folder / "memory.stat").read_text()
        for prefix in ("total_", ""):  # first the totals of v1, whose plain entries leave out the groups below
            found = re.findall(rf"^{prefix}(?:in)?active_file (\d+)$", text, re.MULTILINE)
            if found:
                return sum(map(int, found))
    return 0

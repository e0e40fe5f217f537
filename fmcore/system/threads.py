"""How many threads to use: as many as this process has processors."""

import math
import os
import resource
from pathlib import Path

from fmcore.system.cgroups import MEMBERSHIP, ROOT, folders

SPACE = 256 << 20  # bytes of address space that a thread may reserve: its stack, and its arena of malloc


def default_threads(cgroup: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """Return the number of processors in the affinity mask, at least 1.

    It is further limited by the quotas of cgroups (containers, services), and where the address space is limited
    (ulimit -v), by the share that each thread takes of it: threads that cannot be started would end the process.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [
        math.ceil(quota) for folder in folders("cpu", cgroup, membership) if (quota := _quota(folder)) is not None
    ]
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    affordable = allowed if space == resource.RLIM_INFINITY else space // SPACE
    return max(1, min([allowed, affordable, *quotas]))


def _quota(folder: Path) -> float | None:
    """Return the processors granted to one group by cgroup v2, else v1, else None."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except ValueError:  # "max"
        return None

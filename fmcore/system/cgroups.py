"""The control groups that this process is in: their limits are those of a container, a service or a batch job."""

from pathlib import Path

ROOT, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def folders(controller: str, root: Path = ROOT, membership: Path = MEMBERSHIP) -> list[Path]:
    """Return the folders of the groups that hold this process, from its own up to the root, of cgroup v2 and then v1.

    controller: "memory" or "cpu". A folder may be missing: within a container, the names that the host uses do not
    exist.
    """
    groups = []
    for base, path in _own(controller, root, membership):
        group = Path(path.strip().lstrip("/"))
        groups += [base / group, *(base / parent for parent in group.parents)] if group.parts else [base]
    return groups


def _own(controller: str, root: Path, membership: Path) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """Return (folder of the hierarchy, path in it) for v2 and v1."""
    paths = {"": "/", controller: "/"}
    try:
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update({name: path for name in controllers.split(",") if name in paths})
    except (OSError, ValueError):  # no such file, or a format that is not known here
        pass
    return (root, paths[""]), (root / controller, paths[controller])

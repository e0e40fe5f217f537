"""The runs of a search that are alive: each running trial carries the mark of its process."""

import os
import socket
from pathlib import Path


def mark():
    """Return what distinguishes this process from all others, ready for JSON."""
    return {"host": socket.gethostname(), "process": os.getpid(), "since": _since(os.getpid())}


def is_mark(run):
    """Return whether the value is one that `mark` can return, on any machine."""
    return (
        isinstance(run, dict)
        and isinstance(run.get("host"), str)
        and "since" in run
        and isinstance(run.get("process"), int)
        and 0 < run["process"] < 1 << 31
    )


def lives(run):
    """Return whether the process of a mark is alive, as far as can be known: on another machine it counts as alive."""
    return run["host"] != socket.gethostname() or _since(run["process"]) == run["since"]


def is_near(run):
    """Return whether its process is one of this machine."""
    return run["host"] == socket.gethostname()


def _since(process):
    """Return when a process began, which distinguishes it from a later one of its number; None without a process."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        pass
    else:
        return None if state == "Z" else rest[18]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"  # this is no Linux

"""Which runs of a search go on: each trial under way bears the mark of its process."""

import os
import socket
from pathlib import Path


def mark():
    """What tells this process from all others, ready for JSON."""
    return {"host": socket.gethostname(), "process": os.getpid(), "since": _since(os.getpid())}


def is_mark(run):
    """Whether it is what `mark` gives, on whatever machine."""
    return (
        isinstance(run, dict)
        and isinstance(run.get("host"), str)
        and "since" in run
        and isinstance(run.get("process"), int)
        and 0 < run["process"] < 1 << 31
    )


def lives(run):
    """Whether the process of a mark goes on, as far as can be told: one on another machine is taken to."""
    return run["host"] != socket.gethostname() or _since(run["process"]) == run["since"]


def is_near(run):
    """Whether its process is one of this machine."""
    return run["host"] == socket.gethostname()


def _since(process):
    """When a process began, which tells it from a later one of its number; None where there is none."""
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

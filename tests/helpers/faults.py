"""Tools to produce faults: small disks, files that must not change, processes that are watched as they fail."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from shell import LIMIT, interruptible, last_line, wait_for

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what is tested is Linux's own")
CLASSIFIER = ("--predictor-type", "binary_classifier")
FOREVER = (*CLASSIFIER, "--epochs", 10**9)


class Old:
    """A file that a failing command must not change."""

    def __init__(self, path, content=b"old"):
        self.path = Path(path)
        self.path.write_bytes(content)
        os.utime(self.path, ns=(10**18, 10**18))
        self._before = self._state()

    def unharmed(self):
        """Return whether content, time of change and place on the disk are unchanged."""
        return self._state() == self._before

    def _state(self):
        status = self.path.stat()
        return self.path.read_bytes(), status.st_mtime_ns, status.st_ino


@contextmanager
def mounted(folder, options="size=64k"):
    """Mount a file system of its own on a folder; skip the test where that is not possible."""
    folder.mkdir(exist_ok=True)
    if sys.platform != "linux" or not ROOT or not shutil.which("mount"):
        pytest.skip("to mount a file system takes Linux and root")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("this system does not let us mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remounted(folder, options):
    """Change the options of a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def ended(process, code, *, said=b""):
    """Wait for the end of a process, with the expected exit code; return the last line on standard error."""
    try:
        _, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            stream.close()
    text = (said + (err or b"")).decode()
    assert process.returncode == code, text
    assert "Traceback" not in text
    return last_line(text) if text.strip() else ""


def training(fm, *arguments, lines=3):
    """Start a training that would not end by itself; return the process, and its output until an epoch was done.

    Rows that are streamed are read in each epoch, as the folder for their spill file does not exist.
    """
    process = fm.start("train", *arguments, *FOREVER, stdin=subprocess.DEVNULL, env=interruptible(TMPDIR="/no/folder"))
    said = b"".join(process.stderr.readline() for _ in range(lines))
    assert b"fm:" not in said, said
    return process, said


def names(folder):
    """Return the names of all entries of a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def temporary(folder):
    """Return the temporary files in a folder."""
    return [path for path in Path(folder).iterdir() if path.name.endswith(".tmp")]


def being_written(folder):
    """Wait until a folder holds a temporary file; return it."""
    wait_for(lambda: temporary(folder))
    return temporary(folder)[0]

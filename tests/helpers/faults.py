"""What faults are made of: small disks, files that must stay as they are, processes that are watched as they fail."""

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
    """A file that a command that fails must leave as it is."""

    def __init__(self, path, content=b"old"):
        self.path = Path(path)
        self.path.write_bytes(content)
        os.utime(self.path, ns=(10**18, 10**18))
        self._before = self._state()

    def unharmed(self):
        """Whether content, time of change and place on the disk are what they were."""
        return self._state() == self._before

    def _state(self):
        status = self.path.stat()
        return self.path.read_bytes(), status.st_mtime_ns, status.st_ino


@contextmanager
def mounted(folder, options="size=64k"):
    """A file system of its own in a folder; a test that cannot have one is skipped."""
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
    """Give a mounted file system other options."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def ended(process, code, *, said=b""):
    """Wait for the end of a process, in the exit code expected; the last line on standard error."""
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
    """Start a training that would not end by itself; the process, and what it said until an epoch was through.

    Rows that are streamed are read in each epoch, as the folder that would keep them is not there.
    """
    process = fm.start("train", *arguments, *FOREVER, stdin=subprocess.DEVNULL, env=interruptible(TMPDIR="/no/folder"))
    said = b"".join(process.stderr.readline() for _ in range(lines))
    assert b"fm:" not in said, said
    return process, said


def names(folder):
    """Names of all that is in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def temporary(folder):
    """Temporary files in a folder."""
    return [path for path in Path(folder).iterdir() if path.name.endswith(".tmp")]


def being_written(folder):
    """Wait until there is a temporary file in a folder; it."""
    wait_for(lambda: temporary(folder))
    return temporary(folder)[0]

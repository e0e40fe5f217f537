"""The command line as a user runs it: a process of its own in a folder of its own, and tiny input files."""

import fcntl
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import fmcli
from fmcore.io.recordio.record_message import record_class

ROOT = Path(fmcli.__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "fmcli"]
LIMIT = 120  # seconds after which a process or a thread is taken to hang; nothing that goes well comes near it


class Done(NamedTuple):
    """The results of a command: its exit code, and its output as text (bytes where asked for)."""

    code: int
    out: str
    err: str


class Shell:
    """Runs `fm` in a folder. Any warning is an error, as in the tests themselves.

    command: the words that run it, which may be another program's.
    """

    def __init__(self, folder):
        self.folder, self.command = Path(folder), COMMAND

    def __call__(self, *arguments, stdin="", code=0, binary=False, **environ):
        """Run to the end; code: the expected exit code; environ: additional variables."""
        return self._run([*self.command, *map(str, arguments)], stdin, code, binary, environ)

    def python(self, source, code=0):
        """Run Python source that uses the package, in the way of a command."""
        return self._run([sys.executable, "-c", source], "", code, False, {})

    def _run(self, command, stdin, code, binary, environ):
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=environment(**environ),
            timeout=LIMIT,
        )
        err = done.stderr.decode()
        assert done.returncode == code, err
        assert "Traceback" not in err
        assert not self.left_over()
        return Done(done.returncode, done.stdout if binary else done.stdout.decode(), err)

    def start(self, *arguments, **streams):
        """Start a command; return its Popen."""
        streams = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": interruptible(),
            **streams,
        }
        return subprocess.Popen([*self.command, *map(str, arguments)], cwd=self.folder, **streams)

    def write(self, name, content):
        """Make a file in the folder; return its path."""
        return written(self.folder / name, content)

    def read(self, name):
        """Return the bytes of a file in the folder."""
        return (self.folder / name).read_bytes()

    def files(self):
        """Return the names of all entries of the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def left_over(self):
        """Return temporary files that should have been removed."""
        return [name for name in self.files() if name.endswith((".tmp", ".partial"))]

    def writes(self):
        """Return whether a command has an output open by now, which it locks once it can remove it."""
        return any(map(is_locked, map(self.folder.joinpath, self.left_over())))


def is_locked(path):
    """Return whether another process holds a lock on a file."""
    with suppress(FileNotFoundError), path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def written(path, content):
    """Make a file of text or bytes, and the folders above it; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def environment(**more):
    """Return the environment of a command: with this interpreter's scripts, and strict about warnings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FMKIT_", "PYTHON"))}
    path = {} if "site-packages" in ROOT.parts else {"PYTHONPATH": str(ROOT)}
    return {**ours, **path, "PYTHONWARNINGS": "error", **more}


def interruptible(**more):
    """Return the environment of a command that a signal may reach at any moment.

    Where that is between opening a file and having it, Python closes the file itself, and would warn of it.
    """
    return environment(PYTHONWARNINGS="error,ignore::ResourceWarning", **more)


def records(data):
    """Return the Records of recordIO bytes: frames cut by hand, payloads read by google protobuf."""
    found = []
    while data:
        assert data[:4].hex() == "0a23d7ce"
        size = int.from_bytes(data[4:8], "little")
        found.append(record_class().FromString(data[8 : 8 + size]))
        data = data[8 + (size + 3) // 4 * 4 :]
    return found


def wait_for(condition):
    """Wait until condition() holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"it has not come this far in {LIMIT} s"
        time.sleep(0.01)


def last_line(text):
    """Return the last line that is not empty."""
    return text.strip().splitlines()[-1]


def libsvm_rows(rows, seed, *, classes=True, features=20):
    """Return rows of libsvm text with a pattern that a model can learn; the first holds feature 0."""
    rng = random.Random(seed)
    effects = [random.Random(7 + index).gauss(0, 1) for index in range(features)]
    lines = []
    for number in range(rows):
        chosen = sorted({*([0] if number == 0 else []), *rng.sample(range(features), 4)})
        score = sum(effects[index] for index in chosen) + rng.gauss(0, 0.3)
        label = int(score > 0) if classes else round(score, 3)
        lines.append(f"{label} " + " ".join(f"{index}:{rng.choice((0.5, 1, 2))}" for index in chosen) + "\n")
    return "".join(lines)


TRAIN_TABLE = """\
id,age,city,weight,bought
a,1.5,Rome,1,yes
b,,Oslo,2,no
c,3,"Rome",1,no
d,0,,0.5,yes
"""
TEST_TABLE = """\
id,age,city,weight,bought
x,2,Rome,1,no
y,2,Lima,1,yes
z,1,Oslo,3,no
"""
TABLE_OPTIONS = (
    "--label-column",
    "bought",
    "--positive-label",
    "yes",
    "--categorical",
    "city",
    "--weight-column",
    "weight",
    "--id-column",
    "id",
)

"""Output at a terminal: bars that come and go, the same lines as in a file, no bar where none is wanted."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest
from shell import COMMAND, LIMIT, environment


def at_a_terminal(folder, *arguments, **environ):
    """Return (exit code, standard output, what the terminal showed) of a command whose standard error is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # rows, columns; a pty begins with none
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env=environment(**{"TERM": "xterm", **environ}),
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    out = process.stdout.read()
    process.stdout.close()
    return process.wait(LIMIT), out, shown.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "train", "--predictor-type", "binary_classifier", "--test", "test", "--epochs", 2, "-o", "x.fm"),
        ("train", "train", "--predictor-type", "binary_classifier", "--epochs", 2, "-o", "x.fm", "--memory-limit", 1),
        ("convert", "train", "-o", "x.rec.gz"),
        ("eval", "classifier", "test"),
        ("predict", "classifier", "test"),
    ],
)
def test_a_terminal_shows_progress_bars(fm, world, arguments):
    arguments = [
        getattr(world, word) if word in {"train", "test", "classifier"} and place else word
        for place, word in enumerate(arguments)
    ]
    code, out, shown = at_a_terminal(fm.folder, *arguments)
    assert code == 0
    assert "\r" in shown.replace("\r\n", "")
    assert ("epoch 2:   0%|" in shown) == (arguments[0] == "train")
    assert "epoch 3:" not in shown
    plain = at_a_terminal(fm.folder, *arguments, TERM="dumb")
    assert (plain[:2]) == (0, out)
    assert "\r" not in plain[2].replace("\r\n", "")
    assert all(line in shown for line in plain[2].splitlines() if "feature_dim" in line or "logloss" in line)
    assert at_a_terminal(fm.folder, *arguments, "-q") == (0, out, "")


def test_a_bar_is_gone_before_an_error_is_printed(fm):
    fm.write("x.svm", "1 0:1\n" * 1000 + "x\n")
    code, _, shown = at_a_terminal(fm.folder, "convert", "x.svm", "-o", "x.rec")
    assert code == 3
    assert shown.splitlines()[-1].split("\r")[-1].startswith("fm: x.svm, line 1001, field 1: found 'x'")

"""SageMaker's container as a user runs it: a tree like /opt/ml, and the entry points run over it as processes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from shell import LIMIT, Done, interruptible, libsvm_rows, written

from fmcore import api

CLASSES, FEATURES = libsvm_rows(400, 1), 20
BASICS = {"feature_dim": FEATURES, "num_factors": 4, "predictor_type": "binary_classifier"}
TRAIN, SERVE = ([sys.executable, "-m", f"fmcli.container.{name}"] for name in ("train", "serve"))


STARTED = []  # processes


class ContainerJob:
    """A tree, and the processes over it. Any warning is an error, as in the tests themselves."""

    def __init__(self, folder, **hyperparameters):
        self.root = Path(folder)
        for name in ("input/config", "input/data", "model", "output/data"):  # as SageMaker makes them
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.config("hyperparameters", {name: str(value) for name, value in {**BASICS, **hyperparameters}.items()})

    def config(self, name, content):
        """Write a configuration file, given as an object or as text."""
        text = content if isinstance(content, str) else json.dumps(content)
        self.write(f"input/config/{name}.json", text)

    def write(self, name, content):
        """Make a file in the tree; return its path."""
        return written(self.root / name, content)

    def pipe(self, name):
        """Make a named pipe among the channels; return its path."""
        path = self.root / "input/data" / name
        os.mkfifo(path)
        return path

    def train(self, code=0, command=(), **environ):
        """Run `train` to its end; code: the expected exit code."""
        process = self.start(command or TRAIN, **environ)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == code, err.decode()
        assert not [path for path in self.root.rglob("*.tmp") if path.is_file()]
        return Done(code, out.decode(), err.decode())

    def start(self, command=tuple(TRAIN), **environ):
        """Start an entry point; return its Popen."""
        STARTED.append(
            subprocess.Popen(
                [*command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.root,
                env=interruptible(**{"FMKIT_ML_ROOT": str(self.root), **environ}),
            )
        )
        return STARTED[-1]

    @property
    def model_file(self):
        """Return the path of the model."""
        return self.root / "model/model.fm"

    def model(self):
        """Return the trained model, verified."""
        return api.load(self.model_file, verify=True)

    def failure(self):
        """Return the text of output/failure; None without the file."""
        path = self.root / "output/failure"
        return path.read_text() if path.is_file() else None


def stopped(process, number=signal.SIGTERM, again=False):
    """Send a signal, or two; return the exit code, and the output from then on."""
    process.send_signal(number)
    if again:
        time.sleep(0.01)
        process.send_signal(number)
    return ended(process)


def ended(process):
    """Wait for the end; return the exit code, and the output from then on."""
    _, said = process.communicate(timeout=LIMIT)
    return process.returncode, said.decode()


def end_all():
    """Kill the processes that a failed test has left running."""
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()


def read_until(process, text):
    """Read output up to the line in which the text (a regular expression) is found; return that line."""
    for line in iter(process.stderr.readline, b""):
        if re.search(text, line.decode()):
            return line.decode()
    raise AssertionError(f"it ended without saying {text!r}")


def fed(*pipes, data):
    """Start a thread that writes the data into one pipe after the other, each as soon as it is read."""

    def feed():
        for pipe in pipes:
            pipe.write_bytes(data)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread

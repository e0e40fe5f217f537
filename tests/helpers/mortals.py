"""Teams of workers in processes of their own, which die where a test wants them to."""

import os
import sys
from pathlib import Path

from clicks import generated
from shell import COMMAND, interruptible

from fmcore.io.recordio import codec as recordio

MORTAL = Path(__file__).parent / "dying"
SCALE = 0.02
TRAINING = ("--predictor-type", "binary_classifier", "--epochs", "3", "--threads", "1", "--seed", "5")


def rows_for(folder, rows=16_000):
    """Write click data for training and testing as clicks.rec and test.rec; return the names as arguments."""
    for name, count, seed in (("clicks.rec", rows, 1), ("test.rec", 2000, 2)):
        batch = generated(count, seed, SCALE)
        (folder / name).write_bytes(recordio.encode(batch, batch.feature_dim))
    return "clicks.rec", "--test", "test.rec"


def mortal(death):
    """Return the environment of processes that read from the file `death` when to die; see tests/dying."""
    path = os.pathsep.join(filter(None, (str(MORTAL), os.environ.get("PYTHONPATH"))))
    return interruptible(PYTHONPATH=path, FMKIT_TEST_DEATH=str(death))


def mpirun(ranks, *arguments):
    """Return the words of a command that trains on so many ranks."""
    return [
        str(Path(sys.executable).with_name("mpirun")),
        "-n",
        str(ranks),
        *COMMAND,
        "train",
        *map(str, arguments),
        "--distributed",
        "mpi",
    ]

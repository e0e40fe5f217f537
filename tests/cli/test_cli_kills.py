"""`fm train --checkpoint FILE --resume` killed at random moments, again and again: the model of an unbroken run.

FMKIT_TEST_KILLS says how many there are in all (`make kills`: a hundred). Half come at any moment from the start of a
process to beyond its end, the others soon after it has saved something, so that all of its way is met.
"""

import os
import random
import signal
import time

import pytest
from shell import libsvm_rows

KILLS = int(os.environ.get("FMKIT_TEST_KILLS", "20"))
CLASSIFIER = ("--predictor-type", "binary_classifier", "--num-factors", 16, "--mini-batch-size", 2048)
STREAMED = ("--memory-limit", 1)
JOBS = {
    "adagrad, early stopping, in memory, one thread": (
        *CLASSIFIER,
        "--test",
        "test.svm",
        "--early-stopping-patience",
        2,
        "--linear-lr",
        0.3,
        "--epochs",
        6,
        "--threads",
        1,
    ),
    "adam, test rows, streamed, two threads": (
        *CLASSIFIER,
        "--test",
        "test.svm",
        "--optimizer",
        "adam",
        "--epochs",
        3,
        "--threads",
        2,
        *STREAMED,
    ),
    "adam, early stopping, in memory, two threads": (
        *CLASSIFIER,
        "--test",
        "test.svm",
        "--optimizer",
        "adam",
        "--early-stopping-patience",
        2,
        "--linear-lr",
        0.1,
        "--epochs",
        5,
        "--threads",
        2,
    ),
    "adagrad, from a trained model, streamed, one thread": (
        "--init-model",
        "start.fm",
        "--epochs",
        3,
        "--threads",
        1,
        *STREAMED,
    ),
}


@pytest.fixture(scope="module")
def rows():
    """Return rows of more than a block."""
    return libsvm_rows(10_000, 1, features=300) * 14


def saved(fm):
    """When the checkpoint was last written, or None."""
    try:
        return (fm.folder / "c").stat().st_mtime_ns
    except FileNotFoundError:
        return None


@pytest.mark.parametrize("job", JOBS)
def test_a_training_killed_at_random_moments_gives_the_same_bytes(fm, rows, job):
    fm.write("train.svm", rows)
    fm.write("test.svm", libsvm_rows(2000, 2, features=300))
    if "start.fm" in JOBS[job]:
        fm("train", "test.svm", *CLASSIFIER, "--epochs", 1, "-o", "start.fm")
    begun = time.monotonic()
    fm("train", "train.svm", *JOBS[job], "-o", "whole.fm")
    whole, seconds = fm.read("whole.fm"), time.monotonic() - begun
    unkilled = fm.files()
    command = (
        "train",
        "train.svm",
        *JOBS[job],
        "-o",
        "x.fm",
        "--checkpoint",
        "c",
        "--checkpoint-every",
        1e-4,
        "--metrics-out",
        "x.jsonl",
        "--resume",
    )
    rng, kills, resumed = random.Random(), KILLS // len(JOBS) + (list(JOBS).index(job) < KILLS % len(JOBS)), 0
    while kills:
        before, process = saved(fm), fm.start(*command)
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 1.2 * seconds))
        else:
            while process.poll() is None and saved(fm) in {None, before}:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.3 * seconds))
        process.kill()
        printed = process.communicate()[1].decode()
        assert process.returncode in {0, -signal.SIGKILL}, printed
        kills -= process.returncode != 0
        resumed += "resuming " in printed
        if "x.fm" in fm.files():
            assert fm.read("x.fm") == whole
        if process.returncode == 0:
            for name in ("x.fm", "x.jsonl"):
                (fm.folder / name).unlink()
    fm(*command)
    print(f"{job}: resumed {resumed} times")  # noqa: T201 - shown with pytest -s
    assert fm.read("x.fm") == whole
    assert fm.files() == sorted([*unkilled, "x.fm", "x.jsonl"])

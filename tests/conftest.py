"""Fixtures of the tests that run the command line, and how hypothesis tries its examples."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings
from shell import ROOT, Shell, libsvm_rows

# A busy machine makes an example slow, not wrong; in continuous integration the examples are the same every time.
settings.register_profile("fmkit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("fmkit")


def pytest_configure():
    """Let commands under test receive signals, also where these tests run in the background or under nohup."""
    for number, handler in {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            with suppress(ValueError):  # not in the main thread: then whoever started this process has seen to it
                signal.signal(number, handler)


@pytest.fixture
def fm(tmp_path):
    """Return the command, run in an empty folder."""
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Return rows and models trained on them, which tests read and do not change."""
    fm = Shell(tmp_path_factory.mktemp("world"))
    paths = {
        "train": fm.write("train.svm", libsvm_rows(400, 1)),
        "test": fm.write("test.svm", libsvm_rows(150, 2)),
        "ratings": fm.write("ratings.svm", libsvm_rows(300, 3, classes=False)),
        "more_ratings": fm.write("more.svm", libsvm_rows(100, 4, classes=False)),
        "classifier": fm.folder / "classifier.fm",
        "regressor": fm.folder / "regressor.fm",
        "lines": fm.folder / "classifier.jsonl",
    }
    printed = fm(
        "train",
        paths["train"],
        "--test",
        paths["test"],
        "--predictor-type",
        "binary_classifier",
        "--epochs",
        3,
        "-o",
        paths["classifier"],
        "--metrics-out",
        paths["lines"],
    ).err
    fm(
        "train",
        paths["ratings"],
        "--test",
        paths["more_ratings"],
        "--predictor-type",
        "regressor",
        "--epochs",
        3,
        "-o",
        paths["regressor"],
    )
    return SimpleNamespace(printed=printed, **paths)


@pytest.fixture
def real_data():
    """Return the folder of real data sets; skip the test without it."""
    return Path(os.environ.get("FMKIT_DATA", ROOT.parent / "shared" / "data"))

"""Interrupted commands: the exit code, the reason on the last line, nothing published, nothing left behind."""

import os
import signal
import subprocess
import threading
import time

import pytest
from shell import LIMIT, TABLE_OPTIONS, TRAIN_TABLE, last_line, wait_for

from fmcli import exits

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
FOREVER = ("--predictor-type", "regressor", "--epochs", 10**9)


def start(fm, *arguments, **streams):
    """Start a command that Ctrl-C reaches, even where these tests run in the background."""
    return fm.start(*arguments, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **streams)


def stopped(fm, process, number, text=b""):
    """Send the signal; the exit code and what was printed."""
    process.send_signal(number)
    try:
        found = process.wait(LIMIT), (text + process.stderr.read()).decode()
    finally:
        process.kill()  # one that did not end must not train for ever once its input closes
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    assert not fm.left_over()
    return found


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize("limit", [(), ("--memory-limit", 1)])
def test_a_signal_while_training_publishes_nothing(fm, number, code, word, limit):
    fm.write("x.svm", "1 0:1\n2 1:1\n" * 50)
    fm.write("old.fm", "old")
    process = start(fm, "train", "x.svm", *FOREVER, "-o", "old.fm", "--metrics-out", "new.jsonl", *limit)
    shown = b"".join(process.stderr.readline() for _ in range(3))  # what is trained, the table's head, the first epoch
    assert fm.left_over()
    found, printed = stopped(fm, process, number, shown)
    assert (found, last_line(printed)) == (code, f"fm: {word}; no file was written or replaced")
    assert (fm.files(), fm.read("old.fm")) == (["old.fm", "x.svm"], b"old")


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "-", *FOREVER, "-o", "x.out", *TABLE_OPTIONS, "--vocabulary", "v.tsv"),
        ("convert", "-", "-o", "x.out", "--shards", 3, *TABLE_OPTIONS, "--vocabulary", "v.tsv"),
    ],
)
def test_a_signal_while_waiting_for_rows_ends_the_command(fm, number, code, word, arguments):
    process = start(fm, *arguments)
    process.stdin.write(TRAIN_TABLE.encode())
    process.stdin.flush()
    wait_for(fm.writes)
    found, printed = stopped(fm, process, number)
    assert (found, last_line(printed)) == (code, f"fm: {word}; no file was written or replaced")
    assert fm.files() == []


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_a_signal_while_predicting_publishes_nothing(fm, world, number, code, word):
    fm.write("old.txt", "old")
    process = start(fm, "predict", world.classifier, "-o", "old.txt", "--threads", 2)
    process.stdin.write(b"1 0:1\n" * 300_000)  # beyond what a pipe holds, so it is being read
    process.stdin.flush()
    wait_for(fm.writes)
    found, printed = stopped(fm, process, number)
    assert (found, last_line(printed)) == (code, f"fm: {word}; no file was written or replaced")
    assert (fm.files(), fm.read("old.txt")) == (["old.txt"], b"old")


@pytest.mark.parametrize(("number", "code", "_word"), SIGNALS)
def test_a_signal_while_waiting_for_a_pipes_writer_ends_the_command(fm, world, number, code, _word):
    os.mkfifo(fm.folder / "pipe")
    process = start(fm, "predict", world.classifier, "pipe", "-o", "x.txt", stdin=subprocess.DEVNULL)
    wait_for(fm.writes)
    assert stopped(fm, process, number)[0] == code
    assert fm.files() == ["pipe"]


@pytest.fixture
def handlers():
    """Restore the handlers of signals."""
    numbers = (*exits.HANDLERS, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    exits.handled()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_does_not_interrupt_the_cleanup():
    with pytest.raises(exits.Terminated):
        exits.terminate(signal.SIGTERM, None)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == [signal.SIG_IGN] * 2


@pytest.mark.usefixtures("handlers")
def test_a_swallowed_signal_exception_is_raised_again(monkeypatch):
    monkeypatch.setattr(exits, "AGAIN", 1)
    with pytest.raises(KeyboardInterrupt):
        exits.interrupt(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):  # as if the first had been dropped
        time.sleep(LIMIT)
    exits.handled()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_closed_standard_error_does_not_stop_the_work(fm):
    fm.write("x.svm", "1 0:1\n2 1:1\n")
    process = fm.start(
        "train", "x.svm", "--predictor-type", "regressor", "--epochs", 200, "-o", "x.fm", stdin=subprocess.DEVNULL
    )
    process.stderr.close()
    assert process.wait(LIMIT) == 0
    process.stdout.close()
    assert fm.files() == ["x.fm", "x.svm"]


def test_a_named_pipe_whose_reader_leaves_ends_the_command_quietly(fm, world):
    os.mkfifo(fm.folder / "out")
    fm.write("big.svm", "0 0:1\n" * 100_000)
    reader = threading.Thread(target=lambda: (fm.folder / "out").open("rb").close())
    reader.start()
    assert fm("predict", world.classifier, "big.svm", "-o", "out").err == ""
    reader.join()

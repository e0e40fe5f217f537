"""Standard streams that are closed, full or never end, and signals that end a command."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from faults import CLASSIFIER, Old, ended, training
from shell import wait_for

COMMANDS = {
    "predict": ("predict", "{model}", "{rows}"),
    "eval": ("eval", "{model}", "{rows}"),
    "inspect": ("inspect", "{model}"),
    "export": ("export", "{model}"),
    "convert": ("convert", "{rows}", "-o", "-", "--to", "libsvm", "-q"),
    "train": ("train", "{rows}", *CLASSIFIER, "-o", "-", "-q"),
    "eval as JSON": ("eval", "{model}", "{rows}", "--json"),
    "inspect as JSON": ("inspect", "{model}", "--json"),
}


def words(world, name):
    """Return the command line."""
    return [str(word).format(model=world.classifier, rows=world.test) for word in COMMANDS[name]]


@pytest.mark.parametrize("name", COMMANDS)
def test_closed_standard_output_is_refused(fm, world, name):
    process = fm.start(*words(world, name), stdin=subprocess.DEVNULL, preexec_fn=lambda: os.close(1))
    assert ended(process, 2) == "fm: standard output cannot be written: it is closed"
    assert fm.files() == []


@pytest.mark.parametrize("name", COMMANDS)
def test_standard_output_open_for_reading_only_is_refused(fm, world, name):
    with Path(os.devnull).open("rb") as handle:
        process = fm.start(*words(world, name), stdin=subprocess.DEVNULL, stdout=handle)
        assert ended(process, 2) == f"fm: standard output cannot be written: {os.strerror(9)}"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_who_has_enough(fm, world, name):
    process = fm.start(*words(world, name), stdin=subprocess.DEVNULL)
    process.stdout.close()
    assert ended(process, 0) == ""


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_an_output_file_is_whole_whichever_standard_stream_is_closed(fm, world, closed):
    fm("train", world.train, *CLASSIFIER, "-o", "a.fm", "--metrics-out", "a.jsonl")
    process = fm.start(
        "train",
        world.train,
        *CLASSIFIER,
        "-o",
        "b.fm",
        "--metrics-out",
        "b.jsonl",
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    ended(process, 0)
    assert fm.read("a.fm") == fm.read("b.fm")
    assert fm.read("b.jsonl").count(b"\n") == fm.read("a.jsonl").count(b"\n")


def test_closed_standard_input_is_refused(fm, world):
    process = fm.start("predict", world.classifier, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.close(0))
    assert ended(process, 2) == "fm: standard input (-) is closed"


def test_empty_standard_input_gives_no_predictions(fm, world):
    done = fm("predict", world.classifier)
    assert (done.out, done.err) == ("", "")


@pytest.mark.parametrize(
    "command",
    [
        ("train", "{rows}", *CLASSIFIER, "-o", "x", "-q"),
        ("convert", "{rows}", "-o", "x", "-q"),
        ("eval", "{model}", "{rows}"),
        ("predict", "{model}", "{rows}"),
        ("inspect", "{model}"),
        ("export", "{model}", "-o", "x"),
    ],
    ids=lambda command: command[0],
)
def test_standard_input_that_never_ends_is_left_alone(fm, world, command):
    os.mkfifo(fm.folder / "open")
    held = os.open(fm.folder / "open", os.O_RDWR)  # it never ends, and holds nothing
    try:
        process = fm.start(*(str(word).format(model=world.classifier, rows=world.test) for word in command), stdin=held)
        ended(process, 0)
    finally:
        os.close(held)


SIGNALS = [(signal.SIGHUP, 129, "hung up"), (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_signals_that_end_a_command(fm, world, number, code, word):
    old = Old(fm.folder / "old.fm")
    process, said = training(fm, world.train, "-o", "old.fm", "--metrics-out", "m.jsonl")
    process.send_signal(number)
    assert ended(process, code, said=said) == f"fm: {word}; no file was written or replaced"
    assert old.unharmed()
    assert fm.files() == ["old.fm"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_signals_ignored_by_the_parent_stay_ignored(fm, world, number):
    process = fm.start(
        "train",
        world.train,
        *CLASSIFIER,
        "--epochs",
        300,
        "-o",
        "x.fm",
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )
    said = b"".join(process.stderr.readline() for _ in range(3))
    process.send_signal(number)
    ended(process, 0, said=said)
    assert fm.files() == ["x.fm"]


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGXFSZ])
def test_other_signals_do_not_end_a_command(fm, world, number):
    process = fm.start("train", world.train, *CLASSIFIER, "--epochs", 300, "-o", "x.fm", stdin=subprocess.DEVNULL)
    said = b"".join(process.stderr.readline() for _ in range(3))
    process.send_signal(number)
    ended(process, 0, said=said)
    assert fm.files() == ["x.fm"]


def test_a_kill_leaves_the_old_file_and_a_hidden_temporary_one(fm, world):
    old = Old(fm.folder / "data")
    process, _ = training(fm, world.train, "-o", "data")
    wait_for(fm.writes)
    process.kill()
    ended(process, -signal.SIGKILL)
    assert old.unharmed()
    assert [name for name in fm.files() if not name.startswith(".")] == ["data"]

"""`fm train --checkpoint`: what signals leave, what --resume continues from, what is printed and what is refused."""

import json
import os
import re
import signal
import threading
from dataclasses import replace

import pytest
from rows import random_rows
from shell import LIMIT, last_line, libsvm_rows, wait_for

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.io.recordio import codec as recordio
from fmcore.model import file as modelfile
from fmcore.training import checkpoint

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
REGRESSOR = ("--predictor-type", "regressor")
PAUSED = re.compile(
    r"fm: interrupted in epoch (\d+) after ([\d,]+) rows; saved to c; run the same command with "
    r"--resume"
)
SAME = ("--lr-schedule", "constant", "--pilot", "none")  # whatever the number of epochs is
LONG = ("train", "x.svm", *REGRESSOR, "--epochs", 10**6, *SAME, "-o", "x.fm", "--checkpoint", "c")


def stopped(process, number):
    """Send the signal; the exit code and the last line that was printed."""
    process.send_signal(number)
    printed = process.communicate(timeout=LIMIT)[1].decode()
    return process.returncode, last_line(printed)


@pytest.fixture
def start(fm):
    """Provide a function that starts a command that Ctrl-C reaches, even where these tests run in the background."""
    started = []

    def begin(*arguments, ignoring=signal.SIG_DFL):
        started.append(fm.start(*arguments, preexec_fn=lambda: signal.signal(signal.SIGINT, ignoring)))
        return started[-1]

    yield begin
    for process in started:
        process.kill()  # one that did not end must not train for ever
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("more", [(), ("--memory-limit", 1), ("--test", "x.svm"), ("--quiet",)])
def test_a_signal_saves_a_checkpoint_and_the_same_command_resumes(fm, start, number, code, more):
    fm.write("x.svm", libsvm_rows(3000, 1, classes=False))
    process = start(*LONG, *more)
    wait_for(lambda: "c" in fm.files())  # at the end of the first epoch
    found, printed = stopped(process, number)
    assert (found, bool(PAUSED.fullmatch(printed))) == (code, True), printed
    state, _ = checkpoint.load(fm.folder / "c")
    epoch, rows = (int(word.replace(",", "")) for word in PAUSED.fullmatch(printed).groups())
    assert (state.epoch, state.progress.rows) == (epoch, rows)
    assert fm.files() == ["c", "x.svm"]
    done = fm(*LONG, *more, "--epochs", epoch + 1, "--resume").err
    if "--quiet" not in more:
        assert f"resuming in epoch {epoch} after {rows:,} rows" in done or f"resuming after epoch {epoch - 1}" in done
    assert fm.files() == ["x.fm", "x.svm"]
    fm("train", "x.svm", *REGRESSOR, "--epochs", epoch + 1, *SAME, "-o", "whole.fm", *more)
    assert fm.read("x.fm") == fm.read("whole.fm")


@pytest.mark.parametrize("more", [(), ("--distributed", "local", "--workers", 2)])
def test_what_a_pilot_chose_is_kept_where_training_is_resumed_for_other_epochs(fm, start, more):
    fm.write("x.svm", libsvm_rows(3000, 1, classes=False))
    long = (*LONG, "--pilot", "auto", *more)
    process = start(*long)
    wait_for(lambda: "c" in fm.files())
    stopped(process, signal.SIGTERM)
    state, _ = checkpoint.load(fm.folder / "c")
    printed = fm(*long, "--epochs", state.epoch + 1, "--resume").err
    assert "pilot on" not in printed
    assert "resuming" in printed
    model = modelfile.load(fm.folder / "x.fm")
    assert model.hyperparameters == replace(state.model.hyperparameters, epochs=state.epoch + 1)
    assert model.info["pilot"] == state.model.info["pilot"]
    assert model.info["pilot"]["rows"] == 3000


@pytest.mark.parametrize(("number", "code", "word"), [(*SIGNALS[0], "interrupted"), (*SIGNALS[1], "terminated")])
def test_a_signal_before_training_leaves_no_checkpoint(fm, start, number, code, word):
    process = start("train", "-", *REGRESSOR, "-o", "x.fm", "--checkpoint", "c")
    process.stdin.write(b"1 0:1\n")
    process.stdin.flush()
    wait_for(fm.writes)
    process.send_signal(number)
    assert process.wait(LIMIT) == code
    assert last_line(process.stderr.read().decode()) == f"fm: {word}; no file was written or replaced"
    assert fm.files() == []


def test_an_ignored_ctrl_c_stays_ignored(fm, start):
    """Ignore Ctrl-C as in the background of a script."""
    fm.write("x.svm", libsvm_rows(300, 1, classes=False))
    process = start(*LONG, ignoring=signal.SIG_IGN)
    wait_for(lambda: "c" in fm.files())
    process.send_signal(signal.SIGINT)
    saved = fm.read("c")
    wait_for(lambda: fm.read("c") != saved)
    assert stopped(process, signal.SIGTERM)[0] == 143


def test_a_checkpoint_is_removed_on_success_and_kept_on_failure(fm, world):
    job = ("train", world.train, "--predictor-type", "binary_classifier", "--epochs", 2, "-o", "x.fm")
    assert (
        "training starts from the beginning: there is no checkpoint c to resume from"
        in fm(*job, "--checkpoint", "c", "--resume").err
    )
    assert fm.files() == ["x.fm"]
    (fm.folder / "c").symlink_to("real")
    fm(*job, "--checkpoint", "c")
    assert (fm.folder / "c").is_symlink()
    assert "real" not in fm.files()


def test_an_old_checkpoint_is_refused_without_resume_and_with_other_options(fm, world):
    job = ("train", world.ratings, *REGRESSOR, "--epochs", 3, "-o", "x.fm", "--checkpoint", "c")
    h = api.train(
        api.Data([str(world.ratings)]),
        resolve(predictor_type="regressor", epochs=3),
        fm.folder / "y.fm",
        checkpoint=fm.folder / "c",
    ).hyperparameters
    before = fm.read("c")
    printed = fm(*job, code=2).err
    assert printed == "fm: c exists; resume from it with --resume, or remove it to start from the beginning\n"
    printed = fm(*job, "--resume", "--seed", 5, code=2).err
    assert last_line(printed) == (
        "fm: c is a checkpoint of another training: seed was 0 and is 5; remove it to start from the beginning, or name "
        "another file"
    )
    assert (fm.read("c"), h.seed, fm.files()) == (before, 0, ["c", "y.fm"])
    fm.write("c", before[:-5])
    assert fm(*job, "--resume", code=4).err.startswith("fm: c: cut off: ")
    fm.write("c", before[:-1] + bytes([before[-1] ^ 1]))
    assert fm(*job, "--resume", code=4).err == "fm: c: damaged: the tensors do not match their checksum\n"
    fm.write("c", before)
    fm(*job, "--resume")
    assert fm.read("x.fm") == fm.read("y.fm")


def test_metrics_after_a_resume_hold_all_epochs(fm, start):
    fm.write("x.svm", libsvm_rows(300, 1, classes=False))
    process = start(*LONG, "--metrics-out", "x.jsonl")
    wait_for(lambda: "c" in fm.files())
    stopped(process, signal.SIGTERM)
    assert "x.jsonl" not in fm.files()
    epochs = len(checkpoint.load(fm.folder / "c")[0].epochs) + 2
    fm(*LONG, "--metrics-out", "x.jsonl", "--resume", "--epochs", epochs)
    records = [json.loads(line) for line in fm.read("x.jsonl").splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, epochs + 1))
    assert modelfile.load(fm.folder / "x.fm").info["epochs"] == [
        {name: record[name] for name in ("epoch", "train")} for record in records
    ]


@pytest.mark.parametrize("log_format", ["jsonl", "sagemaker"])
def test_json_and_sagemaker_logs_resume_within_an_epoch(fm, start, log_format):
    fm.write("x.svm", libsvm_rows(20_000, 1, classes=False) * 2)
    job = (*LONG, "--num-factors", 64, "--checkpoint-every", 1e-5, "--log-format", log_format)
    for _ in range(30):
        (fm.folder / "c").unlink(missing_ok=True)  # a new one tells that signals are heard by now
        process = start(*job)
        wait_for(lambda: "c" in fm.files())
        printed = stopped(process, signal.SIGTERM)[1]
        epoch, rows = PAUSED.fullmatch(printed).groups()
        if rows not in {"0", "40,000"}:
            break
    printed = fm(*job, "--resume", "--epochs", int(epoch) + 1).err
    assert f"resuming in epoch {epoch} after {rows} rows" in printed
    if log_format == "sagemaker":
        epochs = re.findall(r"epoch=(\d+), train rmse <loss>=", printed)
        assert epochs == [str(int(epoch) - 1), epoch]
        assert not re.search(rf"epoch={int(epoch) - 1}, batch=", printed)
        assert re.search(rf"epoch={epoch}, batch=0 train rmse", printed)


def test_a_pipe_cannot_be_resumed_within_an_epoch(fm, start):
    content = recordio.encode(random_rows(300, 30, classes=False), 30)
    for epoch in range(3):
        os.mkfifo(fm.folder / f"p_{epoch}")
    done = threading.Event()

    def feed():
        for epoch in range(2):
            (fm.folder / f"p_{epoch}").write_bytes(content)
        with (fm.folder / "p_2").open("wb") as pipe:
            pipe.write(content[:2000])
            pipe.flush()
            done.wait(LIMIT)

    threading.Thread(target=feed, daemon=True).start()
    process = start(
        "train", "--input-mode", "pipe", "--train", "p", *REGRESSOR, "--epochs", 3, "-o", "x.fm", "--checkpoint", "c"
    )
    for line in iter(process.stderr.readline, b""):
        if line.startswith(b"        2"):
            break
    code, printed = stopped(process, signal.SIGTERM)
    done.set()
    assert printed == (
        "fm: interrupted in epoch 3 after 0 rows; c holds the epochs before it; resume with --resume; "
        "within one, a pipe's rows are lost"
    )
    assert code == 143
    assert len(checkpoint.load(fm.folder / "c")[0].epochs) == 2


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (("--resume",), "--resume needs a checkpoint; name its file with --checkpoint"),
        (("--checkpoint-every", 1), "--checkpoint-every needs a checkpoint; name its file with --checkpoint"),
        (("--checkpoint", "c", "--checkpoint-every", -1), "-1.0 is not in the range x>=0"),
        (("--checkpoint", "x.fm"), "x.fm is named for two outputs"),
        (("--checkpoint", "no/c"), "no/c cannot be written: there is no folder"),
        (("--checkpoint", "-"), "standard output cannot be written again and again"),
    ],
)
def test_bad_checkpoint_options_are_refused_before_any_work(fm, options, printed):
    assert printed in fm("train", "-", *REGRESSOR, "-o", "x.fm", *options, stdin="1 0:1\n", code=2).err
    assert fm.files() == []


def test_a_model_is_refused_as_a_checkpoint(fm, world):
    printed = fm(
        "train", world.ratings, *REGRESSOR, "-o", "x.fm", "--checkpoint", world.regressor, "--resume", code=4
    ).err
    assert "a model, not a checkpoint of training; name another file" in printed
    assert api.load(world.regressor, verify=True)

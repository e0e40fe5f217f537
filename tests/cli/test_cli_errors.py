"""Failures of commands: every exit code, one sentence that states what to do, never a traceback unless it is asked for."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from shell import COMMAND, LIMIT, environment, last_line

from fmcli.exits import HungUp, Terminated
from fmcli.main import DownstreamClosed, failed
from fmcore.errors import DataError, DivergedError, FMError, ModelError, ResourceError, UsageError
from fmcore.system import publish

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
UNEXPECTED = "from fmcore import api\ndef load(*_, **__): raise KeyError('of a bug')\napi.load = load\n"


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FMError("a"), 1, "a"),
        (UsageError("a"), 2, "a"),
        (DataError("a", source="x", number=7), 3, "x, line 7: a"),
        (ModelError("a"), 4, "a"),
        (DivergedError("a"), 5, "a"),
        (ResourceError("a"), 6, "a"),
        (MemoryError(), 6, "out of memory; try --memory-limit, fewer factors, or hashing into fewer features"),
        (
            OSError(errno.ENOSPC, "x"),
            6,
            "the output cannot be written: the disk is full; free some space on it, or write to another disk",
        ),
        (
            OSError(errno.ENOMEM, "x"),
            6,
            "out of memory; try --memory-limit, fewer factors, or hashing into fewer features",
        ),
        (
            ImportError("x.so: failed to map segment from shared object"),
            6,
            "out of memory; try --memory-limit, fewer factors, or hashing into fewer features",
        ),
        (
            RuntimeError("can't start new thread"),
            6,
            "no further thread could be started; use fewer with --threads, or raise what limits them (ulimit -u, -v)",
        ),
        (
            OSError(errno.EIO, "Input/output error"),
            1,
            "unexpected OSError: [Errno 5] Input/output error (FMKIT_DEBUG=1 shows where)",
        ),
        (ZeroDivisionError("a"), 1, "unexpected ZeroDivisionError: a (FMKIT_DEBUG=1 shows where)"),
        (KeyboardInterrupt(), 130, "interrupted; no file was written or replaced"),
        (click.Abort(), 130, "interrupted; no file was written or replaced"),
        (Terminated(), 143, "terminated; no file was written or replaced"),
        (HungUp(), 129, "hung up; no file was written or replaced"),
    ],
)
def test_each_failure_has_its_sentence_and_exit_code(capsys, monkeypatch, error, code, sentence):
    monkeypatch.setattr(publish, "_RENAMED", {})
    assert failed(error) == code
    assert capsys.readouterr() == ("", f"fm: {sentence}\n")


def test_an_interrupt_after_files_were_written_names_them(capsys, monkeypatch):
    monkeypatch.setattr(publish, "_RENAMED", {"a.fm": None, "b.tsv": None})
    assert failed(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "fm: interrupted; written before that: a.fm, b.tsv\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), DownstreamClosed()])
def test_a_closed_output_pipe_is_not_a_failure(capsys, error):
    assert failed(error) == 0
    assert capsys.readouterr() == ("", "")


def test_an_unexpected_exception_prints_a_traceback_only_on_request(fm):
    source = UNEXPECTED + "from fmcli.main import run\nrun(['inspect', 'x.fm'])"
    printed = fm.python(source, code=1).err
    assert printed == "fm: unexpected KeyError: 'of a bug' (FMKIT_DEBUG=1 shows where)\n"
    done = subprocess.run(
        [*COMMAND[:1], "-c", source], env=environment(FMKIT_DEBUG="1"), capture_output=True, check=False, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith(printed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "Error: No such command 'trian'."),
        (("train", "-o", "y"), "Error: Missing option '--predictor-type'."),
        (("predict",), "Error: Missing argument 'MODEL'."),
        (("convert", "x.svm"), "Error: Missing option '-o' / '--output'."),
        (("convert", "x.svm", "-o", "y", "--to", "csv"), "Error: Invalid value for '--to': 'csv' is not one of "),
        (("predict", "x.fm", "--unseen", "guess"), "Error: Invalid value for '--unseen': 'guess' is not one of "),
        (("inspect", "x.fm", "--top", "-1"), "Error: Invalid value for '--top': -1 is not in the range x>=0."),
        (("eval", "x.fm", "y", "--hash-bits", "31"), "Error: Invalid value for '--hash-bits': 31 is not in the range"),
        (("convert", "x.svm", "-o", "y", "--predictor-type", "both"), "Error: Invalid value for '--predictor-type': "),
        (("convert", "-", "-", "-o", "y"), "fm: standard input (-) is named twice, but can be read once"),
        (("convert", "", "-o", "y"), "fm: the name of an input is empty; is a variable of the shell not set?"),
        (("convert", "-", "-o", ""), "fm: the name of an output is empty; is a variable of the shell not set?"),
        (
            ("train", "-", "--predictor-type", "regressor", "-o", "y", "--metrics-out", "./y"),
            "fm: ./y is named for two outputs, the model and the metrics; name another file for one of them",
        ),
        (("convert", "s3://bucket/x", "-o", "y"), "fm: s3://bucket/x is on S3, which cannot be read directly; copy it"),
    ],
)
def test_wrong_usage_of_commands_is_refused_with_2(fm, arguments, message):
    assert last_line(fm(*arguments, code=2).err).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.svm", None, "gone.svm: no such file"),
        ("*.nothing", None, "*.nothing: no file matches this pattern"),
        ("x.bin", b"\x00\x01\x02\x03", "x.bin: the content is of no known format (libsvm, libffm, csv, "),
        ("x.svm", "1 0:1\n1 0\n", "x.svm, line 2, field 2: found '0', an index without a value; expected index:value"),
        (
            "x.svm",
            "1 0:nan\n",
            "x.svm, line 1, field 2: found '0:nan'; the value after the colon is not one finite number",
        ),
        ("x.svm.gz", "1 0:1\n", "x.svm.gz: its name ends with .gz, but it holds no gzip data"),
        ("x.svm.gz", b"\x1f\x8b\x08\x00", "x.svm.gz: the gzip data ends too early: the file is cut off"),
        ("x.csv", "y,a\n1,2\n1,2,3\n", "x.csv, row 2: 3 fields, expected 2 as in the first line"),
        ("x.rec", bytes.fromhex("0a23d7ce10000000"), "x.rec, record 1, byte 0: truncated: the header states 16 bytes"),
        (
            "x.json",
            '{"instances": [{"feature": [1]}]}',
            "x.json, row 1, field feature: unknown key; expected features, ",
        ),
        ("x.parquet", b"PAR1", "x.parquet: not a Parquet file that can be read: "),
        ("x.manifest", "[]", 'x.manifest: expected a JSON list: first {"prefix": "..."}, then file names'),
    ],
)
def test_bad_data_is_named_with_its_place(fm, name, content, message):
    if content is not None:
        fm.write(name, content)
    before = fm.files()
    assert last_line(fm("convert", name, "-o", "out.svm", code=3).err).startswith(f"fm: {message}")
    assert fm.files() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"", "the file is empty; expected a model"),
        (b"1 0:1\n" * 9, "not a safetensors file; expected a model written by fmkit"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "predict"])
def test_files_that_are_no_model_are_refused_with_4(fm, command, content, message):
    if content is not None:
        fm.write("x.fm", content)
    assert fm(command, "x.fm", code=4).err == f"fm: x.fm: {message}\n"


def test_divergence_ends_with_5(fm):
    printed = fm(
        "train",
        "-",
        "--predictor-type",
        "regressor",
        "--optimizer",
        "sgd",
        "--linear-lr",
        "1e30",
        "-o",
        "x.fm",
        "--metrics-out",
        "x.jsonl",
        stdin="1 0:1\n2 0:1\n" * 50,
        code=5,
    ).err
    assert last_line(printed).startswith("fm: the loss is not finite in epoch 1, mini-batch ")
    assert fm.files() == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to a limit")
def test_a_model_beyond_the_available_memory_is_refused_with_6(fm):
    four_gigabytes = (4 << 30, 4 << 30)
    process = fm.start(
        "train",
        "-",
        "--predictor-type",
        "regressor",
        "--feature-dim",
        10**7,
        "--num-factors",
        256,
        "-o",
        "x.fm",
        "--memory-limit",
        "1T",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, four_gigabytes),
    )
    _, printed = process.communicate(b"1 0:1\n")
    assert process.returncode == 6
    assert last_line(printed.decode()) == (
        "fm: a model of feature_dim 10000000 and num_factors 256 needs 10,280,000,000 bytes of memory, more than there "
        "is; take fewer factors, or fewer features: --compact where ids are sparse, else --hash-bits"
    )
    assert fm.files() == []


@FULL
@pytest.mark.parametrize("arguments", [("predict", "x.svm"), ("eval", "x.svm"), ("inspect",), ("train", "x.svm")])
def test_a_full_disk_behind_standard_output_ends_with_6(fm, world, arguments):
    fm.write("x.svm", "1 0:1\n0 1:1\n" * 1000)
    command, *rest = arguments
    options = ["--predictor-type", "regressor", "-o", "-"] if command == "train" else []
    with Path("/dev/full").open("wb") as full:
        process = fm.start(
            command,
            *([world.classifier] if command != "train" else []),
            *rest,
            *options,
            stdout=full,
            stdin=subprocess.DEVNULL,
        )
        printed = process.stderr.read().decode()
        process.stderr.close()
    assert process.wait(LIMIT) == 6
    assert last_line(printed).startswith("fm: standard output cannot be written: the disk is full; free some space")


@pytest.mark.parametrize(("descriptor", "code"), [(1, 2), (2, 0)])
def test_only_a_closed_standard_output_stops_predict(fm, world, descriptor, code):
    process = fm.start("predict", world.classifier, "-", preexec_fn=lambda: os.close(descriptor))
    out, err = process.communicate(b"1 1:1\n")
    assert process.returncode == code
    assert err == (b"fm: standard output cannot be written: it is closed\n" if code else b"")
    assert len(out.splitlines()) == (0 if code else 1)

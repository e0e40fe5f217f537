"""SageMaker's contract, section 3: channels and input modes, with real named pipes fed by other processes."""

import gzip
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
import record_bytes as made
from shell import LIMIT, Shell, last_line, libsvm_rows, wait_for

from fmcore.model import file as modelfile

CLASSIFIER = ("--predictor-type", "binary_classifier", "--pilot", "none")  # which pipes have not
PIPES = ("--input-mode", "pipe", "--train", "train")
SLOWLY = """
import sys, time
data, half = open("x.rec", "rb").read(), 3001
with open("train_0", "wb", 0) as pipe:
    pipe.write(data)
with open("train_1", "wb", 0) as pipe:
    pipe.write(data[:1]); time.sleep(0.2)
    pipe.write(data[1:half]); time.sleep(2.4)
    for at in range(half, len(data), 999):
        pipe.write(data[at:at + 999]); time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def made_once(world, tmp_path_factory):
    """Return name -> bytes of a job's files: x.rec to train on, whose records have shapes, and y.rec to test on."""
    fm = Shell(tmp_path_factory.mktemp("channels"))
    fm("convert", world.train, "-o", "x.rec")
    fm("convert", world.test, "-o", "y.rec")
    return {name: fm.read(name) for name in fm.files()}


@pytest.fixture
def rows(fm, made_once):
    """Return the command in the folder of a job."""
    for name, content in made_once.items():
        fm.write(name, content)
    return fm


@contextmanager
def fed(fm, script):
    """Start another process that feeds the pipes by a shell script, killed where it has not ended by itself."""
    feeder = subprocess.Popen(["sh", "-c", script], cwd=fm.folder, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield feeder
    finally:
        with suppress(ProcessLookupError):
            os.killpg(feeder.pid, signal.SIGKILL)
        feeder.wait()


def trained(fm, *options, epochs=3, name="piped.fm", **run):
    """Return the output of `fm train` in pipe mode."""
    return fm(
        "train", *PIPES, *CLASSIFIER, "--epochs", epochs, "-o", name, "--pipe-timeout", LIMIT, *options, **run
    ).err


def in_file_mode(fm, *data, epochs=3):
    """Return the bytes of the model that file mode gives."""
    fm("train", *data, *CLASSIFIER, "--epochs", epochs, "-o", "whole.fm", "-q")
    return fm.read("whole.fm")


# ----------------------------------------------------------------------------------------------------- file mode
def test_a_channel_is_a_folder_of_any_number_of_files(rows):
    lines = libsvm_rows(60, 5).splitlines(keepends=True)
    for number in range(20):
        rows.write(f"channel/part-{number:02}", "".join(lines[3 * number : 3 * number + 3]))
    rows.write("channel/_SUCCESS", "")
    rows.write("all.svm", "".join(lines))
    expected = in_file_mode(rows, "all.svm")
    assert in_file_mode(rows, "--input-mode", "File", "--train", "channel") == expected
    assert in_file_mode(rows, *(word for n in range(20) for word in ("--train", f"channel/part-{n:02}"))) == expected


def test_a_manifest_of_the_sdk_is_a_channel(rows):
    """As the SDK writes it for its matrix_N.pbr, beside them; here the prefix is a folder on this machine."""
    rows.write("set/matrix_0.pbr", rows.read("x.rec"))
    rows.write("set/matrix_1.pbr", rows.read("y.rec"))
    rows.write("set/.amazon.manifest", json.dumps([{"prefix": f"{rows.folder}/set/"}, "matrix_0.pbr", "matrix_1.pbr"]))
    expected = in_file_mode(rows, "x.rec", "y.rec")
    assert in_file_mode(rows, "--train", "set/.amazon.manifest") == expected
    assert in_file_mode(rows, "--train", "set") == expected


# ----------------------------------------------------------------------------------------------------- pipe mode
SAME_EACH_TIME = {
    "pipes that exist already": "mkfifo train_0 train_1 train_2; for n in 0 1 2; do cat x.rec > train_$n; done",
    "pipes that come later": "for n in 0 1 2; do sleep 0.2; mkfifo train_$n; sleep 0.2; cat x.rec > train_$n; done",
    "gzip": "mkfifo train_0 train_1 train_2; gzip -c x.rec > train_0; cat x.rec > train_1; "
    "(head -c 999 x.rec | gzip -c; tail -c +1000 x.rec | gzip -c) > train_2",
    "files in their place": "cp x.rec train_0; cp x.rec train_1; gzip -c x.rec > train_2",
}


@pytest.mark.parametrize("script", SAME_EACH_TIME.values(), ids=SAME_EACH_TIME)
def test_pipes_with_the_same_bytes_each_epoch_give_the_model_of_file_mode(rows, script):
    with fed(rows, script) as feeder:
        said = trained(rows)
        assert feeder.wait(LIMIT) == 0
    assert said.startswith("first block: 400 rows, 1,601 non-zeros, feature_dim 20, a pipe each epoch; mini-batches of")
    assert rows.read("piped.fm") == in_file_mode(rows, "x.rec")


def test_a_slow_pipe_writer_may_take_longer_than_the_timeout(rows):
    rows.write("slowly.py", SLOWLY)
    with fed(rows, f"mkfifo train_0 train_1; exec {sys.executable} slowly.py"):
        wait_for((rows.folder / "train_1").exists)
        trained(rows, "--pipe-timeout", 2, epochs=2)
    assert rows.read("piped.fm") == in_file_mode(rows, "x.rec", epochs=2)


def test_each_epoch_reads_its_own_pipe(rows):
    script = "mkfifo train_0 train_1 train_2; cat x.rec > train_0; cat y.rec > train_1; cat x.rec > train_2"
    with fed(rows, script) as feeder:
        trained(rows, epochs=2)
        assert feeder.poll() is None  # it waits for somebody to open the third
        assert rows.read("train_2") == rows.read("x.rec")
    assert modelfile.load(rows.folder / "piped.fm").info["rows"] == 150  # of the last epoch


def test_libsvm_rows_are_read_through_a_pipe(rows, world):
    """Their number of features must be stated."""
    script = f"mkfifo train_0 train_1; cat {world.train} > train_0; cat {world.train} > train_1"
    with fed(rows, script):
        trained(rows, "--feature-dim", 30, epochs=2)
    assert rows.read("piped.fm") == in_file_mode(rows, world.train, "--feature-dim", 30, epochs=2)
    with fed(rows, f"cat {world.train} > train_0"):
        said = trained(rows, code=2, name="x.fm")
    assert said == (
        "fm: train_0: these rows do not show how many features there are, and rows still to come "
        "may hold more; give their number with --feature-dim\n"
    )
    with fed(rows, f"cat {world.train} > train_0"):
        said = trained(rows, "--feature-dim", 19, code=3, name="x.fm")
    assert said.startswith("fm: train_0, line ")
    assert said.endswith(": index 19 is beyond the stated feature_dim 19; indices count from 0\n")
    assert "x.fm" not in rows.files()


def test_piped_records_without_shape_need_a_stated_feature_dim(rows):
    rows.write("bare.rec", made.frame(made.sparse([3], [1.0]) + made.label(1)) * 3)
    with fed(rows, "mkfifo train_0; cat bare.rec > train_0"):
        assert "give their number with --feature-dim" in trained(rows, code=2)


def test_bad_records_of_a_pipe_may_be_skipped(rows):
    bad = made.frame(b"\xff" * 5)
    rows.write("bad.rec", bad + rows.read("x.rec") + bad)
    with fed(rows, "mkfifo train_0 train_1; cat bad.rec > train_0; cat bad.rec > train_1"):
        said = trained(rows, "--on-error", "skip", epochs=2).splitlines()
    assert [line.rsplit(":", 1)[0] for line in said[-5:-1]] == [
        f"skipped: train_{epoch}, record {number}, byte {offset}"
        for epoch in (0, 1)
        for number, offset in ((1, 0), (402, 16 + len(rows.read("x.rec"))))
    ]
    assert said[-1] == "rows skipped: 4"
    assert rows.read("piped.fm") == in_file_mode(rows, "x.rec", epochs=2)


@pytest.mark.parametrize("options", [("--hash-bits", 5), ("--vocabulary", "v.tsv")])
def test_tables_are_read_through_a_pipe(fm, options):
    fm.write("x.csv", "city,age,label\n" + "Rome,3,1\nOslo,1,0\n" * 9)
    columns = ("--label-column", "label", "--categorical", "city", *options)
    for _ in range(2):  # the vocabulary is built by the first
        expected = in_file_mode(fm, "x.csv", *columns, epochs=2)
    with fed(fm, "mkfifo train_0 train_1; cat x.csv > train_0; cat x.csv > train_1"):
        trained(fm, *columns, epochs=2)
    assert fm.read("piped.fm") == expected


# -------------------------------------------------------------------------------------------------- what may fail
FAULTS = {
    "empty": (lambda data: b"", "train_{}: no rows to train on"),
    "cut off": (lambda data: data[:-5], "train_{}, record 400, byte {last}: truncated: the header states "),
    "cut off in a header": (
        lambda data: data[: made.record_ends(data)[1] + 4],
        "train_{}, record 2, byte {first}: truncated: 4 bytes of a frame's",
    ),
    "garbage": (lambda data: b"\x00\x01garbage\x02" * 50, "train_{}: the content is of no known format ("),
    "garbage at the end": (lambda data: data + b"garbage!", "train_{}, record 401, byte {size}: a record begins with"),
    "gzip cut off": (lambda data: gzip.compress(data)[:-9], "train_{}: the gzip data ends too early"),
    "no gzip": (lambda data: b"\x1f\x8b" + data, "train_{}: damaged gzip data: "),
}


@pytest.mark.parametrize(("fault", "epoch"), [*((fault, 0) for fault in FAULTS), ("empty", 1), ("cut off", 1)])
def test_damaged_data_of_a_pipe_is_a_data_error(rows, fault, epoch):
    damaged, message = FAULTS[fault]
    data = rows.read("x.rec")
    _, first, *_, last, size = made.record_ends(data)
    rows.write("bad", damaged(data))
    with fed(rows, "mkfifo train_0 train_1; " + "cat x.rec > train_0; " * epoch + f"cat bad > train_{epoch}"):
        said = trained(rows, code=3, epochs=2)
    expected = message.format(epoch, first=first, last=last, size=size)
    assert last_line(said).startswith(f"fm: {expected}")
    assert "piped.fm" not in rows.files()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "true",
            "train_0: no such pipe has appeared within 2 s; start its writer, or wait longer with --pipe-time",
        ),
        ("mkfifo train_0", "train_0: the pipe exists, but nothing was written to it within 2 s; start "),
        ("mkfifo train_0; sleep 999 > train_0", "train_0: the pipe exists, but nothing was written to it within 2 s; "),
        ("mkfifo train_0; cat x.rec > train_0", "train_1: no such pipe has appeared within 2 s; start "),
        (
            "mkfifo train_0 train_1; cat x.rec > train_0",
            "train_1: the pipe exists, but nothing was written to it within",
        ),
        ("mkdir train_0", "train_0: cannot be opened: Is a directory"),
    ],
)
def test_a_pipe_that_never_comes_ends_the_job_at_the_timeout(rows, script, message):
    with fed(rows, script):
        wait_for(lambda: script == "true" or (rows.folder / "train_0").exists())
        said = trained(rows, "--pipe-timeout", 2, code=3)
    assert last_line(said).startswith(f"fm: {message}")
    assert "piped.fm" not in rows.files()


@pytest.mark.parametrize(
    ("script", "epoch", "number", "code"),
    [
        ("true", 0, signal.SIGTERM, 143),
        ("mkfifo train_0", 0, signal.SIGTERM, 143),
        ("mkfifo train_0; (head -c 99 x.rec; sleep 999) > train_0", 0, signal.SIGTERM, 143),
        ("mkfifo train_0; cat x.rec > train_0", 1, signal.SIGTERM, 143),
        ("mkfifo train_0 train_1; cat x.rec > train_0", 1, signal.SIGINT, 130),
        (
            "mkfifo train_0 train_1; cat x.rec > train_0; (head -c 99 x.rec; sleep 999) > train_1",
            1,
            signal.SIGTERM,
            143,
        ),
    ],
)
def test_a_signal_ends_the_wait_for_a_pipe(rows, script, epoch, number, code):
    """Also where another thread waits, which is so from the second epoch on."""
    with fed(rows, script):
        process = rows.start(
            "train",
            *PIPES,
            *CLASSIFIER,
            "--epochs",
            2,
            "-o",
            "x.fm",
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            if epoch:
                for _ in range(3):  # what is trained, the table's head, the first epoch
                    process.stderr.readline()
            else:
                wait_for(rows.left_over)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
            process.send_signal(number)
            assert process.wait(LIMIT) == code  # long before the timeout, and the feeder's end
        finally:
            process.kill()
            said = process.stderr.read().decode()
            process.stderr.close()
            process.stdout.close()
    assert said.endswith("; no file was written or replaced\n")
    assert not {"x.fm", *rows.left_over()} & set(rows.files())


# --------------------------------------------------------------------------------------------------- test channel
def metrics(fm):
    return [json.loads(line).get("test") for line in fm.read("m.jsonl").decode().splitlines()]


def test_the_test_channel_is_read_after_the_last_epoch(rows):
    """A feeder that fills one pipe after the other is not kept waiting."""
    with fed(rows, "mkfifo train_0 train_1 test_0; cat x.rec > train_0; cat x.rec > train_1; cat y.rec > test_0"):
        said = trained(rows, "--test", "test", "--metrics-out", "m.jsonl", epochs=2)
    heads = [line.split("  ") for line in said.splitlines() if "epoch  " in line]
    assert [any("test" in name for name in head) for head in heads] == [False, True]
    first, last = metrics(rows)
    assert first is None
    rows("train", "x.rec", "--test", "y.rec", *CLASSIFIER, "--epochs", 2, "-o", "whole.fm", "--metrics-out", "m.jsonl")
    assert metrics(rows)[1] == last


def test_early_stopping_reads_the_test_channel_after_the_first_epoch(rows):
    with fed(rows, "mkfifo train_0 train_1 test_0; cat x.rec > train_0; cat y.rec > test_0; cat x.rec > train_1"):
        trained(rows, "--test", "test", "--early-stopping-patience", 5, "--metrics-out", "m.jsonl", epochs=2)
    found = metrics(rows)
    rows(
        "train",
        "x.rec",
        "--test",
        "y.rec",
        *CLASSIFIER,
        "--epochs",
        2,
        "-o",
        "whole.fm",
        "--metrics-out",
        "m.jsonl",
        "--early-stopping-patience",
        5,
    )
    assert metrics(rows) == found
    assert rows.read("whole.fm") == rows.read("piped.fm")


def test_an_empty_test_channel_is_a_data_error(rows):
    with fed(rows, "mkfifo train_0 test_0; cat x.rec > train_0; : > test_0"):
        assert last_line(trained(rows, "--test", "test", epochs=1, code=3)) == "fm: test_0: no rows to test on"


# ---------------------------------------------------------------------------------------------------------- usage
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no rows to train on are named; give files or folders, - for standard input, or --train DATA"),
        (("a", "--train", "b"), "rows to train on are named twice, by --train and as a; give all of them one way"),
        (("a", *PIPES), "rows to train on are named twice, by --train and as a; give all of them one way"),
        (
            ("a", "--input-mode", "pipe"),
            "--input-mode pipe reads PREFIX_0, PREFIX_1, ...; name them with --train PREFIX",
        ),
        (
            (*PIPES, "--train", "b"),
            "in pipe mode a channel is one prefix of named pipes (PREFIX_0, PREFIX_1, ...), but 2",
        ),
        ((*PIPES, "--test", "b", "--test", "c"), "in pipe mode a channel is one prefix of named pipes (PREFIX_0, "),
        (
            ("--input-mode", "pipe", "--train", "-"),
            "'-' is no prefix of named pipes; it is train where they are train_0, ",
        ),
        (("--input-mode", "pipe", "--train", "s3://b/t"), "s3://b/t is on S3, which cannot be read directly; "),
        (("a", "--pipe-timeout", 5), "--pipe-timeout is for --input-mode pipe, which is not given"),
        (
            (*PIPES, "--categorical", "a", "--vocabulary", "v"),
            "to list the values of a vocabulary takes all rows before training begins, which pipes do not give; name one",
        ),
    ],
)
def test_wrong_options_of_pipe_mode_are_refused(fm, arguments, message):
    said = fm("train", *arguments, *CLASSIFIER, "-o", "x.fm", code=2).err
    assert last_line(said).startswith(f"fm: {message}")
    assert fm.files() == []

"""Inputs that are cut off, grow or vanish while they are read: no incomplete result without an error."""

import gzip
import os
import socket
import subprocess
import threading

import pytest
from faults import CLASSIFIER, Old, ended, training
from shell import LIMIT, last_line, libsvm_rows, wait_for

STREAMED = ("--memory-limit", 1)
TABLE = ("--label-column", "y")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Return 300 rows in each format, and a cut that leaves whole rows: name -> (bytes, bytes of the cut one, options)."""
    folder = tmp_path_factory.mktemp("rows")
    text = libsvm_rows(300, 1).encode()
    half = text[: text.index(b"\n", len(text) // 2) + 1]
    table = b"y,a,b\n" + b"".join(b"%d,%d,%d\n" % (n % 2, n % 7, n % 3) for n in range(300))
    return {
        "svm": (text, half, ()),
        "csv": (table, table[: table.index(b"\n", 900) + 1], TABLE),
        **_made(folder, text, half, table),
    }


def _made(folder, text, half, table):
    from pyarrow import csv, parquet
    from shell import Shell

    fm = Shell(folder)
    for name, content in (("whole", text), ("half", half)):
        fm.write(f"{name}.svm", content)
        fm("convert", f"{name}.svm", "-o", f"{name}.rec", "--feature-dim", 20, "-q")
    parquet.write_table(csv.read_csv(fm.write("table.csv", table)), folder / "table.parquet")
    columns = fm.read("table.parquet")
    packed = gzip.compress(text, mtime=0)
    return {
        "rec": (fm.read("whole.rec"), fm.read("half.rec"), ()),
        "parquet": (columns, columns[: len(columns) // 2], TABLE),
        "svm.gz": (packed, packed[: len(packed) // 2], ()),
    }


@pytest.mark.parametrize("name", ["svm", "csv", "rec", "parquet", "svm.gz"])
def test_streamed_rows_cut_off_between_epochs_are_an_error(fm, rows, name):
    whole, half, options = rows[name]
    path, old = fm.write(f"x.{name}", whole), Old(fm.folder / "x.fm")
    process, said = training(fm, path, *options, *STREAMED, "-o", old.path, lines=4)
    os.truncate(path, len(half))
    said = ended(process, 3, said=said)
    assert said.startswith(f"fm: {path}: ")
    if name in ("svm", "csv", "rec"):  # nothing in their bytes shows that rows are missing
        assert "cut off or replaced meanwhile; run this again on a file that does not change" in said
    assert old.unharmed()
    assert fm.files() == sorted(["x.fm", f"x.{name}"])


@pytest.mark.parametrize("name", ["svm", "csv", "rec"])
def test_streamed_rows_that_grow_between_epochs_are_an_error(fm, rows, name):
    whole, half, options = rows[name]
    path, old = fm.write(f"x.{name}", half), Old(fm.folder / "x.fm")
    process, said = training(fm, path, *options, *STREAMED, "-o", old.path, lines=4)
    with path.open("ab") as appended:
        appended.write(whole[len(half) :])
    assert "there are more rows than the" in (said := ended(process, 3, said=said))
    assert said.startswith(f"fm: {path}: ")
    assert "train on a copy that stays as it is, or give more with --memory-limit" in said
    assert old.unharmed()


def test_features_that_appear_between_epochs_reach_no_kernel(fm, rows):
    whole, _, _ = rows["svm"]
    path = fm.write("x.svm", whole)
    process, said = training(fm, path, *STREAMED, "-o", "x.fm", lines=4)
    with path.open("ab") as appended:
        appended.write(b"1 2000000000:1\n")
    assert "there are more rows than the 300 that the first pass found" in ended(process, 3, said=said)


def test_other_rows_of_the_same_size(fm, rows):
    whole, _, _ = rows["svm"]
    path = fm.write("x.svm", whole)
    process, said = training(fm, path, *STREAMED, "-o", "x.fm", lines=4)
    with path.open("r+b") as changed:
        changed.write(b"1" if whole[:1] == b"0" else b"0")
    assert "rows 1 to 300 are not what the first pass found there" in ended(process, 3, said=said)


def test_test_rows_that_change_between_epochs_are_an_error(fm, rows):
    whole, half, _ = rows["svm"]
    fm.write("x.svm", whole)
    path = fm.write("test.svm", half)
    process, said = training(fm, "x.svm", "--test", path, *STREAMED, "-o", "x.fm", lines=4)
    with path.open("ab") as appended:
        appended.write(whole[len(half) :])
    said = ended(process, 3, said=said)
    assert said.startswith(f"fm: {path}: there are more rows than the")


def test_rows_kept_in_memory_do_not_need_their_file(fm, rows):
    path = fm.write("x.svm", rows["svm"][0])
    fm("train", path, *CLASSIFIER, "--epochs", 400, "-o", "a.fm", "-q")
    process = fm.start("train", path, *CLASSIFIER, "--epochs", 400, "-o", "b.fm", stdin=subprocess.DEVNULL)
    said = b"".join(process.stderr.readline() for _ in range(3))
    os.truncate(path, 0)
    path.unlink()
    ended(process, 0, said=said)
    assert fm.read("a.fm") == fm.read("b.fm")


def drained(path, found):
    """Start a thread that reads a named pipe to its end."""
    thread = threading.Thread(target=lambda: found.append(path.read_bytes()))
    thread.start()
    return thread


@pytest.fixture
def slow(fm, world):
    """Start a prediction that has read the beginning of a long file and waits for the reader of its output."""
    line = b"1" + b" 1:1" * 200 + b"\n"
    path = fm.write("long.svm", line * 30_000)
    os.mkfifo(fm.folder / "out")
    opened = os.open(fm.folder / "out", os.O_RDONLY | os.O_NONBLOCK)
    process = fm.start("predict", world.classifier, path, "-o", "out", "--threads", 1, stdin=subprocess.DEVNULL)
    wait_for(lambda: _readable(opened))
    yield process, path, line, opened
    os.close(opened)
    process.kill()
    process.wait()


def _readable(descriptor):
    import fcntl
    import termios

    waiting = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(waiting, "little") > 0


def drain(fm, opened):
    """Read the pipe to its end; return the number of lines."""
    found = []
    reader = drained(fm.folder / "out", found)
    reader.join(LIMIT)
    return found[0].count(b"\n")


def test_cut_off_while_it_is_read(fm, slow):
    process, path, line, opened = slow
    os.truncate(path, len(line) * 29_000)  # whole lines
    lines = drain(fm, opened)
    said = ended(process, 3)
    assert lines < 30_000
    assert said == (
        f"fm: {path}: it ends after {29_000 * len(line):,} bytes, but had {30_000 * len(line):,} when the "
        "command began: it was cut off or replaced meanwhile; run this again on a file that does not change"
    )


def test_an_input_deleted_while_it_is_read_is_read_to_its_end(fm, slow):
    process, path, _, opened = slow
    path.unlink()
    lines = drain(fm, opened)
    ended(process, 0)
    assert lines == 30_000


def test_a_log_that_grows_is_read_as_far_as_it_goes(fm, slow):
    process, path, line, opened = slow
    with path.open("ab") as appended:
        appended.write(line * 10)
    lines = drain(fm, opened)
    ended(process, 0)
    assert 30_000 <= lines <= 30_010


@pytest.mark.parametrize("change", ["cut off", "written over"])
def test_a_model_that_changes_while_it_is_read(fm, world, change):
    fm("train", world.train, *CLASSIFIER, "--epochs", 1, "--feature-dim", 200_000, "-o", "x.fm", "-q")
    model, old = fm.read("x.fm"), Old(fm.folder / "old.txt")
    process = fm.start("predict", "x.fm", "-", "-o", old.path)
    process.stdin.write(b"1 0:1\n" * 200_000)
    process.stdin.flush()
    wait_for(fm.writes)
    with (fm.folder / "x.fm").open("r+b") as file:
        file.write(model[:-4])
        file.truncate(100_000 if change == "cut off" else len(model))
    process.stdin.write(b"1 199999:1 99999:1\n")
    assert ended(process, 4) == (
        "fm: x.fm: cut off or written over while it was read; replace a model by renaming "
        "another one to it, as fm train does, and run this again"
    )
    assert old.unharmed()
    assert not fm.left_over()


@pytest.mark.parametrize("name", ["socket", "folder", "/dev/null", "gone"])
def test_files_that_are_no_model_and_no_rows_are_refused(fm, world, name):
    (fm.folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(fm.folder / "socket"))  # the name of a socket has 108 bytes at the most
        assert last_line(fm("predict", name, world.test, "-o", "x.txt", code=4).err).startswith(f"fm: {name}: ")
        said = last_line(fm("train", name, *CLASSIFIER, "-o", "x.fm", code=3).err)
    assert said.startswith(f"fm: {name}: ")
    assert fm.files() == ["folder", "socket"]

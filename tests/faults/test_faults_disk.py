"""Disks that are full, without free inodes or read-only: exit code 6 or 2, a sentence, and old files unchanged."""

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from faults import CLASSIFIER, LINUX, Old, ended, mounted, names, remounted, temporary
from shell import last_line, libsvm_rows

FULL = "cannot be written: the disk is full; free some space on it, or write to another disk"
TABLE = ("--label-column", "y", "--categorical", "c")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return rows whose outputs are larger than a small disk: libsvm text, and a table of many categories."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "big.svm").write_text(libsvm_rows(16_000, 1, features=400))
    rows = "".join(f"{n % 2},{'v' * 20}{n}\n" for n in range(3000))
    (folder / "table.csv").write_text(f"y,c\n{rows}")
    return folder


@pytest.fixture
def disk(tmp_path):
    """Return a disk of 64 KiB."""
    with mounted(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def wide(fm, inputs):
    """Return a model that does not fit on the disk as text."""
    fm("train", inputs / "big.svm", *CLASSIFIER, "--epochs", 1, "--num-factors", 32, "-o", "wide.fm", "-q")
    return "wide.fm"


@pytest.mark.parametrize(
    "command",
    [
        ("train", "big.svm", *CLASSIFIER, "--epochs", 1, "--num-factors", 64, "-o"),
        ("convert", "big.svm", "-o"),
        ("convert", "big.svm", "--to", "libsvm", "-o"),
        ("predict", "wide.fm", "big.svm", "-o"),
        ("export", "wide.fm", "-o"),
        ("export", "wide.fm", "--to", "csv", "-o"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_an_output_that_does_not_fit(fm, inputs, disk, wide, command):
    old = Old(disk / "out")
    command = [inputs / word if word == "big.svm" else word for word in command]
    assert last_line(fm(*command, old.path, code=6).err) == f"fm: {old.path} {FULL}"
    assert old.unharmed()
    assert names(disk) == ["out"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_a_compressed_output_that_does_not_fit_is_an_error(fm, inputs, disk, suffix):
    old = Old(disk / f"out.svm{suffix}")
    said = fm("convert", inputs / "big.svm", "--to", "libsvm", "-o", old.path, code=6).err
    assert last_line(said) == f"fm: {old.path} {FULL}"
    assert old.unharmed()
    assert names(disk) == [old.path.name]


def test_no_shard_appears_where_one_does_not_fit(fm, inputs, disk):
    old = Old(disk / "out-00001-of-00003.rec")
    said = fm("convert", inputs / "big.svm", "-o", disk / "out.rec", "--shards", 3, code=6).err
    assert last_line(said).startswith(f"fm: {disk}/out-0000")
    assert last_line(said).endswith(FULL)
    assert old.unharmed()
    assert names(disk) == [old.path.name]


@pytest.mark.parametrize("full", ["model", "words", "metrics"])
def test_a_model_appears_with_its_vocabulary_and_metrics_or_not_at_all(fm, inputs, disk, full):
    paths = {name: (disk if name == full else fm.folder) / name for name in ("model", "words", "metrics")}
    (disk / "filler").write_bytes(bytes(64_000))  # what is left is a page or none
    old = {name: Old(path, b"") for name, path in paths.items() if name != "words"}
    said = fm(
        "train",
        inputs / "table.csv",
        *CLASSIFIER,
        *TABLE,
        "--epochs",
        30,
        "-o",
        paths["model"],
        "--vocabulary",
        paths["words"],
        "--metrics-out",
        paths["metrics"],
        code=6,
    ).err
    assert last_line(said) == f"fm: {paths[full]} {FULL}"
    assert all(file.unharmed() for file in old.values())
    assert not paths["words"].exists()
    assert not temporary(disk)


def test_a_report_that_does_not_fit_is_an_error(fm, disk):
    pytest.importorskip("optuna")
    fm.write("x.svm", libsvm_rows(60, 1))
    old, page = Old(fm.folder / "best.fm"), Old(disk / "page.html")
    said = fm(
        "tune",
        "x.svm",
        "--test",
        "x.svm",
        *CLASSIFIER,
        "--trials",
        2,
        "-p",
        "epochs=1",
        "-o",
        old.path,
        "--report",
        page.path,
        code=6,
    ).err
    assert last_line(said) == f"fm: {page.path} {FULL}"
    assert old.unharmed()
    assert page.unharmed()
    assert names(disk) == ["page.html"]


def test_a_temporary_folder_that_is_full_is_named(fm, disk):
    pytest.importorskip("optuna")
    fm.write("x.svm", libsvm_rows(4000, 1))
    said = fm(
        "tune", "x.svm", "--test", "x.svm", *CLASSIFIER, "--trials", 2, "-o", "best.fm", code=6, TMPDIR=str(disk)
    ).err
    assert last_line(said) == (
        f"fm: the rows for all trials do not fit into {disk}: the disk is full; name a larger "
        "folder in the variable TMPDIR"
    )
    assert names(disk) == []
    assert fm.files() == ["disk", "x.svm"]


def test_a_disk_without_free_inodes_is_an_error(fm, world, tmp_path):
    with mounted(tmp_path / "disk", "size=1m,nr_inodes=2") as disk:
        old = Old(disk / "old")
        for name in ("old", "new"):
            said = fm("predict", world.classifier, world.test, "-o", disk / name, code=6).err
            assert last_line(said) == f"fm: {disk}/{name} {FULL}"
        assert old.unharmed()
        assert names(disk) == ["old"]


def test_a_read_only_disk_is_refused(fm, world, disk):
    old = Old(disk / "old")
    remounted(disk, "ro")
    said = last_line(fm("predict", world.classifier, world.test, "-o", disk / "new", code=2).err)
    assert said == f"fm: {disk}/new cannot be written: Read-only file system"
    said = last_line(fm("predict", world.classifier, world.test, "-o", old.path, code=2).err)
    assert said == f"fm: {old.path} cannot be written: it is write-protected"
    assert old.unharmed()


@LINUX
def test_a_file_beyond_the_size_limit_is_an_error(fm, inputs):
    old = Old(fm.folder / "out.rec")
    process = fm.start(
        "convert",
        inputs / "big.svm",
        "-o",
        old.path,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert ended(process, 6) == (
        f"fm: {old.path} cannot be written: the file would exceed the largest size allowed "
        "(ulimit -f, or that of the file system)"
    )
    assert old.unharmed()
    assert fm.files() == ["out.rec"]


@LINUX
def test_too_many_open_files_is_a_resource_error(fm, inputs):
    process = fm.start(
        "convert",
        inputs / "big.svm",
        "-o",
        "out.rec",
        "--shards",
        200,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    said = ended(process, 6)
    assert said.startswith("fm: out-000")
    assert said.endswith("cannot be written: too many files are open; raise the limit (ulimit -n)")
    assert fm.files() == []


FAILING = """
import errno, os, sys
from fmcli.main import run
def fail(descriptor):
    raise OSError(getattr(errno, {number!r}), os.strerror(getattr(errno, {number!r})))
os.fsync = fail
run(['predict', {model!r}, {rows!r}, '-o', 'old'])
"""


@pytest.mark.parametrize(
    ("number", "code", "why"),
    [
        ("ENOSPC", 6, "the disk is full; free some space on it, or write to another disk"),
        ("EDQUOT", 6, "the disk quota is used up; free some space, or write to another disk"),
        ("EIO", 6, "the disk reports an error; look at the system's log, or write to another disk"),
        ("EROFS", 2, os.strerror(30)),
    ],
)
def test_a_disk_that_fails_at_the_last_flush_leaves_the_old_file(fm, world, number, code, why):
    old = Old(fm.folder / "old")
    source = FAILING.format(number=number, model=str(world.classifier), rows=str(world.test))
    assert last_line(fm.python(source, code=code).err) == f"fm: old cannot be written: {why}"
    assert old.unharmed()
    assert fm.files() == ["old"]


@LINUX
def test_a_model_is_kept_unpublished_where_standard_output_is_on_a_full_disk(fm, world):
    with Path("/dev/full").open("wb") as full:
        process = fm.start(
            "train",
            world.train,
            *CLASSIFIER,
            "-o",
            "x.fm",
            "--metrics-out",
            "-",
            "-q",
            stdout=full,
            stdin=subprocess.DEVNULL,
        )
        assert ended(process, 6) == f"fm: standard output {FULL}"
    assert fm.files() == []


def test_a_model_appears_though_the_reader_of_standard_output_left(fm, world):
    process = fm.start(
        "train",
        world.train,
        *CLASSIFIER,
        "-o",
        "x.fm",
        "--metrics-out",
        "-",
        "-q",
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    )
    process.stdout.close()
    assert ended(process, 0) == ""
    assert fm.files() == ["x.fm"]

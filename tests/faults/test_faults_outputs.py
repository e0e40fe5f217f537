"""Outputs that are invalid, that vanish while they are written, and that several commands write at once."""

import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from faults import CLASSIFIER, ROOT, Old, being_written, ended, mounted, names, remounted, temporary, training
from shell import LIMIT, last_line

LONG = "x" * 300


def refused(fm, world, path):
    """Return the last line of a prediction that cannot be written to a path."""
    return last_line(fm("predict", world.classifier, world.test, "-o", path, code=2).err)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone/out", "there is no folder {folder}/gone"),
        ("folder", "it is a folder"),
        (LONG, "File name too long"),
        ("file/out", "Not a directory"),
    ],
)
def test_what_cannot_be_an_output(fm, world, name, why):
    old = Old(fm.folder / "file")
    (fm.folder / "folder").mkdir()
    assert refused(fm, world, name) == f"fm: {name} cannot be written: {why.format(folder=fm.folder.resolve())}"
    assert old.unharmed()
    assert fm.files() == ["file", "folder"]


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc")
@pytest.mark.parametrize("path", ["/proc/out", "/sys/out", "/proc/version"])
def test_files_of_the_system(fm, world, path):
    process = fm.start("predict", world.classifier, world.test, "-o", path, stdin=subprocess.DEVNULL)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode in (2, 6)
    assert last_line(err.decode()).startswith(f"fm: {path} cannot be written: ")
    assert out == b""


@pytest.fixture
def protect(tmp_path):
    """Return a function that protects a path from changes, even by root."""
    protected = []

    def by_attribute(path):
        command = ["chattr", "+i", path]
        if not shutil.which("chattr") or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("this file system cannot protect a file from root")
        protected.append(path)

    yield by_attribute if ROOT else lambda path: path.chmod(0o555)
    for path in protected:
        subprocess.run(["chattr", "-i", path], check=True)


def test_a_protected_file_and_a_protected_folder(fm, world, protect):
    folder = fm.folder / "folder"
    folder.mkdir()
    old = Old(folder / "old")
    protect(old.path)
    assert refused(fm, world, "folder/old") == "fm: folder/old cannot be written: it is write-protected"
    protect(folder)
    assert refused(fm, world, "folder/new").startswith("fm: folder/new cannot be written: ")
    assert old.unharmed()
    assert names(folder) == ["old"]


def test_a_folder_that_is_removed_meanwhile(fm, world):
    (fm.folder / "out").mkdir()
    process = fm.start("predict", world.classifier, "-", "-o", "out/scores.txt")
    process.stdin.write(b"1 0:1\n" * 200_000)
    process.stdin.flush()
    being_written(fm.folder / "out")
    shutil.rmtree(fm.folder / "out")
    assert ended(process, 2) == "fm: out/scores.txt cannot be written: its folder was removed meanwhile"
    assert fm.files() == []


def test_a_temporary_file_that_is_removed_meanwhile(fm, world):
    old, other = Old(fm.folder / "x.fm"), Old(fm.folder / "m.jsonl")
    process = fm.start("train", "-", *CLASSIFIER, "-o", "x.fm", "--metrics-out", "m.jsonl", "-q")
    process.stdin.write(b"1 0:1\n0 1:1\n")
    process.stdin.flush()
    while not any(".m.jsonl" in path.name for path in temporary(fm.folder)):
        being_written(fm.folder)
    next(path for path in temporary(fm.folder) if ".m.jsonl" in path.name).unlink()
    said = ended(process, 2)
    assert said == "fm: m.jsonl cannot be written: the temporary file beside it was removed meanwhile"
    assert old.unharmed()
    assert other.unharmed()
    assert fm.files() == ["m.jsonl", "x.fm"]


def test_a_disk_that_takes_no_changes_any_more(fm, world, tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        old = Old(disk / "old")
        process, said = training(fm, world.train, "-o", old.path)
        process.send_signal(signal.SIGTERM)
        assert ended(process, 143, said=said) == "fm: terminated; no file was written or replaced"
        remounted(disk, "ro")
        assert old.unharmed()
        assert names(disk) == ["old"]


@pytest.mark.parametrize(
    "command",
    [("train", *CLASSIFIER, "-q"), ("convert", "-q"), ("convert", "-q", "--to", "libsvm")],
    ids=lambda c: c[-1],
)
def test_two_commands_that_write_one_file(fm, world, command):
    inputs = (world.train, world.test)
    for n, rows in enumerate(inputs):
        fm(*command, rows, "-o", f"alone{n}")
    running = [fm.start(*command, rows, "-o", "both", stdin=subprocess.DEVNULL) for rows in inputs * 2]
    for process in running:
        ended(process, 0)
    assert fm.read("both") in (fm.read("alone0"), fm.read("alone1"))
    assert fm.files() == ["alone0", "alone1", "both"]


def test_a_model_that_is_replaced_while_others_predict(fm, world):
    for n, rows in enumerate((world.train, world.test)):
        fm("train", rows, *CLASSIFIER, "-o", f"{n}.fm", "-q")
    expected = [fm("predict", f"{n}.fm", world.test).out for n in (0, 1)]
    stop = threading.Event()

    def replace():
        n = 0
        while not stop.wait(0.002):
            n = 1 - n
            shutil.copy(fm.folder / f"{n}.fm", fm.folder / "next.fm")
            (fm.folder / "next.fm").replace(fm.folder / "now.fm")

    shutil.copy(fm.folder / "0.fm", fm.folder / "now.fm")
    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        found = {fm("predict", "now.fm", world.test).out for _ in range(5)}
    finally:
        stop.set()
        replacing.join()
    assert found <= set(expected)

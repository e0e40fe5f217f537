import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from shell import ROOT

from fmcore.errors import ResourceError, UsageError
from fmcore.system import publish


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    return path


def left(path):
    """Return the names in the folder and the content of the file."""
    return sorted(p.name for p in path.parent.iterdir()), path.read_bytes()


def write(path, data=b"new"):
    with publish.whole(path) as handle:
        handle.write(data)


def write_and_raise(path, error):
    with publish.whole(path) as handle:
        handle.write(b"new" * 10_000)
        raise error


def failing_file(monkeypatch, error):
    """Make every file raise the error when it is opened."""

    class Failing(publish._File):
        def __init__(self, file, mode, shown):
            with publish.explained(shown):
                raise error

    monkeypatch.setattr(publish, "_File", Failing)


def close_first_and_fail(first, second):
    first.write(b"newer")
    first.close()
    second.write(b"words")
    raise OSError("closed by hand")


def test_the_file_changes_at_the_end_and_at_once(target):
    with publish.whole(target) as handle:
        handle.write(b"new")
        handle.flush()
        assert target.read_bytes() == b"old"
    assert left(target) == (["model"], b"new")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_leaves_the_old_file_and_no_other(target, error):
    with pytest.raises(error):
        write_and_raise(target, error)
    assert left(target) == (["model"], b"old")


def test_a_new_file_that_fails_never_appears(tmp_path):
    with pytest.raises(ValueError, match="stop"):
        write_and_raise(tmp_path / "x", ValueError("stop"))
    assert list(tmp_path.iterdir()) == []


def writer(target):
    """Start a process that begins to write to the target, and ends when a line comes."""
    code = (
        "import sys\nfrom fmcore.system import publish\nwith publish.whole(sys.argv[1]) as handle:\n"
        "    handle.write(b'its own'); handle.flush(); print('ready', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def remains(target):
    """Return names in the target's folder that readers of the folder ignore."""
    return {path.name for path in target.parent.iterdir() if path.name.startswith(".")}


def test_a_kill_leaves_the_old_file_and_the_next_writer_tidies_up(target):
    with writer(target) as process:
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"
    assert len(remains(target)) == 1
    write(target)
    assert left(target) == (["model"], b"new")


@pytest.mark.parametrize("tidy", [write, publish.prepare])
def test_a_temporary_file_of_a_living_process_is_not_removed(target, tidy):
    with writer(target) as process:
        under_way = remains(target)
        tidy(target)
        assert remains(target) == under_way
        process.communicate(b"\n")
    assert process.returncode == 0
    assert left(target) == (["model"], b"its own")


def test_a_complete_file_not_yet_renamed_is_not_removed(target):
    output = publish._target(str(target))
    output.open()
    output.handle.write(b"new")
    output.complete()
    publish._remove_unless_locked(target.parent / next(iter(remains(target))))
    output.rename()
    output.discard()
    assert left(target) == (["model"], b"new")


def test_a_temporary_file_removed_before_it_is_locked_is_made_again(target, monkeypatch):
    locked = []

    def lock(descriptor, how):
        if not locked:
            (target.parent / next(iter(remains(target)))).unlink()
        locked.append(descriptor)

    monkeypatch.setattr(publish.fcntl, "flock", lock)
    write(target)
    assert len(locked) == 2
    assert left(target) == (["model"], b"new")


def test_several_files_appear_only_when_all_are_complete(target):
    other = target.with_name("vocabulary")
    with publish.together(target, other) as (first, second):
        first.write(b"new")
        second.write(b"words")
        assert not other.exists()
    assert (target.read_bytes(), other.read_bytes()) == (b"new", b"words")
    with pytest.raises(UsageError), publish.together(target, target / "x"):
        pass
    with pytest.raises(OSError, match="closed by hand"), publish.together(target, other) as handles:
        close_first_and_fail(*handles)
    assert left(target) == (["model", "vocabulary"], b"new")


def test_a_replaced_file_keeps_its_mode_and_link_and_a_new_one_the_umask(target):
    target.chmod(0o640)
    link = target.with_name("link")
    link.symlink_to("model")
    write(link)
    assert link.is_symlink()
    assert left(target) == (["link", "model"], b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    old = os.umask(0o027)
    try:
        write(target.with_name("fresh"))
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.with_name("fresh").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere/model", "there is no folder"),
        ("model/x", "Not a directory"),
        ("", "Not a directory|folder"),
        (".", "it is a folder"),
        ("a\0b", "embedded null"),
    ],
)
def test_unwritable_paths_are_refused_before_anything_is_written(target, name, says):
    with pytest.raises(UsageError, match=says), publish.whole(f"{target.parent}/{name}"):
        pytest.fail("the work began")
    assert left(target) == (["model"], b"old")


def test_a_write_protected_file_or_folder_is_refused(target, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="model cannot be written: it is write-protected"):
        write(target)

    failing_file(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(UsageError, match="fresh cannot be written: Permission denied"):
        write(target.with_name("fresh"))


def test_a_full_device_raises_a_resource_error():
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not here")
    for size in (3, 1 << 20):
        with pytest.raises(ResourceError, match="/dev/full cannot be written: the disk is full"):
            write("/dev/full", bytes(size))


def test_a_file_beyond_the_size_limit_leaves_the_old_file(target):
    code = (
        "import resource, sys\nfrom fmcore import errors\nfrom fmcore.system import publish\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    with publish.whole(sys.argv[1]) as handle:\n        handle.write(bytes(200_000))\n"
        "except errors.ResourceError as error:\n    print(error)\n    sys.exit(error.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code, target], capture_output=True, check=False, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (6, "")
    assert "model cannot be written: the file would exceed the largest size allowed" in done.stdout
    assert left(target) == (["model"], b"old")


def test_a_disk_full_at_opening_raises_a_resource_error(target, monkeypatch):
    failing_file(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ResourceError, match="model cannot be written: the disk is full"):
        write(target)
    assert left(target) == (["model"], b"old")


@pytest.mark.parametrize(
    ("number", "kind", "why"),
    [
        (errno.ENOSPC, ResourceError, "the disk is full"),
        (errno.EDQUOT, ResourceError, "the disk quota is used up"),
        (errno.EIO, ResourceError, "the disk reports an error"),
        (errno.ESTALE, UsageError, os.strerror(errno.ESTALE)),
    ],
)
def test_a_disk_that_fails_at_the_last_flush_leaves_the_old_file(target, monkeypatch, number, kind, why):
    def fail(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=f"model cannot be written: {why}"):
        write(target)
    monkeypatch.undo()
    assert left(target) == (["model"], b"old")


def test_files_of_nested_blocks_appear_together(target):
    first, second = target.with_name("first"), target.with_name("second")
    with publish.all_or_none():
        with publish.all_or_none():
            write(first)
        assert not first.exists()
        write(second)
        with publish.whole(target, at_once=True) as handle:
            handle.write(b"now")
        assert left(target)[1] == b"now"
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"new")
    assert {str(first), str(second), str(target)} <= set(publish.renamed())


@pytest.mark.parametrize(
    ("error", "names"), [(ValueError, ["model"]), (KeyboardInterrupt, ["model"]), (BrokenPipeError, ["first", "model"])]
)
def test_files_of_nested_blocks_that_fail_do_not_appear(target, error, names):
    def one_whole_and_one_half():
        with publish.all_or_none(), publish.whole(target):
            write(target.with_name("first"))
            raise error

    with pytest.raises(error):
        one_whole_and_one_half()
    assert left(target) == (names, b"old")


def test_a_file_named_twice_in_nested_blocks_is_refused(target):
    def twice():
        with publish.all_or_none():
            write(target)
            write(target)

    with pytest.raises(UsageError, match="is named for two outputs"):
        twice()
    assert left(target) == (["model"], b"old")


def test_a_broken_pipe_passes_unchanged(target):
    with pytest.raises(BrokenPipeError), publish.whole(target):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_is_written_to_and_stays_open(capfdbinary, name):
    write(name)
    write(name, b"er")
    assert capfdbinary.readouterr().out == b"newer"


def test_a_named_pipe_is_written_directly(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with publish.whole(tmp_path / "pipe") as handle:
        handle.write(b"ne")
        handle.flush()
        handle.write(b"w")
    reader.join()
    assert got == [b"new"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_devices_and_descriptors_are_written_directly(target):
    write("/dev/null")
    with target.open("r+b") as opened:
        write(f"/dev/fd/{opened.fileno()}")
    assert left(target) == (["model"], b"new")


def test_an_interrupt_while_the_temporary_file_is_made_leaves_none(target, monkeypatch):
    class Interrupted(publish._File):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.close()
            raise KeyboardInterrupt

    monkeypatch.setattr(publish, "_File", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(target)
    monkeypatch.undo()
    assert left(target) == (["model"], b"old")


def test_preparing_removes_temporary_files_of_this_target_only(target):
    for name in (
        ".model.0123456789ab.tmp",
        ".model.0123456789ab.tmp.x",
        ".models.0123456789ab.tmp",
        ".model.new.tmp",
        "model.tmp",
    ):
        (target.parent / name).write_bytes(b"part")
    publish.prepare(target)
    assert left(target) == (
        [".model.0123456789ab.tmp.x", ".model.new.tmp", ".models.0123456789ab.tmp", "model", "model.tmp"],
        b"old",
    )
    publish.prepare(target.with_name("new"))
    assert not target.with_name("new").exists()


def test_preparing_keeps_temporary_files_that_may_be_of_another_target(tmp_path):
    remains = tmp_path / f".{'x' * 40}.0123456789ab.tmp"
    remains.write_bytes(b"part")
    publish.prepare(tmp_path / ("x" * 41))
    assert remains.exists()
    publish.prepare(tmp_path / ("x" * 40))
    assert not remains.exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("-", "standard output cannot be written again and again"),
        ("/dev/null", "it is not a regular file"),
        ("no/x", "there is no folder"),
    ],
)
def test_preparing_refuses_targets_that_cannot_be_replaced(path, said):
    with pytest.raises(UsageError, match=said):
        publish.prepare(path)

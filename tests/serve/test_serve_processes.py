"""`fm serve` from an operator's view: starting, stopping, workers that die, models that are replaced."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from serving import alive, needs_proc, serving, wait_for
from shell import LIMIT, last_line

from fmcore.hyper.presets import resolve
from fmcore.model import file as modelfile
from fmcore.model.model import initial

GOOD = b'{"instances": [{"features": [1.5, 0, 2]}]}'
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished_at_shutdown_and_new_ones_refused(fm, world, number):
    with serving(fm, world.classifier, workers=2) as server:
        idle = server.connect()
        want = server.post(GOOD, connection=idle)
        with server.raw(HEAD % len(GOOD), GOOD[:-5]) as busy:
            server.process.send_signal(number)
            wait_for(server.refuses)
            busy.sendall(GOOD[-5:])
            answer = b"".join(iter(lambda: busy.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(want.body)
        assert server.process.wait(LIMIT) == 0
        assert server.process.stderr.read() == b""
        idle.close()
        server.code = 0


def test_a_signal_to_the_whole_process_group_ends_the_server_quietly(fm, world):
    with serving(fm, world.classifier, workers=2, start_new_session=True) as server:
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(LIMIT) == 0
        assert server.process.stderr.read() == b""
        server.code = 0


@needs_proc
def test_a_server_worker_that_dies_is_replaced(fm, world):
    with serving(fm, world.classifier, workers=2) as server:
        before = server.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        after = wait_for(lambda: (now := server.workers()) and len(now) == 2 and before[0] not in now and now)
        assert before[1] in after
        assert all(server.post(GOOD).status == 200 for _ in range(20))
        assert re.fullmatch(r"fm: worker \d+ has ended; \d+ replaces it\n", server.stop())


@needs_proc
def test_workers_end_with_their_supervisor(fm, world):
    with serving(fm, world.classifier, workers=2) as server:
        workers = server.workers()
        server.process.kill()
        wait_for(lambda: not any(map(alive, workers)))
        assert server.refuses()
        server.code = -9


def test_sighup_serves_a_model_renamed_into_place(fm, world):
    shutil.copy(world.classifier, fm.folder / "m.fm")
    with serving(fm, "m.fm", workers=2) as server:
        assert b"predicted_label" in server.post(GOOD).body
        shutil.copy(world.regressor, fm.folder / "new.fm")
        (fm.folder / "new.fm").rename(fm.folder / "m.fm")
        assert b"predicted_label" in server.post(GOOD).body
        server.process.send_signal(signal.SIGHUP)
        said = server.process.stderr.readline()
        assert said == b"fm: 2 workers of 2 replaced, serving the current model file\n"
        assert all(b"predicted_label" not in server.post(GOOD).body for _ in range(10))


def test_sighup_keeps_the_old_model_where_the_new_one_is_broken(fm, world):
    shutil.copy(world.classifier, fm.folder / "m.fm")
    with serving(fm, "m.fm") as server:
        want = server.post(GOOD)
        fm.write("new.fm", "rubbish, not a model")
        (fm.folder / "new.fm").rename(fm.folder / "m.fm")
        server.process.send_signal(signal.SIGHUP)
        said = [server.process.stderr.readline().decode() for _ in range(3)]
        assert re.fullmatch(r"fm: worker \d+: m\.fm: not a safetensors file; expected a model .*\n", said[0])
        assert "keeping worker" in said[1]
        assert said[2] == "fm: 0 workers of 1 replaced, serving the current model file\n"
        assert server.post(GOOD).body == want.body


@needs_proc
def test_a_worker_that_cannot_be_replaced_ends_the_server(fm, world):
    shutil.copy(world.classifier, fm.folder / "m.fm")
    with serving(fm, "m.fm", workers=2) as server:
        (fm.folder / "m.fm").unlink()
        os.kill(server.workers()[0], signal.SIGKILL)
        server.code = server.process.wait(LIMIT)
        said = server.process.stderr.read().decode()
    assert server.code == 1
    assert "m.fm: No such file or directory\n" in said
    assert last_line(said) == "fm: a worker could not start, so the server has stopped; the reason is printed above"


@needs_proc
def test_workers_share_one_map_of_the_model(fm):
    hyperparameters = resolve(predictor_type="regressor", feature_dim=500_000, num_factors=15)
    modelfile.save(initial(hyperparameters), fm.folder / "large.fm")
    size = (fm.folder / "large.fm").stat().st_size
    keys = list(range(0, 500_000, 60))  # some on every page of the factors
    body = b'{"instances": [{"features": {"keys": %s, "values": %s}}]}' % (
        str(keys).encode(),
        str([1] * len(keys)).encode(),
    )
    with serving(fm, "large.fm", workers=2) as server:

        def touched():
            assert server.post(body).status == 200
            maps = [mapped(worker, "large.fm") for worker in server.workers()]
            return maps if all(found["Rss"] > 0.9 * size for found in maps) else None

        maps = wait_for(touched)
        assert len(maps) == 2
        assert sum(found["Pss"] for found in maps) <= size + 8192
        assert [found["Private_Dirty"] for found in maps] == [0, 0]


def mapped(pid, name):
    """Return the bytes by kind that a process has of a mapped file: Rss, Pss, Private_Dirty, ..."""
    found, inside = {}, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(f"/{name}")
        elif inside and line.endswith(" kB"):
            kind, number = line.split()[:2]
            found[kind[:-1]] = found.get(kind[:-1], 0) + 1024 * int(number)
    return found


def test_a_model_that_cannot_be_read_is_refused_before_anything_is_served(fm):
    fm.write("bad.fm", "rubbish, not a model")
    said = fm("serve", "bad.fm", "--port", 0, code=4).err
    assert said == "fm: bad.fm: not a safetensors file; expected a model written by fmkit\n"
    assert fm("serve", "none.fm", "--port", 0, code=4).err == "fm: none.fm: No such file or directory\n"


def test_an_address_that_is_not_available_is_refused(fm, world):
    with serving(fm, world.classifier) as server:
        said = fm("serve", world.classifier, "--port", server.port, code=2).err
    assert said == (
        f"fm: cannot listen on 127.0.0.1, port {server.port}: the port is in use; choose another with "
        "--port, or 0 for any that is free\n"
    )
    said = fm("serve", world.classifier, "--host", "192.0.2.1", code=2).err
    assert said == "fm: cannot listen on 192.0.2.1, port 8080: this machine has no such address\n"
    said = fm("serve", world.classifier, "--host", "no.such.invalid", code=2).err
    assert said.startswith("fm: cannot listen on no.such.invalid, port 8080: ")


@pytest.mark.parametrize(
    "arguments", [("--port", 65536), ("--workers", 0), ("--timeout", 0), ("--max-payload", "much"), ("--threads", "x")]
)
def test_wrong_options_of_serve_are_refused(fm, world, arguments):
    assert f"Invalid value for '{arguments[0]}'" in fm("serve", world.classifier, *arguments, code=2).err


@pytest.mark.parametrize("package", ["uvicorn", "starlette"])
def test_serve_without_its_packages_says_how_to_install_them(fm, world, package):
    source = (
        f"import sys; sys.modules[{package!r}] = None; from fmcli.main import run; "
        f"run(['serve', {str(world.classifier)!r}, '--port', '0'])"
    )
    said = fm.python(source, code=2).err
    assert said.startswith(f"fm: serving needs {package}")
    assert said.endswith("which is not installed; install it with: pip install 'fmkit[serve]'\n")


def test_help_of_serve_imports_no_server_packages(fm):
    source = (
        "import sys; from fmcli.main import exit_code; exit_code(['serve', '--help']); exit_code(['--help']); "
        "sys.exit(bool({'uvicorn', 'starlette', 'asyncio'} & set(sys.modules)))"
    )
    assert "Score rows over HTTP." in fm.python(source).out

"""Workers, machines and drivers of Ray that die: the same bytes, or an exit code that asks for the same command."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mortals import TRAINING, mortal, rows_for
from shell import COMMAND, LIMIT, wait_for

from fmcore.solvers.team import on_ray

RAY = str(Path(sys.executable).with_name("ray"))


class Cluster:
    """A Ray cluster of this machine alone, in a folder with rows; nodes: process groups that can be killed.

    room: a folder for Ray, of a short name, for it makes sockets in it, whose names may have 107 bytes.
    """

    def __init__(self, folder, room):
        self.folder, self.death, self.model = folder, folder / "death", folder / "ray.fm"
        self.rows = rows_for(folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = {
            **mortal(self.death),
            "PYTHONWARNINGS": "default",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": room,
        }
        self.nodes, self.models = [], {}
        self.add("--head", "--port", self.address.rpartition(":")[2], "--include-dashboard=false", "--temp-dir", room)

    def add(self, *options):
        """Start a node, and wait until it has joined."""
        command = [
            RAY,
            "start",
            "--block",
            "--num-cpus",
            "4",
            "--object-store-memory",
            "100000000",
            *(options or ("--address", self.address)),
        ]
        log = self.folder / f"node{len(self.nodes)}.log"
        with log.open("wb") as handle:
            self.nodes.append(
                subprocess.Popen(
                    command, env=self.environment, start_new_session=True, stdout=handle, stderr=subprocess.STDOUT
                )
            )
        wait_for(lambda: b"Ray runtime started" in log.read_bytes() or self.nodes[-1].poll() is not None)
        assert self.nodes[-1].poll() is None, log.read_text()

    def kill(self, number):
        """Kill a node, all its processes at once."""
        os.killpg(self.nodes[number].pid, signal.SIGKILL)
        self.nodes[number].wait()

    def start(self, *options, workers=3):
        """Start a training on the cluster."""
        return subprocess.Popen(
            [
                *COMMAND,
                "train",
                *self.rows,
                *TRAINING,
                "-o",
                "ray.fm",
                "--distributed",
                "ray",
                "--workers",
                str(workers),
                "--ray-address",
                self.address,
                *options,
            ],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options, code=0, timeout=LIMIT, **how):
        """Run it to its end with the expected exit code; return its standard error, with nothing on standard output."""
        process = self.start(*options, **how)
        out, err = process.communicate(timeout=timeout)
        assert (process.returncode, out) == (code, b""), err.decode()
        return err.decode()

    def expected(self, workers=3):
        """Return the bytes of the model that so many workers in one process train."""
        if workers not in self.models:
            subprocess.run(
                [
                    *COMMAND,
                    "train",
                    *self.rows,
                    *TRAINING,
                    "-o",
                    "local.fm",
                    "-q",
                    "--distributed",
                    "local",
                    "--workers",
                    str(workers),
                ],
                cwd=self.folder,
                check=True,
                timeout=LIMIT,
            )
            self.models[workers] = (self.folder / "local.fm").read_bytes()
        return self.models[workers]

    def took(self):
        """Return the bytes of the published model, and remove it."""
        content = self.model.read_bytes()
        self.model.unlink()
        return content


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as room:
        cluster = Cluster(tmp_path_factory.mktemp("ray"), room)
        yield cluster
        for number, node in enumerate(cluster.nodes):
            if node.poll() is None:
                cluster.kill(number)


@pytest.mark.parametrize("method", ["train", "merge", "apply"])
def test_a_worker_is_killed_and_the_model_is_the_same(cluster, method):
    cluster.death.write_text(f"{method} 1 7 {signal.SIGKILL:d}")
    said = cluster.run()
    assert not cluster.death.exists()
    assert "worker 1 has died and been replaced" in said
    assert cluster.took() == cluster.expected()


def test_killing_the_only_holder_of_parameters_ends_the_run_which_resumes(cluster):
    saving = ("--checkpoint", "ck", "--checkpoint-every", "1e-6", "--dist-state", "sharded")
    cluster.death.write_text(f"apply 2 9 {signal.SIGKILL:d}")
    process = cluster.start(*saving)
    while cluster.death.exists():
        assert process.poll() is None
        time.sleep(0.01)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, err.decode()
    assert err.decode().strip().endswith("ck holds what was trained before: run the same command again with --resume")
    assert not cluster.model.exists()
    assert "resuming in epoch 1 after" in cluster.run(*saving, "--resume")
    assert cluster.took() == cluster.expected()


def test_after_the_driver_is_killed_the_same_command_resumes(cluster):
    saving = ("--checkpoint", "ck", "--checkpoint-every", "1e-6")
    process = cluster.start(*saving)
    while b"epoch 2, round 2 " not in process.stderr.readline():
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert not cluster.model.exists()
    assert "resuming in epoch" in cluster.run(*saving, "--resume")
    assert cluster.took() == cluster.expected()
    assert not (cluster.folder / "ck").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_driver_saves_and_the_same_command_resumes(cluster, number, code):
    saving = ("--checkpoint", "ck")
    process = cluster.start(*saving)
    while b"epoch 1, round 5 " not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == code, err.decode()
    assert b"saved to ck; run the same command with --resume" in err
    assert "resuming in epoch" in cluster.run(*saving, "--resume")
    assert cluster.took() == cluster.expected()


def test_an_exception_of_a_worker_is_printed_once(cluster):
    cluster.death.write_text("merge 1 3 raise")
    said = cluster.run(code=1)
    assert said.count("fm: unexpected RuntimeError: a fault for a test") == 1


def test_a_machine_is_killed_and_the_model_is_the_same(cluster):
    cluster.add()
    process = cluster.start(workers=4)
    while b"epoch 2, round 1 " not in process.stderr.readline():
        assert process.poll() is None
    cluster.kill(1)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (0, b""), err.decode()
    assert b"have died and been replaced" in err or b"has died and been replaced" in err
    assert cluster.took() == cluster.expected(4)


def test_a_local_cluster_leaves_no_files_in_the_home_folder(fm, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    rows = rows_for(fm.folder, 1000)
    fm(
        "train",
        *rows,
        *TRAINING,
        "-o",
        "a.fm",
        "--distributed",
        "ray",
        "--workers",
        2,
        "--ray-address",
        "local",
        HOME=str(home),
        PYTHONWARNINGS="default",
    )
    fm("train", *rows, *TRAINING, "-o", "b.fm", "--distributed", "local", "--workers", 2)
    assert fm.read("a.fm") == fm.read("b.fm")
    assert list(home.iterdir()) == []


def test_a_missing_cluster_is_an_error(fm):
    rows = rows_for(fm.folder, 100)
    for address, where in (("auto", "on this machine, or at RAY_ADDRESS,"), ("127.0.0.1:9", "at 127.0.0.1:9")):
        said = fm(
            "train",
            *rows,
            *TRAINING,
            "-o",
            "a.fm",
            "--distributed",
            "ray",
            "--workers",
            2,
            "--ray-address",
            address,
            code=2,
            PYTHONWARNINGS="default",
            RAY_ADDRESS="127.0.0.1:9",
        ).err
        assert f"there is no Ray {where}" in said
        assert "ray start --head" in said
    said = fm(
        "train",
        *rows,
        *TRAINING,
        "-o",
        "a.fm",
        "--distributed",
        "ray",
        "--workers",
        2,
        "--ray-address",
        "ray://head:10001",
        code=2,
    ).err
    assert "Ray Client" in said


@pytest.mark.parametrize(("cpus", "workers", "threads"), [([], 2, 1), ([0], 2, 1), ([0, 8, 6], 2, 6), ([4, 4], 4, 2)])
def test_threads_of_a_cluster_are_divided_among_workers(cpus, workers, threads):
    """A head without CPUs counts for nothing; with workers still to come, each has one thread."""
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": number}} for number in cpus])
    assert on_ray._fair_threads(ray, workers) == threads

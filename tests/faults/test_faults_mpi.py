"""Ranks of MPI that die or fail: nothing hangs, and the same command resumes to the same bytes."""

import signal
import subprocess
import time

import pytest
from mortals import TRAINING, mortal, mpirun, rows_for
from shell import COMMAND, LIMIT


class MpiJob:
    """Commands in a folder with rows, and the file that makes workers die."""

    def __init__(self, folder):
        self.folder, self.death = folder, folder / "death"
        self.rows = rows_for(folder)
        self.model, self.checkpoint = folder / "mpi.fm", folder / "ck"

    def local(self, workers):
        """Return the bytes of the model that so many workers in one process train."""
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
        return (self.folder / "local.fm").read_bytes()

    def start(self, *options, ranks=3):
        """Start a training on ranks, with a checkpoint."""
        return subprocess.Popen(
            mpirun(
                ranks,
                *self.rows,
                *TRAINING,
                "-o",
                "mpi.fm",
                "--checkpoint",
                "ck",
                "--checkpoint-every",
                "1e-6",
                *options,
            ),
            cwd=self.folder,
            env=mortal(self.death),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options, **how):
        """Run it to its end; return its exit code and both output streams."""
        process = self.start(*options, **how)
        out, err = process.communicate(timeout=LIMIT)
        return process.returncode, (out + err).decode()


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return MpiJob(tmp_path_factory.mktemp("mpi"))


@pytest.mark.parametrize(("method", "rank"), [("train", 1), ("merge", 2), ("apply", 0)])
def test_a_rank_is_killed_and_the_same_command_goes_on(job, method, rank):
    job.death.write_text(f"{method} {rank} 9 {signal.SIGKILL:d}")
    process = job.start()
    while job.death.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert not job.model.exists()
    assert job.checkpoint.exists()
    code, said = job.run("--resume")
    assert code == 0, said
    assert "resuming in epoch 1 after" in said
    assert job.model.read_bytes() == job.local(3)
    assert not job.checkpoint.exists()
    job.model.unlink()


@pytest.mark.parametrize(("method", "rank"), [("read", 1), ("split", 0), ("apply", 2)])
def test_an_exception_on_one_rank_ends_all_ranks_and_is_printed_once(job, method, rank):
    job.death.write_text(f"{method} {rank} 1 raise")
    code, said = job.run()
    assert code == 1
    assert said.count("fm: unexpected RuntimeError: a fault for a test") == 1
    assert "Traceback" not in said
    assert not job.model.exists()
    job.checkpoint.unlink(missing_ok=True)


def test_a_signal_saves_and_another_number_of_ranks_resumes(job):
    job.death.write_text(f"apply 0 30 {signal.SIGINT:d}")
    code, said = job.run()
    assert code != 0
    assert "saved to ck; run the same command with --resume" in said
    assert not job.model.exists()
    code, said = job.run("--resume", ranks=2)
    assert code == 0, said
    assert "resuming in epoch 2 after" in said
    assert job.model.exists()
    job.model.unlink()


def test_a_torn_checkpoint_is_refused(job):
    job.death.write_text(f"train 1 20 {signal.SIGKILL:d}")
    assert job.run()[0] != 0
    whole = job.checkpoint.read_bytes()
    job.checkpoint.write_bytes(whole[: len(whole) // 2])
    code, said = job.run("--resume")
    assert (code, "ck" in said) == (4, True)
    job.checkpoint.unlink()

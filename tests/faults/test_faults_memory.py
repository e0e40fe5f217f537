"""Memory and processors: requests that are too large are refused before allocation, exhaustion is reported."""

import os
import re
import resource
import shutil
import subprocess
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from faults import CLASSIFIER, LINUX, Old, ended
from fits import train
from hypothesis import given
from hypothesis import strategies as st
from shell import COMMAND, LIMIT, environment, last_line

from fmcore.errors import ResourceError
from fmcore.hyper.presets import resolve
from fmcore.kernels import backend_for
from fmcore.model.model import initial
from fmcore.optimizers import OPTIMIZERS
from fmcore.rows.batch import Batch
from fmcore.rows.dataset import Dataset
from fmcore.solvers import estimate
from fmcore.system import memory
from fmcore.system.cgroups import folders
from fmcore.system.memory import LEAST, Budget, budget, free
from fmcore.system.threads import default_threads
from fmcore.training.evidence import add_evidence

ADVICE = "take fewer factors (--num-factors), fewer features (where ids are sparse --compact, else --hash-bits), or "


# ------------------------------------------------------------------------------------------------- the estimate
@pytest.mark.parametrize("preset", ["native", "native-1"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("num_factors", "patience"), [(8, None), (11, 1)])
def test_the_memory_estimate_is_close_to_what_training_takes(optimizer, num_factors, patience, preset):
    h = resolve(
        preset,
        predictor_type="regressor",
        num_factors=num_factors,
        optimizer=optimizer,
        epochs=2,
        early_stopping_patience=patience,
    )
    trained(replace(h, feature_dim=100))  # which imports what it takes
    tracemalloc.start()
    try:
        trained(replace(h, feature_dim=100_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.97 * peak < estimate.parameter_bytes(h, 100_000) < 1.1 * peak


def trained(h):
    """Train on a few rows, and test on them where that stops it early."""
    numbers = np.arange(10)
    rows = [
        Batch(
            np.arange(11, dtype=np.int64), numbers.astype(np.int32), None, numbers.astype(np.float32), None, None, None
        )
    ]
    backend = backend_for("cpu")
    dataset = Dataset(lambda: iter(rows), h, backend.prepare, 1 << 30).load()
    dataset.widen(h.feature_dim)
    model = initial(h)
    if dataset.evidence is not None:
        add_evidence(model, dataset.evidence, dataset.mean_label)
    train(model, dataset, backend, test=None if h.early_stopping_patience is None else lambda: iter(rows))


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_rows_get_no_more_memory_than_the_model_leaves(limit, needed):
    found = budget(limit)
    assert found.rows - found.reserved(needed) <= max(0, found.total - needed) or needed > found.total


def test_without_a_limit_rows_get_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda *_: 1 << 30)
    assert budget() == Budget(1 << 30, 1 << 29, given=False)
    assert budget().reserved(1 << 29) == 0
    assert budget().reserved(3 << 28) == 1 << 28
    h = resolve(predictor_type="regressor")
    with pytest.raises(ResourceError, match=r"more than the 1,073,741,824 that are free; .* allow more with --memory"):
        estimate.require_memory(h, 10**8, budget())


@pytest.mark.parametrize("rows", ["1 0:1\n", "1 2147483646:1\n0 1:0.5\n"], ids=["stated", "seen"])
def test_a_model_beyond_all_memory_is_refused_before_it_is_allocated(fm, rows):
    old = Old(fm.folder / "x.fm")
    stated = [] if "2147483646" in rows else ["--feature-dim", 2**31 - 2]
    said = fm("train", "-", *CLASSIFIER, *stated, "--num-factors", 64, "-o", old.path, stdin=rows, code=6).err
    assert re.fullmatch(
        r"fm: training a model of feature_dim 2,147,483,64\d and num_factors 64 with adagrad takes "
        r"about 2,860,448,21\d,\d{3} bytes of memory, more than the [\d,]+ that are free; "
        + re.escape(ADVICE)
        + "allow more with --memory-limit",
        last_line(said),
    )
    assert old.unharmed()


def test_a_model_beyond_the_limit(fm, world):
    old = Old(fm.folder / "x.fm")
    options = (*CLASSIFIER, "--feature-dim", 500_000, "--num-factors", 8, "-o", old.path)
    for limit, allowed in {
        "80M": "83,886,080 that --memory-limit allows",
        "1M": "16,777,216 that --memory-limit, however small, allows",
    }.items():
        said = fm("train", world.train, *options, "--memory-limit", limit, code=6).err
        assert last_line(said) == (
            "fm: training a model of feature_dim 500,000 and num_factors 8 with adagrad takes about 106,000,000 bytes "
            f"of memory, more than the {allowed}; {ADVICE}give more with --memory-limit"
        )
        assert old.unharmed()
    said = fm("train", world.train, *options, "--memory-limit", "106M", "--epochs", 1).err
    assert "in memory; mini-batches of 6; model of 18.0 MB, 106.0 MB while it trains; " in said


def test_rows_that_do_not_fit_beside_the_model_are_streamed(fm, world):
    needed = estimate.parameter_bytes(resolve(predictor_type="binary_classifier", num_factors=8), 100_000)
    assert needed > LEAST
    options = (*CLASSIFIER, "--feature-dim", 100_000, "--num-factors", 8, "--epochs", 2)
    for name, limit, place in (("a.fm", needed + 100_000, "in memory"), ("b.fm", needed, "streamed each epoch")):
        assert place in fm("train", world.train, *options, "-o", name, "--memory-limit", limit).err
    assert fm.read("a.fm") == fm.read("b.fm")


# ----------------------------------------------------------------------------------------- what runs out on the way
TIGHT = """
import re, resource, sys
from pathlib import Path
import fmcli.commands.train, fmcli.commands.predict, fmcli.commands.convert
import fmcore.io.text.codec, fmcore.io.recordio.codec
from fmcore.kernels.cpu import CpuBackend
from fmcli.main import run
CpuBackend(1)
now = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (now + {room}, now + {room}))
run({arguments!r})
"""


OUT_OF_IT = r"fm: (out of memory; try|no further thread could be started; take|.*: no address space left)"


@LINUX
@pytest.mark.parametrize("room", [1 << 20, 3 << 20, 6 << 20, 12 << 20])
def test_an_address_space_that_runs_out_is_a_resource_error(fm, world, room):
    fm.write("x.svm", world.train.read_text() * 100)
    commands = {
        "x.fm": ["train", "x.svm", *CLASSIFIER, "--epochs", "1", "-q", "-o", "x.fm"],
        "y.fm": ["train", "x.svm", *CLASSIFIER, "--epochs", "1", "-q", "-o", "y.fm", "--memory-limit", "1"],
        "x.txt": ["predict", str(world.classifier), "x.svm", "-o", "x.txt"],
        "x.rec": ["convert", "x.svm", "-o", "x.rec", "-q"],
    }
    for name, arguments in commands.items():
        old = Old(fm.folder / name)
        source = TIGHT.format(room=room, arguments=[*arguments, "--threads", "1"])
        process = subprocess.run(
            [COMMAND[0], "-c", source],
            cwd=fm.folder,
            capture_output=True,
            check=False,
            timeout=LIMIT,
            env=environment(),
        )
        said = process.stderr.decode()
        assert process.returncode in (0, 6), said
        assert old.unharmed() == (process.returncode == 6)
        assert process.returncode == 0 or re.match(OUT_OF_IT, last_line(said)), said
        assert not fm.left_over()


@LINUX
def test_a_small_address_space_limits_the_free_memory():
    source = (
        "import resource; from fmcore.system import memory, threads; a = memory.free(); "
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
        "print(memory.free() < 1 << 30, threads.default_threads() <= 4)"
    )
    done = subprocess.run([COMMAND[0], "-c", source], capture_output=True, check=True, env=environment())
    assert done.stdout == b"True True\n"


# ------------------------------------------------------------------------------------------- containers and services
def group(root, name, **files):
    """Make a cgroup's files; underscores stand for dots."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)


@pytest.fixture
def places(tmp_path):
    """Return a root of cgroups, /proc/meminfo with 4 GiB free, and /proc/self/cgroup of a service of systemd."""
    (tmp_path / "meminfo").write_text("MemAvailable:    4194304 kB\n")
    (tmp_path / "membership").write_text("0::/system.slice/night.service\n")
    return tmp_path / "cgroup", tmp_path / "meminfo", tmp_path / "membership"


def test_free_memory_counts_the_limits_of_all_enclosing_cgroups(places):
    root, meminfo, membership = places
    group(root, "system.slice/night.service", memory__max="max\n", memory__current="5\n", cpu__max="max 100000\n")
    assert free(root, meminfo, membership) == 4 << 30
    group(root, "system.slice", memory__max="2000000000\n", memory__current="500000000\n", cpu__max="100000 100000\n")
    assert free(root, meminfo, membership) == 1_500_000_000
    group(root, "system.slice/night.service", memory__max="1000000000\n", memory__current="900000000\n")
    assert free(root, meminfo, membership) == 100_000_000
    assert default_threads(root, membership) == 1


def test_cached_files_of_a_cgroup_count_as_free_memory(places):
    root, meminfo, membership = places
    group(
        root,
        "",
        memory__max="1000000000\n",
        memory__current="900000000\n",
        memory__stat="anon 5\nactive_file 100000000\ninactive_file 200000000\nactive_anon 7\n",
    )
    assert free(root, meminfo, membership) == 400_000_000
    membership.write_text("4:memory:/job\n2:cpu,cpuacct:/job\n")
    group(
        root,
        "memory/job",
        memory__limit_in_bytes="300000000\n",
        memory__usage_in_bytes="250000000\n",
        memory__stat="active_file 1\ninactive_file 2\ntotal_active_file 3000000\ntotal_inactive_file 4000000\n",
    )
    assert free(root, meminfo, membership) == 57_000_000
    group(root, "cpu/job", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    assert default_threads(root, membership) == 1


def test_free_memory_where_the_system_does_not_report_it(tmp_path):
    assert folders("memory", tmp_path, tmp_path / "none") == [tmp_path, tmp_path / "memory"]
    (tmp_path / "odd").write_text("what is this\n")
    assert folders("memory", tmp_path, tmp_path / "odd") == [tmp_path, tmp_path / "memory"]


# -------------------------------------------------------------------------------------------------------- processors
def test_many_more_threads_than_processors_give_the_same_bytes(fm, world):
    for name, threads in (("a.fm", 1), ("b.fm", 64)):
        fm(
            "train",
            world.train,
            *CLASSIFIER,
            "--num-factors",
            16,
            "--epochs",
            2,
            "-o",
            name,
            "--threads",
            threads,
            "-q",
        )
    assert fm.read("a.fm") == fm.read("b.fm")
    assert fm("predict", "a.fm", world.test, "--threads", 64).out == fm("predict", "a.fm", world.test).out


@pytest.mark.parametrize("threads", [0, -1, "two", 1025])
def test_a_bad_number_of_threads_is_refused(fm, world, threads):
    said = fm("train", world.train, *CLASSIFIER, "-o", "x.fm", "--threads", threads, code=2).err
    assert last_line(said).startswith("Error: Invalid value for '--threads': ")
    assert fm.files() == []


@LINUX
@pytest.mark.skipif(not shutil.which("taskset"), reason="there is no taskset")
def test_a_process_bound_to_one_processor_uses_one_thread():
    one = str(min(os.sched_getaffinity(0)))
    said = subprocess.run(
        ["taskset", "-c", one, *COMMAND, "--version"], capture_output=True, check=True, env=environment()
    ).stdout
    assert b"threads 1)" in said


@LINUX
def test_a_user_who_may_start_no_thread_gets_a_resource_error(fm, world):
    process = fm.start(
        "train",
        world.train,
        *CLASSIFIER,
        "-o",
        "x.fm",
        "--threads",
        2,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)),
    )
    if os.geteuid() == 0:
        ended(process, 0)  # whom this limit does not bind
        return
    assert ended(process, 6).startswith("fm: no further thread could be started; ")

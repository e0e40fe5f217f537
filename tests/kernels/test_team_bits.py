"""The bits of a model that the kernels train: the same for any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from rows import PENALTIES, block_of, random_rows, small_model, with_evidence
from shell import LIMIT, ROOT, environment

from fmcore.kernels.cpu import CpuBackend
from fmcore.optimizers import OPTIMIZERS

CROWDED = """
import hashlib, os, sys
import numpy as np
from rows import block_of, random_rows, small_model
from fmcore.kernels import cpu
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
cpu.TEAM_WORK = 0
for threads in (1, 16):
    backend = cpu.CpuBackend(threads)
    trainer, block = backend.trainer(small_model(feature_dim=200)), backend.prepare(
        block_of(random_rows(500, 200), int(sys.argv[1])))
    for _ in range(20):
        trainer.train(block, np.arange(len(block.starts) - 1))
    weights = np.concatenate([array.ravel() for array in trainer.snapshot().tensors().values()])
    print(hashlib.sha256(weights.tobytes()).hexdigest())
"""  # trains in a process that has one processor, by one thread and by more than can run at once


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mini_batch_size", [1, 7, 64, 1000])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_training_gives_the_same_bits_for_any_number_of_threads(optimizer, mini_batch_size, penalty, monkeypatch):
    monkeypatch.setattr("fmcore.kernels.cpu.TEAM_WORK", 0)
    batch = random_rows(500, 200, weights=True)
    model = with_evidence(small_model(feature_dim=200, optimizer=optimizer, **PENALTIES[penalty]), batch)
    results = set()
    for threads in (1, 2, 3, 8):
        backend = CpuBackend(threads)
        trainer, block = backend.trainer(model), backend.prepare(block_of(batch, mini_batch_size))
        outputs = [trainer.train(block, np.arange(len(block.starts) - 1)) for _ in range(3)]
        arrays = [*np.array(outputs).reshape(-1, 500), *trainer.snapshot().tensors().values(), trainer.score(batch)]
        results.add(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    assert len(results) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives no process a part of processors")
@pytest.mark.parametrize("mini_batch_size", [1, 64])
def test_many_threads_on_one_processor_give_the_same_bits(mini_batch_size):
    path = os.pathsep.join([str(ROOT / "tests" / "helpers"), environment().get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", CROWDED, str(mini_batch_size)],
        env=environment(PYTHONPATH=path),
        stdout=subprocess.PIPE,
        check=True,
        timeout=LIMIT,
    )
    alone, crowded = done.stdout.split()
    assert alone == crowded

"""How many threads train: fewer or more, whichever are faster, and every mini-batch once whatever is tried."""

import numpy as np
import pytest
from rows import block_of, random_rows, small_model

from fmcore.kernels import cpu, pace
from fmcore.kernels.cpu import CpuBackend
from fmcore.kernels.pace import Pace
from fmcore.optimizers import OPTIMIZERS

SLICE = np.arange(64)


class Machine:
    """A clock, and work that takes so long a mini-batch by so many threads."""

    def __init__(self, monkeypatch, **seconds):
        self.now, self.calls, self.seconds = 0.0, [], {}
        self.becomes(**seconds)
        monkeypatch.setattr(pace, "perf_counter", lambda: self.now)

    def becomes(self, **seconds):
        self.seconds = {int(name[1:]): taken for name, taken in seconds.items()}

    def work(self, order, threads):
        self.now += len(order) * self.seconds[threads]
        self.calls.append((threads, list(order)))

    def trained(self, chosen, slices):
        """Mini-batches trained by each number of threads in so many slices."""
        self.calls = []
        for _ in range(slices):
            chosen.train(self.work, SLICE)
        assert [m for _, part in self.calls for m in part] == [*SLICE] * slices
        return {n: sum(len(part) for threads, part in self.calls if threads == n) for n in self.seconds}


def test_all_threads_stay_where_they_are_fastest_and_trials_become_rare(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=4.0, t2=2.0, t4=1.0), Pace(4)
    first, later = machine.trained(chosen, 100), machine.trained(chosen, 1000)
    assert first[4] > 0.98 * 100 * len(SLICE)
    assert later[4] > 0.99 * 1000 * len(SLICE)
    assert later[4] < 1000 * len(SLICE)


def test_fewer_are_found_soon_and_more_again_once_they_pay(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=1.0, t2=2.0, t4=3.0, t8=4.0), Pace(8)
    assert machine.trained(chosen, 40)[8] < 13 * len(SLICE)
    assert machine.trained(chosen, 100)[1] > 0.95 * 100 * len(SLICE)
    machine.becomes(t1=8.0, t2=4.0, t4=2.0, t8=1.0)
    machine.trained(chosen, 2 * pace.LONGEST_WAIT)
    assert machine.trained(chosen, 100)[8] > 0.95 * 100 * len(SLICE)


def test_a_number_in_between_is_kept(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=3.0, t2=1.0, t4=3.0), Pace(4)
    machine.trained(chosen, 40)
    assert machine.trained(chosen, 100)[2] > 0.95 * 100 * len(SLICE)


def test_a_difference_within_noise_changes_nothing(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=1.0, t2=1.05), Pace(2)
    assert machine.trained(chosen, 1000)[2] > 0.98 * 1000 * len(SLICE)


def test_what_is_faster_as_a_whole_is_kept_though_single_trials_disagree(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=1.0, t2=1.0), Pace(2)
    steps = iter(range(10**6))

    def work(order, threads):
        halted = next(steps) % 2 and threads == 2  # every other time another process has the processor
        machine.now += len(order) * (3.0 if halted else 0.9 if threads == 2 else 1.0)
        counts[threads] += len(order)

    counts = {1: 0, 2: 0}
    for _ in range(400):
        chosen.train(work, SLICE)
    assert counts[1] > counts[2]


def test_one_thread_and_slices_too_short_for_a_trial(monkeypatch):
    machine = Machine(monkeypatch, t1=1.0)
    assert machine.trained(Pace(1), 9) == {1: 9 * len(SLICE)}
    calls = []
    chosen = Pace(8)
    for _ in range(9):
        chosen.train(lambda order, threads: calls.append((len(order), threads)), SLICE[: pace.PART - 1])
    assert calls == [(pace.PART - 1, 8)] * 9


class Changing:
    """Trains each part of a slice by another number of threads."""

    def train(self, work, order):
        for part, threads in zip(np.array_split(order, 5), (4, 1, 3, 1, 2), strict=True):
            work(part, threads)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_another_number_of_threads_changes_no_bit(monkeypatch, optimizer):
    monkeypatch.setattr(cpu, "TEAM_WORK", 0)
    backend, model = CpuBackend(4), small_model(optimizer=optimizer)
    block = backend.prepare(block_of(random_rows(300), 8))
    found = []
    for chosen in (Pace(1), Changing()):
        trainer = backend.trainer(model)
        trainer._pace = chosen
        told = trainer.train(block, np.arange(len(block.starts) - 1))
        found.append([array.tobytes() for array in (*told, *trainer.snapshot().tensors().values())])
    assert found[0] == found[1]

"""The number of threads that train: fewer or more, whichever are faster, and every mini-batch once in any trial."""

import numpy as np
import pytest
from rows import PENALTIES, block_of, random_rows, small_model, with_evidence

from fmcore.kernels import cpu, pace
from fmcore.kernels.cpu import CpuBackend
from fmcore.kernels.pace import Pace
from fmcore.optimizers import OPTIMIZERS

SLICE = np.arange(64)


class Machine:
    """A clock, and work with a given time per mini-batch for each number of threads."""

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
        """Return how many mini-batches each number of threads trained in so many slices."""
        self.calls = []
        for _ in range(slices):
            chosen.train(self.work, SLICE)
        assert [m for _, part in self.calls for m in part] == [*SLICE] * slices
        return {n: sum(len(part) for threads, part in self.calls if threads == n) for n in self.seconds}


def test_pace_keeps_all_threads_where_they_are_fastest_and_tries_rarely(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=4.0, t2=2.0, t4=1.0), Pace(4)
    first, later = machine.trained(chosen, 100), machine.trained(chosen, 1000)
    assert first[4] > 0.98 * 100 * len(SLICE)
    assert later[4] > 0.99 * 1000 * len(SLICE)
    assert later[4] < 1000 * len(SLICE)


def test_pace_finds_fewer_threads_soon_and_more_once_they_are_faster(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=1.0, t2=2.0, t4=3.0, t8=4.0), Pace(8)
    assert machine.trained(chosen, 40)[8] < 13 * len(SLICE)
    assert machine.trained(chosen, 100)[1] > 0.95 * 100 * len(SLICE)
    machine.becomes(t1=8.0, t2=4.0, t4=2.0, t8=1.0)
    machine.trained(chosen, 2 * pace.LONGEST_WAIT)
    assert machine.trained(chosen, 100)[8] > 0.95 * 100 * len(SLICE)


def test_pace_keeps_a_number_of_threads_in_between(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=3.0, t2=1.0, t4=3.0), Pace(4)
    machine.trained(chosen, 40)
    assert machine.trained(chosen, 100)[2] > 0.95 * 100 * len(SLICE)


def test_pace_ignores_a_difference_within_noise(monkeypatch):
    machine, chosen = Machine(monkeypatch, t1=1.0, t2=1.05), Pace(2)
    assert machine.trained(chosen, 1000)[2] > 0.98 * 1000 * len(SLICE)


def test_pace_takes_the_number_that_is_faster_in_sum_though_single_trials_disagree(monkeypatch):
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


def test_pace_tries_nothing_with_one_thread_or_short_slices(monkeypatch):
    machine = Machine(monkeypatch, t1=1.0)
    assert machine.trained(Pace(1), 9) == {1: 9 * len(SLICE)}
    calls = []
    chosen = Pace(8)
    for _ in range(9):
        chosen.train(lambda order, threads: calls.append((len(order), threads)), SLICE[: pace.PART - 1])
    assert calls == [(pace.PART - 1, 8)] * 9


class Changing:
    """A pace that trains each part of a slice by another number of threads."""

    def train(self, work, order):
        for part, threads in zip(np.array_split(order, 5), (4, 1, 3, 1, 2), strict=True):
            work(part, threads)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_change_of_the_number_of_threads_while_training_changes_no_bit(monkeypatch, optimizer, penalty):
    """The learning rates go on falling from one part to the next."""
    monkeypatch.setattr(cpu, "TEAM_WORK", 0)
    backend, batch = CpuBackend(4), random_rows(300)
    model = with_evidence(small_model(optimizer=optimizer, **PENALTIES[penalty]), batch)
    block = backend.prepare(block_of(batch, 8))
    found = []
    for chosen in (Pace(1), Changing()):
        trainer = backend.trainer(model)
        trainer._pace = chosen
        outputs = trainer.train(block, np.arange(len(block.starts) - 1), 1.0, 0.5)
        found.append([array.tobytes() for array in (*outputs, *trainer.snapshot().tensors().values())])
    assert found[0] == found[1]

"""Recovery of a team that has lost workers, by an engine that loses them where a test chooses."""

from pathlib import Path

import pytest
from shell import libsvm_rows
from teams import Log, team, trained

from fmcore.solvers.team.inprocess import InProcess
from fmcore.solvers.team.lost import DiedError, Lost
from fmcore.solvers.team.team import TRIES
from fmcore.solvers.team.worker import Worker


class Losing(InProcess):
    """An engine that loses worker 1 at its `call`-th call (from 1) of a method, after the others' calls; or each time."""

    def __init__(self, workers, threads, method, call, *, again=False):
        super().__init__(workers, threads)
        self._method, self._left, self._again = method, call, again

    def all(self, name, *args):
        lost = self._due(name)
        there = [worker for number, worker in enumerate(self._workers) if not (lost and number == 1)]
        results = [getattr(worker, name)(*args) for worker in there]
        self._lose(lost)
        return results

    def exchange(self, split, merge, apply, *, alike=False):
        parts = list(zip(*self.all(split), strict=True))
        self._lose(self._due(merge))
        answers = [getattr(worker, merge)(list(own)) for worker, own in zip(self._workers, parts, strict=True)]
        lost, results = self._due(apply), []
        for number, worker in enumerate(self._workers):
            if not (lost and number == 1):
                results.append(getattr(worker, apply)([own if alike else own[number] for own in answers]))
        self._lose(lost)
        return results

    def replace(self):
        self._workers[1] = Worker(1)
        return [1]

    def _due(self, name):
        self._left -= name == self._method
        return name == self._method and (self._left == 0 or (self._again and self._left < 0))

    def _lose(self, lost):
        if lost:
            raise Lost("it is gone")


class Losses(Log):
    def __init__(self):
        super().__init__()
        self.losses = []

    def lost(self, workers, why):
        self.losses.append((workers, why))


@pytest.fixture
def losing(tmp_path, monkeypatch):
    """Make teams lose a worker from here on; how: as for Losing."""
    monkeypatch.chdir(tmp_path)
    Path("train.svm").write_text(libsvm_rows(1500, 1))
    Path("test.svm").write_text(libsvm_rows(300, 2))

    def lose(method, call, **how):
        monkeypatch.setattr(
            "fmcore.solvers.team.inprocess.InProcess",
            lambda workers, threads: Losing(workers, threads, method, call, **how),
        )

    return lose


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("read", 1),
        ("know", 1),
        ("split_sums", 1),
        ("apply_scaling", 1),
        ("place", 1),
        ("begin", 1),
        ("plan", 1),
        ("train", 1),
        ("train", 9),
        ("split", 9),
        ("merge", 9),
        ("apply", 1),
        ("apply", 9),
        ("next_test", 2),
        ("judge", 1),
    ],
)
@pytest.mark.parametrize("preset", ["native", "native-1"])
def test_a_team_that_loses_a_worker_trains_the_same_model(losing, method, call, preset):
    expected = trained("a.fm", test="test.svm", resources=team(3), preset=preset)
    losing(method, call)
    log = Losses()
    assert trained("b.fm", test="test.svm", resources=team(3), observer=log, preset=preset) == expected
    assert log.losses == [([1], "it is gone")]


@pytest.mark.parametrize("method", ["train", "apply"])
def test_loss_of_a_shard_that_no_other_worker_holds_ends_training(losing, method):
    losing(method, 9)
    with pytest.raises(DiedError, match="no other holds: it is gone"):
        trained("b.fm", resources=team(3, dist_state="sharded"))
    assert not Path("b.fm").exists()


def test_training_ends_after_ten_losses_without_a_round(losing):
    losing("train", 5, again=True)
    log = Losses()
    with pytest.raises(DiedError, match=f"lost {TRIES} times"):
        trained("b.fm", resources=team(3), observer=log)
    assert len(log.losses) == TRIES

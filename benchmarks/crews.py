"""Measure rounds of several workers step by step: each worker's CPU seconds, and those of an engine's processes.

To measure an engine, scaling.py runs this file, for example as `mpirun -n 2 python benchmarks/crews.py mpi FILE ...`.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from train_epoch import NO_LIMIT, hyperparameters_for

from fmcore.io.options import ReadOptions
from fmcore.io.sources import dealing
from fmcore.io.sources import source as sources
from fmcore.model.model import initial
from fmcore.rows.sums import LabelSums
from fmcore.schema.encoder import Encoder
from fmcore.solvers.epoch import Epoch
from fmcore.solvers.team.inprocess import InProcess
from fmcore.solvers.team.messages import Orders, Sizes
from fmcore.solvers.team.reports import Parts
from fmcore.solvers.team.rounds import LONGEST
from fmcore.solvers.team.states import owned
from fmcore.solvers.team.team import evidence_of, worker_mini_batch_size
from fmcore.solvers.team.worker import Worker
from fmcore.system.memory import Budget
from fmcore.training.evidence import add_evidence

LEARNING_RATE = 0.5  # times that of one worker; the weights do not matter here, as long as they stay finite
STEPS = ("plan", "ask", "answer", "take", "begin", "train", "split", "merge", "apply")  # "begin" is not in "train"
READ = ("read", "place")
PULL, PUSH = ("ask", "answer", "take"), ("split", "merge", "apply")
TICKS = os.sysconf("SC_CLK_TCK")


class Timed(Worker):
    """A worker that records the CPU seconds of each of its steps, and how many features it needs and merges."""

    def __init__(self, number):
        super().__init__(number)
        self.seconds, self.touched, self.merged = defaultdict(float), 0, 0

    def begin(self, model, age=0):
        """Begin like any worker; the copy that a replica makes at a round's start is timed apart from training."""
        super().begin(model, age)
        self._state.begin = timed(self, "begin", self._state.begin)

    def merge(self, parts):
        """Merge like any worker."""
        merge = self._state.merge

        def counted(merged):
            self.merged = len(merged.features)
            return merge(merged)

        self._state.merge = counted
        try:
            return super().merge(parts)
        finally:
            self._state.merge = merge

    def train(self):
        """Train like any worker."""
        self.touched, before = len(self._features), self.seconds["begin"]
        result = super().train()
        self.seconds["train"] -= self.seconds["begin"] - before  # which `timed` adds to all of it
        return result


def timed(worker, name, call):
    """Return the same function, which also adds its CPU seconds to a worker's."""

    def run(*args):
        start = time.process_time()
        try:
            return call(*args)
        finally:
            worker.seconds[name] += time.process_time() - start

    return run


class TimedInProcess(InProcess):
    """Workers of one thread in this process; own: the Timed workers themselves."""

    def __init__(self, workers):
        super().__init__(workers, 1)
        self.own = self._workers = [Timed(number) for number in range(workers)]
        for worker in self.own:
            for name in {*STEPS, *READ} - {"begin"}:
                setattr(worker, name, timed(worker, name, getattr(worker, name)))


class Crew:
    """Workers that have read a file's rows, and have a new model to train. engine: see fmcore.solvers.team."""

    def __init__(self, engine, path, factors, *, sharded, scale=1):
        h = self._h = hyperparameters_for(factors, scale)
        data, options = sources.find([str(path)]), ReadOptions(threads=1, index_base="0")
        parts = dealing.deal(data, options, engine.workers).parts
        read, tests = (Parts.of(each, data, options) for each in (parts, [[]] * engine.workers))
        orders = Orders(
            engine.workers,
            read,
            tests,
            Encoder(),
            h,
            1,
            Budget(NO_LIMIT, NO_LIMIT, given=True),
            "sharded" if sharded else "replica",
        )
        learned = engine.all("read", orders)
        rows, non_zeros = sum(each.rows for each in learned), sum(each.non_zeros for each in learned)
        labels = LabelSums.merged([each.labels for each in learned])
        engine.all("know", labels)
        engine.exchange("split_sums", "merge_sums", "apply_scaling", alike=True)
        size = worker_mini_batch_size(rows, non_zeros, engine.workers)
        ready = engine.all("place", Sizes(h.feature_dim, size, sharded))
        model = initial(h, labels.mean)
        add_evidence(model, evidence_of(ready, h.feature_dim, labels, ready[0].scaling.far), labels.mean)
        for worker in range(engine.workers):
            engine.one(worker, "begin", owned(model, worker, engine.workers) if sharded else model)
        self.engine, self.sharded, self.rows = engine, sharded, rows // engine.workers

    def round(self, rows, first=0, around=nullcontext):
        """Train a round of `rows` rows of each worker, from its row number `first` on; return the bytes sent by all.

        around: a context manager that what workers exchange happens in.
        """
        engine, all_rows = self.engine, self.rows
        epoch = Epoch(0, before=0, lr=LEARNING_RATE, hyperparameters=self._h)
        engine.all("plan", epoch, first, min(first + rows, all_rows), all_rows)
        if self.sharded:
            with around():
                engine.exchange(*PULL)
        engine.all("train")
        with around():
            return sum(engine.exchange(*PUSH, alike=True))


# -------------------------------------------------------------------------------------------- engines of processes
def processes(engine):
    """Return the ids of an engine's processes: its workers, and all that this process has started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid(), *(number for *_, number in engine.all("where"))}
    while more := {number for number, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu_seconds(numbers):
    """Return the CPU seconds that processes have used so far, together."""
    total = 0
    for number in numbers:
        with suppress(OSError):
            total += sum(map(int, Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return total / TICKS


def measured(engine, options):
    """Return the measurements of an engine.

    rounds: for each (bytes sent, CPU seconds of the exchanges, of all processes and of this one alone).
    call: seconds until all workers have answered the leader.
    """
    crew, rounds = Crew(engine, options.path, options.factors, sharded=options.sharded), []
    numbers, spent = processes(engine), []

    @contextmanager
    def around():
        before, own = cpu_seconds(numbers), time.process_time()
        yield
        spent.append((cpu_seconds(numbers) - before, time.process_time() - own))

    last = crew.rows - options.rows
    for first in range(0, last + 1, options.rows)[: options.rounds]:
        spent.clear()
        rounds.append((crew.round(options.rows, first, around), *map(sum, zip(*spent, strict=True))))
    start = time.perf_counter()
    for _ in range(20):
        engine.all("where")
    return {"rounds": rounds, "call": (time.perf_counter() - start) / 20}


def main():
    """Print the measurements as a line of JSON."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("engine", choices=("local", "mpi", "ray"))
    made.add_argument("path")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--factors", type=int, default=8)
    made.add_argument("--rows", type=int, default=LONGEST)
    made.add_argument("--rounds", type=int, default=1 << 30)
    made.add_argument("--sharded", action="store_true")
    options = made.parse_args()
    if options.engine == "local":
        print(json.dumps(measured(InProcess(options.workers, 1), options)))
    elif options.engine == "ray":
        from fmcore.solvers.team.on_ray import Ray

        engine = Ray(options.workers, 1, "local")
        print(json.dumps(measured(engine, options)), flush=True)
        engine.close()
    else:
        from fmcore.solvers.team.on_mpi import leader, led

        with led() as leads:
            if leads:
                print(json.dumps(measured(leader(1), options)), flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""The engine of one process, in which workers run one after the other."""

from fmcore.solvers.team.worker import Worker
from fmcore.system.threads import default_threads


class InProcess:
    """The engine of one process; see fmcore.solvers.team. threads: None for all processors."""

    name = "in one process"

    def __init__(self, workers, threads):
        self.workers, self.threads = workers, threads or default_threads()
        self._workers = [Worker(number) for number in range(workers)]

    def all(self, name, *args):
        """Call a method of every worker; see fmcore.solvers.team."""
        return [getattr(worker, name)(*args) for worker in self._workers]

    def one(self, worker, name, *args):
        """Call a method of one worker; see fmcore.solvers.team."""
        return getattr(self._workers[worker], name)(*args)

    def exchange(self, split, merge, apply, *, alike=False):
        """Split, merge and apply; see fmcore.solvers.team."""
        parts = zip(*self.all(split), strict=True)
        answers = [getattr(worker, merge)(list(own)) for worker, own in zip(self._workers, parts, strict=True)]
        return [
            getattr(worker, apply)([answer if alike else answer[number] for answer in answers])
            for number, worker in enumerate(self._workers)
        ]

    def close(self):
        """Release all workers; see fmcore.solvers.team."""
        self._workers = []


def opened(team, threads):
    """Return the engine for TeamOptions; threads: of each worker, None for all that there are."""
    return InProcess(team.workers, threads)

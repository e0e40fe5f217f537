"""The search: workers train trials side by side, a study decides what comes next."""
import multiprocessing
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from time import monotonic

from fmcore.errors import ResourceError
from fmcore.tuning import worker
from fmcore.tuning.worker import DONE, ERROR, PRUNED, REPORT

DEATHS = 3  # workers in a row that end in the midst of a trial before the search gives up


class Follower:
    """What a search tells while it runs; a command overrides what it wants to show."""

    def ended(self, tried, best, under_way):
        """A trial has ended: how many trials have in all, the best of them so far (Tried or None), how many go on."""


def search(study, space, job, *, jobs=1, timeout=None, follower=None):
    """Train trials of the space in `jobs` processes until the study has enough or `timeout` seconds have passed.

    job: a worker.Job. follower: a Follower. A trial that fails for another reason than diverging ends the search with
    its error.
    """
    follower = follower or Follower()
    deadline = None if timeout is None else monotonic() + timeout
    with team(job, jobs) as workers:
        _Search(study, space, workers, deadline, follower).run()


class _Search:
    """The talk with the workers; `under_way` holds the trial of each that has one."""

    def __init__(self, study, space, workers, deadline, follower):
        self._study, self._space, self._workers = study, space, workers
        self._deadline, self._follower = deadline, follower
        self._under_way, self._deaths = {}, 0

    def run(self):
        for connection in self._workers.connections():
            self._give(connection)
        while self._under_way:
            left = None if self._deadline is None else max(0, self._deadline - monotonic())
            ready = wait(list(self._under_way), left)
            if not ready:
                self._give_up()
            for connection in ready:
                try:
                    message = connection.recv()
                except EOFError:
                    connection = self._replace(connection)
                else:
                    self._deaths = 0
                    if message[0] == REPORT:
                        connection.send(self._study.report(self._under_way[connection], *message[1:]))
                        continue
                    self._end(self._under_way.pop(connection), message)
                self._give(connection)

    def _give(self, connection):
        """Let a worker train the next trial, if there is one and time is left."""
        trial = None if self._deadline is not None and monotonic() >= self._deadline else self._study.ask()
        if trial is not None:
            self._under_way[connection] = trial
            connection.send(self._space.hyperparameters(trial.values))

    def _end(self, trial, message):
        kind, *content = message
        if kind == ERROR:
            self._study.tell(trial, problem=str(content[0]))
            raise content[0]
        if kind == DONE:
            self._study.tell(trial, content[0], **content[1])
        else:
            self._study.tell(trial, pruned=kind == PRUNED, **content[0])
        tried = self._study.tried()
        best = tried[0] if tried[0].value is not None else None
        self._follower.ended(tried, best, len(self._under_way))

    def _replace(self, connection):
        """Put a new worker in the place of one that has died."""
        trial = self._under_way.pop(connection)
        self._study.tell(trial, problem="its process died")
        self._deaths += 1
        if self._deaths == DEATHS:
            raise ResourceError("the processes that train keep dying, for want of memory perhaps; take fewer --jobs, or "
                                "a smaller --memory-limit")
        return self._workers.replace(connection)

    def _give_up(self):
        """Leave the trials under way: time is over."""
        for trial in self._under_way.values():
            self._study.tell(trial, pruned=True, problem="time was over")
        self._under_way = {}


class Team:
    """Processes that run worker.work, each by its connection."""

    def __init__(self, job):
        self._job, self._context, self._processes = job, multiprocessing.get_context("spawn"), {}

    def add(self):
        """Start one; its connection."""
        mine, its = self._context.Pipe()
        process = self._context.Process(target=worker.work, args=(self._job, its), daemon=True)
        process.start()
        its.close()
        self._processes[mine] = process
        return mine

    def connections(self):
        """Of all that are there."""
        return list(self._processes)

    def replace(self, connection):
        """Start one in the place of one that has ended."""
        self._processes.pop(connection).join()
        connection.close()
        return self.add()

    def end(self):
        """End them all, in the midst of what they do."""
        for connection, process in self._processes.items():
            process.terminate()
            with suppress(OSError):
                connection.close()
        for process in self._processes.values():
            process.join()


@contextmanager
def team(job, size):
    """A Team of that size, which ends with the block."""
    members = Team(job)
    try:
        for _ in range(size):
            members.add()
        yield members
    finally:
        members.end()

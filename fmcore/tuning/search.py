"""The search: workers train trials side by side, a study decides what comes next."""

import multiprocessing
import signal
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from threading import current_thread, main_thread
from time import monotonic, sleep

from fmcore.errors import FMError, ResourceError
from fmcore.tuning import worker
from fmcore.tuning.study import PROBLEM
from fmcore.tuning.worker import ERROR, PRUNED, REPORT

DEATHS = 3  # workers in a row that end in the midst of a trial before the search gives up
POLL = 0.5  # seconds between two looks at what other runs do
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RAISED_AGAIN = signal.SIGALRM  # by which a program raises what such a signal has raised in vain


class Follower:
    """What a search tells while it runs; a command overrides what it wants to show."""

    def ended(self, tried, best):
        """A trial has ended: all trials that have, those of other runs too, and the best of them (Tried or None)."""


def search(study, space, job, *, jobs=1, timeout=None, follower=None):
    """Train trials of the space in `jobs` processes until the study has enough or `timeout` seconds have passed.

    job: a worker.Job. follower: a Follower. A trial that cannot be trained, for another reason than diverging or want
    of memory, ends the search with its error.
    """
    deadline = None if timeout is None else monotonic() + timeout
    with team(job, jobs) as workers:
        _Search(study, space, workers, deadline, follower or Follower()).run()


class _Search:
    """The talk with the workers; `under_way` holds the trial of each that has one."""

    def __init__(self, study, space, workers, deadline, follower):
        self._study, self._space, self._workers = study, space, workers
        self._deadline, self._follower = deadline, follower
        self._under_way, self._deaths = {}, 0

    def run(self):
        """Train all trials. Signals are heard only where there is nothing to do.

        One within a library's work on the study spoils it, one while a trial changes hands leaves it under way unknown.
        """
        try:
            with _signals_wait():
                self._fill()
            while self._goes_on():
                if not self._under_way:
                    sleep(min(POLL, self._left() or POLL))
                    with _signals_wait():
                        self._fill()
                    continue
                ready = wait(list(self._under_way), self._left())
                if not ready:
                    return  # time is over
                for connection in ready:
                    with _signals_wait():
                        self._hear(connection)
        finally:
            with _signals_wait(), suppress(FMError):  # of a study that can no longer be written, which has been said
                for trial in self._under_way.values():
                    self._study.withdraw(trial)

    def _goes_on(self):
        """Whether there is a trial under way, here or where it may end without a result."""
        with _signals_wait():
            return bool(self._under_way) or (self._left() != 0 and self._study.waits())

    def _left(self):
        """Seconds until the search ends, or None."""
        return None if self._deadline is None else max(0, self._deadline - monotonic())

    def _fill(self):
        """Let idle workers train the next trials, if there are any and time is left."""
        while len(self._under_way) < self._workers.size and self._left() != 0:
            trial = self._study.ask()
            if trial is None:
                return
            connection = self._workers.idle(self._under_way)
            self._under_way[connection] = trial
            _send(connection, self._space.hyperparameters(trial.values))

    def _hear(self, connection):
        """Take in what a worker has to say."""
        try:
            kind, *content = connection.recv()
        except (EOFError, OSError):
            self._bear_death(connection)
            return
        self._deaths = 0
        trial = self._under_way[connection]
        if kind == REPORT:
            _send(connection, self._study.report(trial, *content))
        elif kind == ERROR:
            raise content[0]
        else:
            self._end(connection, *content, pruned=kind == PRUNED)

    def _end(self, connection, value, info, *, pruned=False):
        self._study.tell(self._under_way.pop(connection), value, pruned=pruned, **info)
        tried = self._study.tried()
        self._follower.ended(tried, tried[0] if tried[0].value is not None else None)
        self._fill()

    def _bear_death(self, connection):
        """Go on without a worker that has died; another takes its place."""
        self._workers.bury(connection)
        self._deaths += 1
        if self._deaths == DEATHS:
            raise ResourceError(
                "the processes that train keep dying, for want of memory perhaps; take fewer --jobs, "
                "or a smaller --memory-limit"
            )
        self._end(connection, None, {"seconds": 0.0, PROBLEM: "its process died"})


def _send(connection, message):
    with suppress(OSError):  # of a worker that has died, which shows when it is next heard
        connection.send(message)


class Team:
    """Up to `size` processes that run worker.work, each by its connection."""

    def __init__(self, job, size):
        self.size, self._job = size, job
        self._context, self._processes = multiprocessing.get_context("spawn"), {}

    def idle(self, busy):
        """The connection of a process that is not among the busy ones, which is started if need be."""
        return next((connection for connection in self._processes if connection not in busy), None) or self._start()

    def bury(self, connection):
        """Let go of one that has died."""
        self._processes.pop(connection).join()
        connection.close()

    def end(self):
        """End them all, in the midst of what they do."""
        for process in self._processes.values():
            process.kill()
        for connection, process in self._processes.items():
            process.join()
            connection.close()

    def _start(self):
        mine, its = self._context.Pipe()
        process = self._context.Process(target=worker.work, args=(self._job, its), daemon=True)
        process.start()
        self._processes[mine] = process
        its.close()
        return mine


@contextmanager
def _signals_wait():
    """Hold back signals that end us in the block; a process that is started in it inherits that, and gets known.

    They are blocked for what is started, and noted here until the block ends: a library's thread may take one that this
    thread blocks, and Python then handles it in this one.
    """
    resource_tracker.ensure_running()  # which lets them through again when it starts
    before, came = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING), []
    handlers = {number: handler for number in (*ENDING, RAISED_AGAIN) if callable(handler := signal.getsignal(number))}
    if current_thread() is not main_thread():  # where no signal is handled
        handlers = {}
    for number in handlers:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            handlers[came[0]](came[0], None)


@contextmanager
def team(job, size):
    """A Team that ends with the block."""
    members = Team(job, size)
    try:
        yield members
    finally:
        members.end()

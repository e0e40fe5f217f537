"""The search: worker processes train trials side by side, and the study chooses the next trial."""

import multiprocessing
import signal
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from threading import current_thread, main_thread
from time import monotonic, sleep

from fmcore.errors import FMError, ResourceError
from fmcore.tuning import worker
from fmcore.tuning.trials import PROBLEM
from fmcore.tuning.worker import ERROR, PRUNED, REPORT

DEATHS = 3  # workers in a row that die during a trial before the search gives up
POLL = 0.5  # seconds between two checks of the trials of other runs
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RAISED_AGAIN = signal.SIGALRM  # used by a program to raise an ending signal's exception again where it was swallowed


class SearchObserver:
    """Methods that a search calls while it runs; a command overrides those that it wants to show."""

    def ended(self, tried, best):
        """Take note that a trial has ended.

        tried: all trials that have ended, those of other runs too. best: the best of them (Tried or None).
        """


def search(study, context, *, jobs=1, timeout=None, observer=None):
    """Train trials in `jobs` processes until the study has enough or `timeout` seconds have passed.

    study: a study.Study, or what else has its methods ask, waits, report, tell, withdraw and tried.
    context: a worker.TrialContext. observer: a SearchObserver. Where a trial cannot be trained for any other reason
    than divergence or lack of memory, the search raises that trial's error.
    """
    deadline = None if timeout is None else monotonic() + timeout
    with worker_pool(context, jobs) as workers:
        _Search(study, workers, deadline, observer or SearchObserver()).run()


class _Search:
    """One search: its messages to and from the workers; `_running` maps each busy worker's connection to its trial."""

    def __init__(self, study, workers, deadline, observer):
        self._study, self._workers = study, workers
        self._deadline, self._observer = deadline, observer
        self._running, self._deaths = {}, 0

    def run(self):
        """Train all trials, and handle signals only while the search waits.

        A signal that interrupts a library's work on the study would damage the study, and one that arrives while a
        trial is handed to a worker would leave that trial running without being recorded.
        """
        try:
            with _signals_wait():
                self._fill()
            while self._is_unfinished():
                if not self._running:
                    sleep(min(POLL, self._left() or POLL))
                    with _signals_wait():
                        self._fill()
                    continue
                ready = wait(list(self._running), self._left())
                if not ready:
                    return  # the time limit is reached
                for connection in ready:
                    with _signals_wait():
                        self._hear(connection)
        finally:
            with _signals_wait(), suppress(FMError):  # the study can no longer be written, which was already reported
                for trial in self._running.values():
                    self._study.withdraw(trial)

    def _is_unfinished(self):
        """Return whether a trial is running, here or in another run, where it may end without a result."""
        with _signals_wait():
            return bool(self._running) or (self._left() != 0 and self._study.waits())

    def _left(self):
        """Return the seconds until the time limit, or None without one."""
        return None if self._deadline is None else max(0, self._deadline - monotonic())

    def _fill(self):
        """Assign the next trials to idle workers, if there are any and time is left."""
        while len(self._running) < self._workers.size and self._left() != 0:
            trial = self._study.ask()
            if trial is None:
                return
            connection = self._workers.idle(self._running)
            self._running[connection] = trial
            _send(connection, trial.hyperparameters)

    def _hear(self, connection):
        """Receive and handle one message of a worker."""
        try:
            kind, *content = connection.recv()
        except (EOFError, OSError):
            self._replace(connection)
            return
        self._deaths = 0
        trial = self._running[connection]
        if kind == REPORT:
            _send(connection, self._study.report(trial, *content))
        elif kind == ERROR:
            raise content[0]
        else:
            self._end(connection, *content, pruned=kind == PRUNED)

    def _end(self, connection, value, info, *, pruned=False):
        self._study.tell(self._running.pop(connection), value, pruned=pruned, **info)
        tried = self._study.tried()
        self._observer.ended(tried, tried[0] if tried[0].value is not None else None)
        self._fill()

    def _replace(self, connection):
        """Count the trial of a worker that has died as failed, and continue with a new worker."""
        self._workers.remove(connection)
        self._deaths += 1
        if self._deaths == DEATHS:
            raise ResourceError(
                "the training processes keep dying, perhaps for lack of memory; use fewer --jobs "
                "or a smaller --memory-limit"
            )
        self._end(connection, None, {"seconds": 0.0, PROBLEM: "its process died"})


def _send(connection, message):
    with suppress(OSError):  # the worker has died, which `_hear` notices
        connection.send(message)


class WorkerPool:
    """Up to `size` processes that run worker.work, each known by its connection."""

    def __init__(self, context, size):
        self.size, self._trial_context = size, context
        self._context, self._processes = multiprocessing.get_context("spawn"), {}

    def idle(self, busy):
        """Return the connection of a process that is not among the busy ones; start one if need be."""
        return next((connection for connection in self._processes if connection not in busy), None) or self._start()

    def remove(self, connection):
        """Remove a process that has died."""
        self._processes.pop(connection).join()
        connection.close()

    def end(self):
        """Kill all processes, whatever they are doing."""
        for process in self._processes.values():
            process.kill()
        for connection, process in self._processes.items():
            process.join()
            connection.close()

    def _start(self):
        mine, its = self._context.Pipe()
        process = self._context.Process(target=worker.work, args=(self._trial_context, its), daemon=True)
        process.start()
        self._processes[mine] = process
        its.close()
        return mine


@contextmanager
def _signals_wait():
    """Delay the signals that end this process until the block is left.

    They are blocked, which processes started in the block inherit, so that each of them is recorded before a signal
    can end anything. They are also caught and noted here until the block ends: a thread of a library may receive a
    signal that this thread blocks, and Python then runs the handler in this one.
    """
    resource_tracker.ensure_running()  # now, as its start unblocks the signals
    before, received = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING), []
    handlers = {number: handler for number in (*ENDING, RAISED_AGAIN) if callable(handler := signal.getsignal(number))}
    if current_thread() is not main_thread():  # only the main thread handles signals
        handlers = {}
    for number in handlers:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if received:
            handlers[received[0]](received[0], None)


@contextmanager
def worker_pool(context, size):
    """Provide a WorkerPool that ends with the block."""
    pool = WorkerPool(context, size)
    try:
        yield pool
    finally:
        pool.end()

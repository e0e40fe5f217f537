"""The processes of a server: one that listens and supervises, and workers, each with its own map of one model file."""

import errno
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import closing
from functools import partial

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from fmcli.console import say
from fmcli.server.app import application
from fmcli.server.guard import Guard, affordable
from fmcore import api
from fmcore.errors import FMError, UsageError

START_LIMIT = 120  # seconds in which a worker must have started
STOP_LIMIT = 25  # seconds for running requests to finish when the server is stopped; SageMaker kills it after 30
SILENCE_LIMIT = 15  # seconds without an answer to a health check after which a worker is replaced
BACKLOG = 2048  # connections that wait for a worker
ACCESS_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "access": {
            "()": "uvicorn.logging.AccessFormatter",
            "use_colors": False,
            "fmt": '%(asctime)s %(client_addr)s "%(request_line)s" %(status_code)s',
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "access"}},
    "loggers": {"uvicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
}
REASONS = {
    errno.EADDRINUSE: "the port is in use; choose another with --port, or 0 for any that is free",
    errno.EACCES: "not allowed; ports below 1024 are reserved for the system",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def run(model_path, settings):
    """Run the server; see fmcli.server.serve."""
    scorer_of(model_path, settings)
    settings = affordable(settings)
    sys.stdin = None  # uvicorn would open it again in the workers, which read no input
    with closing(listening(settings.host, settings.port)) as listener:
        supervisor = Supervisor(configuration(model_path, settings), [listener])
        supervisor.ready = f"fm: serving {model_path} on {address(listener)}, {count(settings.workers, 'worker')}"
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise FMError("a worker could not start, so the server has stopped; the reason is printed above")


def scorer_of(model_path, settings):
    """Return a Scorer over the model as it is in the file now."""
    return api.Scorer(api.load(model_path), settings.threads, by_position=settings.by_position)


def listening(host, port):
    """Return a socket that listens there; raise UsageError where the address is not available."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = REASONS.get(error.errno) or error.strerror or error
        raise UsageError(f"cannot listen on {host}, port {port}: {why}") from None


def address(listener):
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def count(number, noun):
    """Return the number with its noun."""
    return f"{number} {noun}{'s' * (number != 1)}"


def configuration(model_path, settings):
    """Return uvicorn's configuration, which is sent to the workers, where the application is made from it."""
    return Config(
        partial(worker, model_path, settings),
        factory=True,
        interface="asgi3",
        lifespan="off",
        ws="none",
        http=partial(Guard, settings),
        workers=settings.workers,
        backlog=BACKLOG,
        proxy_headers=False,
        server_header=False,
        access_log=settings.access_log,
        log_config=ACCESS_LOG if settings.access_log else None,
        timeout_graceful_shutdown=STOP_LIMIT,
        timeout_worker_healthcheck=SILENCE_LIMIT,
    )


def worker(model_path, settings):
    """Return the application of one worker, which ends when its supervisor does."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a line for each malformed request would fill disks
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    try:
        return application(scorer_of(model_path, settings), settings)
    except FMError as error:
        say(f"fm: worker {os.getpid()}: {error}")
        sys.exit(STARTUP_FAILURE)


def _end_with(parent):
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


class Supervisor(Multiprocess):
    """uvicorn's supervisor, which replaces workers that die; this one reports that, and other events users need."""

    ready = None  # the message once all workers answer

    def init_processes(self):
        """Start the workers."""
        super().init_processes()
        if all(process.wait_until_ready(START_LIMIT) for process in self.processes):
            say(self.ready)

    def keep_subprocess_alive(self):
        """Replace workers that have died."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if old is not new:
                say(f"fm: worker {old.pid} has ended; {new.pid} replaces it")

    def handle_hup(self):
        """Replace all workers, one after the other, so that they read the model anew."""
        before = list(self.processes)
        super().handle_hup()
        replaced = sum(old is not new for old, new in zip(before, self.processes, strict=True))
        say(f"fm: {count(replaced, 'worker')} of {len(before)} replaced, serving the current model file")

    def terminate_all(self):
        """Stop all workers; the listener is closed here, so that new connections are refused at once."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

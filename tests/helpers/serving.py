"""`fm serve` as a process of its own on a free port of this machine, and a client."""

import asyncio
import http.client
import os
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from shell import LIMIT

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="processes are looked at in /proc")


class Answer(NamedTuple):
    """A response."""

    status: int
    type: str
    body: bytes
    headers: dict


class Server:
    """A running server."""

    def __init__(self, process, port):
        self.process, self.port, self.code = process, port, None

    def connect(self):
        """Return a connection, which http.client opens with its first request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)

    def post(self, body, content_type="application/json", accept=None, connection=None, **options):
        """Send POST /invocations, on a connection of its own unless one is given."""
        headers = {"Content-Type": content_type, "Accept": accept}
        return self.ask(
            "POST",
            "/invocations",
            body,
            {name: value for name, value in headers.items() if value},
            connection=connection,
            **options,
        )

    def ask(self, method, path, body=None, headers=None, *, connection=None, **options):
        """Send any request."""
        used = connection or self.connect()
        used.request(method, path, body, headers or {}, **options)
        response = used.getresponse()
        found = Answer(response.status, response.headers.get("content-type"), response.read(), dict(response.headers))
        if connection is None:
            used.close()
        return found

    def raw(self, *parts):
        """Return a socket to which these bytes have been sent."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
        for part in parts:
            opened.sendall(part)
        return opened

    def refuses(self):
        """Return whether it accepts no more connections."""
        try:
            self.raw().close()
        except OSError:
            return True
        return False

    def workers(self):
        """Return the process ids of the workers, by their command lines."""
        children = [path for path in Path("/proc").glob("[0-9]*/stat") if parent(path) == self.process.pid]
        return sorted(
            int(path.parent.name) for path in children if b"spawn_main" in path.with_name("cmdline").read_bytes()
        )

    def stop(self, number=signal.SIGTERM):
        """Stop it; return its output after it was ready."""
        self.process.send_signal(number)
        said = self.process.stderr.read().decode()
        self.code = self.process.wait(LIMIT)
        return said


def parent(stat):
    """Return the parent's id in /proc/N/stat, None where that process has ended meanwhile."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


@contextmanager
def serving(fm, model, *options, workers=1, **process_options):
    """Provide a Server of the model; unless the test has stopped it, it must end well when stopped."""
    process = fm.start(
        "serve", model, "--port", 0, "--workers", workers, *options, stdin=None, stdout=None, **process_options
    )
    killer = threading.Timer(3 * LIMIT, process.kill)
    killer.start()
    try:
        line = process.stderr.readline().decode()
        found = re.fullmatch(r"fm: serving (.*) on http://127\.0\.0\.1:(\d+), (\d+) workers?\n", line)
        assert found, line + process.stderr.read().decode()
        assert (found[1], int(found[3])) == (str(model), workers)
        server = Server(process, int(found[2]))
        yield server
        if server.code is None:
            assert "Traceback" not in server.stop()
            assert server.code == 0
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


def wait_for(condition):
    """Wait until the condition holds; return its value."""
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < end, f"not so within {LIMIT} s"
        time.sleep(0.02)
    return found


def alive(pid):
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


HEADERS = [(b"content-type", b"application/json")]


async def ask(app, method, path, *parts, headers=HEADERS, more=False):
    """Return (status, headers, body) for a request whose body comes in these parts, and never ends with more=True."""
    sent, events = [], [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not more:
        events.append({"type": "http.request", "body": b"", "more_body": False})
    events.reverse()

    async def receive():
        return events.pop() if events else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    await app(
        {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 2),
        },
        receive,
        send,
    )
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])

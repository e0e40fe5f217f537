"""Measure requests a second of `fm serve`, one worker, beside a handler on the same server that only reads the body.

A separate process sends requests over a few open connections; both servers answer with bodies of the same size.
"""

import asyncio
import contextlib
import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import clicks
from measure import FM, ROOT, medians, parser, print_second_processor, print_setting
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from fmcore.hyper.presets import resolve
from fmcore.io.recordio import codec as recordio
from fmcore.model import file as modelfile
from fmcore.model.model import initial

FACTORS = 16
CONNECTIONS = 8
REQUESTS = {1: 4000, 1000: 100}  # rows a request -> requests a run
TYPES = {"JSON": "application/json", "recordIO": "application/x-recordio-protobuf"}


async def nothing(request):
    """Read the body; answer as many zeros as the path names."""
    await request.body()
    return Response(bytes(request.path_params["size"]), media_type=request.headers["content-type"])


trivial = Starlette(routes=[Route("/{size:int}", nothing, methods=["POST"])])


def body_of(batch, name):
    """Return the rows as a request: sparse instances, or records."""
    if name == "recordIO":
        return recordio.encode(batch, clicks.feature_dim())
    rows = batch.indices.reshape(len(batch), -1).tolist()
    return json.dumps(
        {
            "instances": [
                {"data": {"features": {"keys": row, "shape": [clicks.feature_dim()], "values": [1] * len(row)}}}
                for row in rows
            ]
        }
    ).encode()


def request_of(path, media_type, body):
    """Return the bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection(asyncio.Protocol):
    """A connection that sends a request, and the next one after each answer, while requests are left."""

    def __init__(self, request, left, done):
        self._request, self._left, self._done = request, left, done
        self._answer, self._size = bytearray(), None

    def connection_made(self, transport):
        """Begin to send."""
        self._transport = transport
        self._next()

    def data_received(self, data):
        """Send the next request where an answer is complete."""
        self._answer += data
        if self._size is None and b"\r\n\r\n" in self._answer:
            head, _, _ = bytes(self._answer).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), bytes(self._answer)
            self._size = len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].split()[0])
        if len(self._answer) == self._size:
            self._answer, self._size = bytearray(), None
            self._next()

    def _next(self):
        if next(self._left, None) is None:
            self._transport.close()
            self._done.set_result(None)
        else:
            self._transport.write(self._request)


async def asked(port, request, requests):
    """Send `requests` requests over all connections, each waiting for its answers."""
    loop, left = asyncio.get_running_loop(), iter(range(requests))
    waiting = [loop.create_future() for _ in range(CONNECTIONS)]
    for done in waiting:
        await loop.create_connection(lambda done=done: Connection(request, left, done), "127.0.0.1", port)
    await asyncio.gather(*waiting)


def generate(orders, finished):
    """Generate load: execute orders until an empty one."""
    while order := orders.recv():
        asyncio.run(asked(*order))
        finished.send(None)


@contextlib.contextmanager
def server(*command):
    """Provide the port of a server that this command starts when --port is appended; it is stopped at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = subprocess.Popen([*map(str, command), "--port", str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        started.terminate()
        started.wait()


@contextlib.contextmanager
def generator():
    """Provide a function (port, request, requests) that has the other process send them, and waits."""
    (orders, order), (finished, finish) = (multiprocessing.Pipe() for _ in range(2))
    asking = multiprocessing.Process(target=generate, args=(order, finish), daemon=True)
    asking.start()

    def ask(*wanted):
        orders.send(wanted)
        finished.recv()

    yield ask
    orders.send(None)
    asking.join()


def compare(ask, ports, batch, name, runs):
    """Print requests a second of both for these rows in this format."""
    body, rows = body_of(batch, name), len(batch)
    count = REQUESTS[rows] if runs > 1 else CONNECTIONS
    size = rows * (47 if name == "JSON" else 90)  # of an answer, about
    requests = {
        "fm": request_of("/invocations", TYPES[name], body),
        "trivial": request_of(f"/{size}", TYPES[name], body),
    }
    times = medians(
        {who: lambda who=who: ask(ports[who], requests[who], count) for who in requests}, runs, f"{name}, {rows} rows"
    )
    rates = {who: count / seconds for who, seconds in times.items()}
    print(
        f"{name:8} {rows:5,} rows, {len(body):7,} bytes: {rates['fm']:7,.0f} requests/s, {rows * rates['fm']:9,.0f} "
        f"rows/s; trivial {rates['trivial']:7,.0f} requests/s, ratio {rates['fm'] / rates['trivial']:.2f}"
    )


def main():
    """Print a line for each size and format."""
    options = parser(__doc__.splitlines()[0]).parse_args()
    print_setting()
    print_second_processor(options.runs)
    batch = clicks.generated(max(REQUESTS))
    hyperparameters = resolve(predictor_type="binary_classifier", num_factors=FACTORS, feature_dim=clicks.feature_dim())
    uvicorn = [sys.executable, "-m", "uvicorn", "serve:trivial", "--app-dir", "benchmarks", "--no-access-log"]
    with tempfile.TemporaryDirectory() as folder, generator() as ask:
        model = Path(folder, "model.fm")
        modelfile.save(initial(hyperparameters), model)
        with server(*FM, "serve", model, "--workers", 1) as own, server(*uvicorn) as other:
            for rows in REQUESTS:
                for name in TYPES:
                    compare(ask, {"fm": own, "trivial": other}, batch.take(slice(rows)), name, options.runs)


if __name__ == "__main__":
    main()

"""`fm serve` under hostile requests: the cost of each is bounded, and others are answered meanwhile."""

import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest
from serving import needs_proc, serving
from shell import LIMIT, Shell

from fmcli.server.app import SMALL
from fmcli.server.guard import HEAD_BYTES, HEADERS, QUEUED

GOOD = b'{"instances": [{"features": [1.5, 0, 2]}]}'
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
CHUNKED = (
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
CONNECTIONS, PAYLOAD = 40, 1 << 20
TIMEOUT = 2  # seconds, only where it is waited for that they pass


@contextmanager
def quiet(world, folder, timeout):
    """Run a server that must not have printed anything when it is stopped."""
    limits = ("--max-payload", PAYLOAD, "--timeout", timeout, "--max-connections", CONNECTIONS)
    with serving(Shell(folder), world.classifier, *limits) as server:
        yield server
        assert server.stop() == ""
        assert server.code == 0


@pytest.fixture(scope="module")
def server(world, tmp_path_factory):
    """Provide a server whose time limits a slow machine does not reach."""
    with quiet(world, tmp_path_factory.mktemp("hostile"), LIMIT) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(world, tmp_path_factory):
    """Provide a server that waits no longer than TIMEOUT, for requests that never end."""
    with quiet(world, tmp_path_factory.mktemp("impatient"), TIMEOUT) as server:
        yield server


def answers(client):
    """Return all bytes received until the connection ends."""
    found = b""
    with client, suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            found += piece
    return found


def flood(client, piece, most):
    """Send a piece again and again; return the bytes sent until the other side closed."""
    sent = 0
    with suppress(ConnectionError):
        while sent < most:
            client.sendall(piece)
            sent += len(piece)
    return sent


# ------------------------------------------------------------------------------------------------ heads and framing
@pytest.mark.parametrize("parts", [[b"GET /ping HT"], [PING[:-2]], [HEAD[:60]], [PING, b"GET"]])
def test_a_head_without_end_gets_408(impatient, parts):
    """Both as the first request and after others."""
    found = answers(impatient.raw(b"".join(parts)))
    assert found.count(b"HTTP/1.1 200") == len(parts) - 1
    assert b"HTTP/1.1 408 " in found
    assert found.endswith(b"the head of the request did not arrive in time")


def test_a_client_that_sends_nothing_is_disconnected(impatient):
    assert answers(impatient.raw()) == b""


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /ping?", b"a" * 4096),
        (b"GET /ping HTTP/1.1\r\nX: ", b"a" * 4096),
        (b"GET /ping HTTP/1.1\r\n", b"a: b\r\n"),
        (b"GET /ping HTTP/1.1\r\nX", b"a" * 4096),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
        (CHUNKED + b"0\r\nX: ", b"a" * 4096),
        (CHUNKED + b"1;", b"a" * 4096),
        (CHUNKED + b"1\r\n{\r\n0\r\na: ", b"b" * 4096),
        (b"", b"\r\n" * 1000),
    ],
)
def test_heads_and_trailers_without_end_are_cut_off(server, begin, piece):
    """The client sends until the connection is closed, long before it has sent 50 MB."""
    with server.raw(begin) as client:
        assert flood(client, piece * 8, 50 << 20) < 50 << 20
    assert server.post(GOOD).status == 200


def test_header_lines_up_to_the_limit_are_accepted(server):
    for lines, status in ((HEADERS - 1, b"200"), (HEADERS, b"431")):  # the host is one of them
        head = b"GET /ping HTTP/1.1\r\nHost: x\r\n%s\r\n" % b"".join(b"x%d: y\r\n" % n for n in range(lines))
        with server.raw(head) as client:
            assert client.recv(12) == b"HTTP/1.1 " + status
    for size, status in ((HEAD_BYTES // 2, b"200"), (100 << 10, b"431")):
        with server.raw(b"GET /ping HTTP/1.1\r\nX: ", b"y" * size) as client, suppress(ConnectionError):
            client.sendall(b"\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 " + status


@pytest.mark.parametrize(
    "request_",
    [
        b"\0\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET http://[::1/ping HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        *(
            b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\n%s\r\n\r\n{}" % line
            for line in (
                b"Content-Length: -1",
                b"Content-Length: 1\r\nContent-Length: 2",
                b"Content-Length: 99999999999999999999",
                b"Content-Length: 0x2",
                b"Content-Length: 2\r\nTransfer-Encoding: chunked",
                b"Transfer-Encoding: x",
                b"Transfer-Encoding: chunked, identity",
                b" folded: x",
                b"no colon",
                b"a\0b: c",
            )
        ),
    ],
)
def test_bytes_that_are_no_http_request_are_refused(server, request_):
    with server.raw(request_) as client:
        status = client.recv(12)
    assert status in {b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 405"}
    assert server.post(GOOD).status == 200


@pytest.mark.parametrize("chunk", [b"zz\r\n{\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"1\r\n{}}}"])
def test_malformed_chunks_are_refused(server, chunk):
    assert answers(server.raw(CHUNKED, chunk)).startswith(b"HTTP/1.1 400 ")


def test_a_wrong_content_length_gets_400_or_408(server, impatient):
    short = answers(server.raw(HEAD % 10, GOOD))
    assert short.startswith(b"HTTP/1.1 400 ")
    assert b"not JSON" in short
    assert answers(impatient.raw(HEAD % (len(GOOD) + 1), GOOD)).startswith(b"HTTP/1.1 408 ")


def test_upgrade_requests_are_answered_without_an_upgrade(server):
    head = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with server.raw(head) as client:
        assert client.recv(15) == b"HTTP/1.1 200 OK"


# ----------------------------------------------------------------------------------------------------------- bodies
@pytest.mark.parametrize(
    "body",
    [
        b'{"instances":' * 80_000,
        b"[" * PAYLOAD,
        b'{"instances": [' + b"[" * 900 + b"]" * 900 + b"]}",
        b'{"instances": [' + b"[]," * 300_000 + b"[]]}",
        b'{"instances": [{"features": [' + b"9" * 5000 + b"]}]}",
        b'{"instances": [{"features": [1e999]}]}',
        b'{"instances": [{"features": [NaN]}]}',
        b"\xff" * 1000,
        b'{"instances": [{"features": {"keys": [-1], "values": [1]}}]}',
        b'{"instances": [{"features": [1], "id": "\\ud800"}]}',
        b'{"instances": [{"features": {"keys": [0], "values": [1], "shape": [99999999999999999999]}}]}',
    ],
)
def test_hostile_json_gets_a_client_error(server, body):
    answer = server.post(body)
    assert answer.status == 400
    assert len(answer.body) < 400


@pytest.mark.parametrize(
    "body",
    [
        bytes.fromhex("0a23d7ceffffffff"),
        bytes.fromhex("0a23d7ce") + bytes(4) * 200_000 + b"x",
        b"\x0a\x23\xd7\xce" * 200_000,
    ],
)
def test_hostile_records_get_a_client_error(server, body):
    assert server.post(body, "application/x-recordio-protobuf").status == 400


def test_a_body_without_end_is_cut_off(server):
    chunk = b"10000\r\n%s\r\n" % bytes(1 << 16)
    for begin in (CHUNKED, HEAD % (1 << 40)):
        with server.raw(begin) as client:
            assert flood(client, chunk, 200 << 20) < 200 << 20
    assert server.post(GOOD).status == 200


def test_a_body_in_very_small_chunks_is_refused(server):
    fits = b" " * 900 + GOOD
    for piece, status in ((1, b"200"), (20, b"200")):
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(part), part) for part in (fits[at : at + piece] for at in range(0, len(fits), piece))
        )
        with server.raw(CHUNKED, chunks, b"0\r\n\r\n") as client:
            assert client.recv(12) == b"HTTP/1.1 " + status
    with server.raw(CHUNKED) as client:
        assert flood(client, b"1\r\n \r\n" * 1000, 6 * PAYLOAD) < 6 * PAYLOAD


# ------------------------------------------------------------------------------------------- pipelines, half-closed
def test_good_requests_before_garbage_are_answered(server):
    found = answers(server.raw(PING * 3 + b"\0garbage\r\n\r\n"))
    assert found.count(b"HTTP/1.1 200") == 3
    found = answers(server.raw((HEAD % len(GOOD) + GOOD) * 2 + b"}{\r\n" * 100))
    assert (found.count(b"HTTP/1.1 200"), found.count(b'"score"')) == (2, 2)


def test_pipelined_requests_beyond_the_limit_are_refused(server):
    client = server.raw(PING * 5000)
    found = answers(client).count(b"HTTP/1.1 200")
    assert QUEUED <= found < 5000
    assert server.post(GOOD).status == 200


def test_a_client_that_closed_its_sending_side_is_answered(server):
    for body in (GOOD, GOOD + b" " * (SMALL + 1)):
        client = server.raw(HEAD % len(body), body)
        client.shutdown(1)
        assert answers(client).startswith(b"HTTP/1.1 200 OK")
    client = server.raw(HEAD % len(GOOD), GOOD[:-1])
    client.shutdown(1)
    assert answers(client) == b""


# ------------------------------------------------------------------------------------------------ many connections
def test_silent_connections_are_closed_for_new_ones(server):
    for begin in (b"", PING[:9], HEAD % 100 + b"{"):
        held = [server.raw(begin) for _ in range(3 * CONNECTIONS)]
        connection = server.connect()
        assert all(server.post(GOOD, connection=connection).status == 200 for _ in range(5))
        connection.close()
        assert answers(held[0])[:13] in {b"", b"HTTP/1.1 503 ", b"HTTP/1.1 408 "}
        for client in held:
            client.close()


@needs_proc
def test_a_thousand_hostile_connections_and_good_ones_beside_them(server):
    """Each good one is answered, and the worker is not much larger afterwards."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("a process may not open as many files")
    worker = server.workers()[0]
    before, stop = resident(worker), Event()
    kinds = [
        b"",
        b"GET /ping HTTP/1.1\r\nX: ",
        HEAD % PAYLOAD + b"{" * 100_000,
        HEAD % len(GOOD),
        PING * 500,
        b"\xff" * 5000,
        HEAD % PAYLOAD + b"[" * PAYLOAD,
        CHUNKED + b"1\r\n[\r\n" * 3000,
    ]

    def attack(number):
        for turn in range(125):
            if stop.is_set():
                return
            with suppress(OSError), server.raw() as client:
                client.settimeout(0.05)
                client.sendall(kinds[(number + turn) % len(kinds)])
                client.recv(100)

    with ThreadPoolExecutor(8) as pool:
        attackers = [pool.submit(attack, number) for number in range(8)]
        good = 0
        while not all(attacker.done() for attacker in attackers) and good < 400:
            assert server.post(GOOD).status == 200
            good += 1
        stop.set()
    assert good > 10
    assert server.workers() == [worker]
    assert resident(worker) - before < 150 << 20


def resident(process):
    """Return the bytes of resident memory of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()

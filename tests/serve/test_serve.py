"""`fm serve` from a client's view: answers to right and wrong requests, and to many at once."""

import http.client
import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import serving, wait_for
from shell import LIMIT, Shell

JSON, LINES, RECORDS = "application/json", "application/jsonlines", "application/x-recordio-protobuf"
KNOWN = "application/json, application/jsonlines, application/x-recordio-protobuf and text/csv"
PATHS = "expected POST /invocations, GET /ping and GET /execution-parameters"
GOOD = b'{"instances": [{"features": [1.5, 0, 2]}]}'
PAYLOAD = 100 << 10
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def server(world, tmp_path_factory):
    fm = Shell(tmp_path_factory.mktemp("server"))
    with serving(fm, world.classifier, "--max-payload", PAYLOAD, "--timeout", LIMIT, workers=2) as server:
        yield server


def test_ping_and_execution_parameters_are_answered(server):
    answer = server.ask("GET", "/ping")
    assert (answer.status, answer.body) == (200, b"")
    answer = server.ask("GET", "/execution-parameters")
    assert (answer.status, answer.type) == (200, JSON)
    assert json.loads(answer.body) == {
        "MaxConcurrentTransforms": 2,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 1,
    }


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "sentence"),
    [
        (GOOD, None, None, 415, f"the request has no Content-Type; expected {KNOWN}"),
        (GOOD, "text/html; charset=utf-8", None, 415, f"Content-Type text/html is not known; expected {KNOWN}"),
        (
            b"a,b\n1,2\n",
            "text/csv",
            None,
            400,
            "request: the body is a table, but features are known by index instead of columns; give rows of the format of training, or take columns as indices, in their order, with --by-position",
        ),
        (
            GOOD,
            JSON,
            "text/html, image/*",
            406,
            f"Accept text/html, image/* allows no supported type; predictions are given as {KNOWN}",
        ),
        (b"[", JSON, None, 400, "request: not JSON: Expecting value: line 1 column 2 (char 1)"),
        (
            b'{"instances": [{"features": [1]}, {"features": ["1"]}]}',
            JSON,
            None,
            400,
            "request, row 2, field features[0]: expected a number, found a string",
        ),
        (
            b'{"features": [1]}\n\n{"features": {"keys": [3], "values": []}}',
            LINES,
            None,
            400,
            "request, line 3, field features.keys: 1 keys but 0 values",
        ),
        (
            GOOD,
            RECORDS,
            None,
            400,
            "request, record 1, byte 0: a record begins with 0a 23 d7 ce, found 7b 22 69 6e; is this recordIO-protobuf?",
        ),
        (
            bytes.fromhex("0a23d7ce"),
            RECORDS,
            None,
            400,
            "request, record 1, byte 0: truncated: 4 bytes of a frame's 8-byte header, then the end",
        ),
        (b"x" * (PAYLOAD + 1), JSON, None, 413, "the body has 102,401 bytes; at most 102,400 are accepted"),
    ],
)
def test_wrong_requests_are_answered_with_status_and_sentence(server, body, content_type, accept, status, sentence):
    answer = server.post(body, content_type, accept)
    assert (answer.status, answer.body.decode()) == (status, sentence)
    assert answer.type == "text/plain; charset=utf-8"


def test_a_compressed_body_is_refused(server):
    answer = server.ask("POST", "/invocations", GOOD, {"Content-Type": JSON, "Content-Encoding": "gzip"})
    assert (answer.status, answer.body) == (415, b"Content-Encoding gzip is not known; send the body as it is")


def test_wrong_paths_and_methods_are_answered_with_404_and_405(server):
    answer = server.ask("GET", "/invocation")
    assert (answer.status, answer.body.decode()) == (404, f"unknown path /invocation; {PATHS}")
    answer = server.ask("GET", "/invocations")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.body.decode() == f"GET /invocations is not allowed; {PATHS}"
    assert server.ask("DELETE", "/ping").status == 405


def test_a_body_of_the_largest_size_is_accepted_and_one_byte_more_refused(server):
    fits = GOOD + b" " * (PAYLOAD - len(GOOD))
    connection = server.connect()
    for body, status in ((fits, 200), (fits + b" ", 413), (GOOD, 200), (b"x" * (20 * PAYLOAD), 413), (GOOD, 200)):
        assert server.post(body, connection=connection).status == status
    connection.close()


def test_a_chunked_body_is_answered(server):
    def chunked(body):
        pieces = [body[start : start + 5000] for start in range(0, len(body), 5000)]
        return server.post(iter(pieces), encode_chunked=True)

    fits = GOOD + b" " * (PAYLOAD - len(GOOD))
    assert (chunked(GOOD).body, chunked(fits).status) == (server.post(GOOD).body, 200)
    for beyond in (1, 20 * PAYLOAD):
        answer = chunked(fits + b" " * beyond)
        assert (answer.status, answer.body) == (
            413,
            b"the body has more than 102,400 bytes, the most that are accepted",
        )


def test_a_client_that_expects_100_continue_is_refused_before_it_sends(server):
    head = (HEAD % (PAYLOAD + 1)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    with server.raw(head) as client:
        assert client.recv(12) == b"HTTP/1.1 413"
    head = (HEAD % len(GOOD)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    with server.raw(head) as client:
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(GOOD)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_client_too_slow_with_its_body_gets_408(fm, world):
    with serving(fm, world.classifier, "--timeout", 2) as server, server.raw(HEAD % len(GOOD), GOOD[:-1]) as client:
        assert server.post(GOOD).status == 200
        response = http.client.HTTPResponse(client)
        response.begin()
        assert (response.status, response.headers["connection"]) == (408, "close")
        assert response.read() == b"the body did not arrive within 2 seconds"
        assert client.recv(1) == b""


def test_clients_that_leave_or_send_garbage_do_not_harm_others(server):
    for parts in ([], [b"GET /pi"], [HEAD % 100], [HEAD % 100, b"{"], [b"\0\xff\r\n\r\n"], [b"GET / HTTP/9.9\r\n\r\n"]):
        server.raw(*parts).close()
    assert server.ask("GET", "/ping").status == 200  # that it left no traceback is seen when the server is stopped


def test_requests_on_one_connection_are_all_answered(server):
    connection = server.connect()
    first = server.post(GOOD, connection=connection)
    used = connection.sock
    assert all(server.post(GOOD, connection=connection) == first for _ in range(20))
    assert server.post(b"{", connection=connection).status == 400
    assert server.post(GOOD, connection=connection) == first
    assert connection.sock is used
    connection.close()


def test_pipelined_requests_are_answered_in_order(server):
    bodies = [json.dumps({"instances": [{"features": [1], "id": number}]}).encode() for number in range(5)]
    with server.raw(b"".join(HEAD % len(body) + body for body in bodies)) as client:
        found = b""
        while found.count(b"]}\n") < len(bodies):
            found += client.recv(1 << 16)
    assert [part.partition(b'"')[0] for part in found.split(b'"id":"')[1:]] == [b"0", b"1", b"2", b"3", b"4"]


def test_fifty_clients_at_once_each_get_their_own_answer(server, world, fm):
    rng = random.Random(1)
    rows = [[round(rng.uniform(-3, 3), 3) for _ in range(4)] for _ in range(50)]
    text = "".join("0 " + " ".join(f"{i}:{x}" for i, x in enumerate(row)) + "\n" for row in rows)
    want = fm("predict", world.classifier, "--to", "jsonlines", stdin=text).out.splitlines()

    def client(number):
        connection = server.connect()
        repeat = 1 + 300 * (number % 10 == 0)  # some are answered in a thread
        body = (json.dumps({"features": rows[number]}) + "\n") * repeat
        answers = {server.post(body, LINES, connection=connection).body.decode() for _ in range(10)}
        connection.close()
        return answers == {(want[number] + "\n") * repeat}

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(client, range(50)))


def test_the_access_log_is_written_only_with_its_option(fm, world):
    with serving(fm, world.regressor, "--access-log") as server:
        server.ask("GET", "/ping?x")
        server.post(GOOD, "text/html")
        said = server.stop().splitlines()
    assert [line.rpartition(" 127.0.0.1:")[2].partition(" ")[2] for line in said] == [
        '"GET /ping?x HTTP/1.1" 200 OK',
        '"POST /invocations HTTP/1.1" 415 Unsupported Media Type',
    ]


def test_a_large_request_does_not_delay_others(fm, world):
    body = b"\n".join([b'{"features": [1.5, 0, 2], "id": 1}'] * 60_000)  # by the slow road
    with serving(fm, world.regressor, "--max-payload", "20M") as server, ThreadPoolExecutor(1) as pool:
        large = pool.submit(server.post, body, LINES)
        pings = 0
        while not large.done():
            assert server.ask("GET", "/ping").status == 200
            pings += 1
        assert len(large.result().body.splitlines()) == 60_000
        assert pings > 3
        assert wait_for(large.done)

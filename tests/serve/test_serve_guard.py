"""The limits of a server's connections and memory, where they depend on slow answers or many requests at once."""

import asyncio
import resource
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import Event

from shell import LIMIT
from uvicorn import Config
from uvicorn.server import ServerState

from fmcli.server import Settings, guard
from fmcli.server.app import LARGE_AT_ONCE, SMALL, application
from fmcli.server.budget import ByteBudget
from fmcli.server.guard import Guard, affordable

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
CHUNKED = HEAD[: -len(b"Content-Length: %d\r\n\r\n")] + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = HEAD % (SMALL + 1) + b" " * (SMALL + 1)
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


class SizedSlowScorer:
    """A scorer that answers large bodies when it is released, with a given number of bytes."""

    def __init__(self, size=10):
        self.released, self.running, self.most, self.size = Event(), [], 0, size

    def predictions(self, body, _asked, _given):
        self.running.append(body)
        self.most = max(self.most, len(self.running))
        if len(body) > SMALL:
            assert self.released.wait(LIMIT)
        self.running.pop()
        return b"x" * self.size


@asynccontextmanager
async def guarded(scorer, **settings):
    """Provide the port of a server in this process, and its state."""
    settings = Settings(**settings)
    config = Config(
        application(scorer, settings),
        http=partial(Guard, settings),
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        scorer.released.set()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.tasks and not state.connections)


async def sent(port, *parts):
    """Return the streams of a connection to which these bytes were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(parts))
    await writer.drain()
    return reader, writer


async def whole(port, *parts):
    """Return all answers until the connection ends."""
    reader, writer = await sent(port, *parts)
    try:
        return await asyncio.wait_for(reader.read(), LIMIT)
    finally:
        writer.close()


def last(request):
    """Return the request as the last one of its connection."""
    return request.replace(b"Host: x", b"Host: x\r\nConnection: close")


async def until(condition):
    """Wait until the condition holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.01)


def test_a_new_connection_is_refused_where_all_others_wait_for_the_server():
    async def scenario():
        scorer = SizedSlowScorer()
        async with guarded(scorer, connections=3) as (port, _):
            busy = [await sent(port, LARGE) for _ in range(3)]
            await until(lambda: len(scorer.running) == 3)
            found = await whole(port)
            scorer.released.set()
            answered = [await asyncio.wait_for(reader.readline(), LIMIT) for reader, _ in busy]
            for _, writer in busy:
                writer.close()
            return found, answered

    found, answered = asyncio.run(scenario())
    assert found.startswith(b"HTTP/1.1 503 ")
    assert found.endswith(b"the server has too many connections; try again")
    assert answered == [b"HTTP/1.1 200 OK\r\n"] * 3


def test_threads_of_requests_given_up_keep_their_places():
    async def scenario(scorer):
        async with guarded(scorer, timeout=2) as (port, _):
            found = [
                answer
                for _ in range(2)
                for answer in await asyncio.gather(*(whole(port, LARGE) for _ in range(3 * LARGE_AT_ONCE)))
            ]
            running, pinged = len(scorer.running), await whole(port, last(PING))
            scorer.released.set()
            return found, running, pinged

    scorer = SizedSlowScorer()
    found, running, pinged = asyncio.run(scenario(scorer))
    assert {answer[:13] for answer in found} == {b"HTTP/1.1 504 "}
    assert (running, scorer.most) == (LARGE_AT_ONCE, LARGE_AT_ONCE)
    assert pinged.startswith(b"HTTP/1.1 200 OK\r\n")


def test_bodies_beyond_the_byte_budget_are_refused_until_bytes_are_free(monkeypatch):
    monkeypatch.setattr("fmcli.server.app.BUDGET", 0)

    async def scenario(scorer):
        async with guarded(scorer, max_payload=SMALL + 1) as (port, _):
            busy = [await sent(port, LARGE) for _ in range(2)]  # which is all the room
            await until(lambda: len(scorer.running) == 2)
            refused, small = await whole(port, last(LARGE)), await whole(port, last(HEAD) % 2, b"{}")
            scorer.released.set()
            first = [await asyncio.wait_for(reader.readline(), LIMIT) for reader, _ in busy]
            for _, writer in busy:
                writer.close()
            again = await whole(port, last(LARGE))
            return refused, small, first, again

    refused, small, first, again = asyncio.run(scenario(SizedSlowScorer()))
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert refused.endswith(b"other requests use all the memory set aside for requests; try again")
    assert small.startswith(b"HTTP/1.1 200 ")
    assert first == [b"HTTP/1.1 200 OK\r\n"] * 2
    assert again.startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_no_client_reads_is_dropped_and_takes_little_memory(monkeypatch):
    monkeypatch.setattr(guard, "GRACE", 0.1)

    async def scenario():
        async with guarded(SizedSlowScorer(100 << 20), timeout=0.3) as (port, state):
            reader, writer = await sent(port, HEAD % 2, b"{}")
            reader._transport.pause_reading()
            most = 0
            while state.connections:
                most = max(most, *(connection.transport.get_write_buffer_size() for connection in state.connections))
                await asyncio.sleep(0)
            writer.close()
            return most

    assert 0 < asyncio.run(scenario()) < 1 << 20


def test_the_rest_of_a_refused_body_is_discarded_within_limits(monkeypatch):
    monkeypatch.setattr(guard, "GRACE", 0.2)
    monkeypatch.setattr(guard, "DISCARDED", 1 << 20)

    async def scenario(piece):
        async with guarded(SizedSlowScorer(), max_payload=10, timeout=LIMIT) as (port, state):
            reader, writer = await sent(port, CHUNKED)
            with suppress(ConnectionError):
                for _ in range(10_000):
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await writer.drain()
                    if not state.connections and reader.at_eof():
                        break
                    await asyncio.sleep(0.01 if len(piece) < 100 else 0)
            writer.close()
            return len(state.connections)

    assert asyncio.run(scenario(b"x" * 60_000)) == 0
    assert asyncio.run(scenario(b"x" * 20)) == 0


def test_the_time_limit_of_a_head_begins_again_after_each_answer():
    async def scenario():
        async with guarded(SizedSlowScorer(), timeout=2) as (port, state):
            reader, writer = await sent(port, PING)
            await reader.readline()
            writer.write(PING[:5])
            found = await asyncio.wait_for(reader.read(), LIMIT)
            writer.close()
            return found, len(state.connections)

    found, left = asyncio.run(scenario())
    assert b"HTTP/1.1 408 " in found
    assert left == 0


# ------------------------------------------------------------------------------------------------------------ parts
def test_byte_budget_reserves_no_more_than_is_free():
    budget = ByteBudget(10)
    assert budget.reserve(10)
    assert not budget.reserve(1)
    budget.release(4)
    with budget.occupied(100):
        assert not budget.reserve(0)
    assert budget.reserve(4)
    budget.release(10)
    with budget.reservation() as reservation:
        assert reservation.grow_to(6)
        assert reservation.grow_to(8)
        assert not reservation.grow_to(11)
        assert budget.free == 2
    assert budget.free == 10
    with budget.reservation() as reservation:
        assert reservation.grow_to(3)
        reservation.keep()
    assert budget.free == 7


def test_connections_are_limited_by_the_number_of_open_files(monkeypatch):
    limits = {"now": (256, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    assert affordable(Settings(connections=1000)).connections == 1000
    assert limits["now"] == (1064, 4096)
    assert affordable(Settings(connections=10)).connections == 10
    assert affordable(Settings(connections=9000)).connections == 4096 - 64
    limits["now"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert affordable(Settings(connections=9000)).connections == 9000

"""The ASGI application by itself: behaviour that depends on how long an answer takes."""

import asyncio
import threading
from contextlib import contextmanager

import pytest
from serving import ask
from shell import LIMIT

from fmcli.server import Settings
from fmcli.server.app import LARGE_AT_ONCE, SMALL, application

LARGE = bytes(SMALL + 1)


class SlowScorer:
    """A scorer that answers large bodies only when it is released."""

    def __init__(self):
        self.released, self.begun, self.running, self.most = threading.Event(), threading.Semaphore(0), [], 0

    def predictions(self, body, _asked, _given):
        self.running.append(body)
        self.most = max(self.most, len(self.running))
        if len(body) > SMALL:
            self.begun.release()
            assert self.released.wait(LIMIT)
        self.running.pop()
        return b"answer"


@contextmanager
def slow():
    """Return a SlowScorer scorer that is released at the end, whatever happens."""
    scorer = SlowScorer()
    try:
        yield scorer
    finally:
        scorer.released.set()


def test_an_answer_that_is_not_ready_in_time_is_a_504():
    async def scenario(scorer):
        return await ask(application(scorer, Settings(timeout=0.05)), "POST", "/invocations", LARGE)

    with slow() as scorer:
        status, headers, body = asyncio.run(scenario(scorer))
    assert (status, headers[b"connection"]) == (504, b"close")
    assert body == b"the answer was not ready within 0.05 seconds"


def test_a_body_that_does_not_arrive_in_time_is_a_408():
    async def scenario(scorer):
        return await ask(application(scorer, Settings(timeout=0.05)), "POST", "/invocations", b"{", more=True)

    status, headers, body = asyncio.run(scenario(SlowScorer()))
    assert (status, headers[b"connection"]) == (408, b"close")
    assert body == b"the body did not arrive within 0.05 seconds"


def test_pings_and_small_requests_are_answered_beside_large_ones():
    async def scenario(scorer):
        app = application(scorer, Settings())
        large = [asyncio.create_task(ask(app, "POST", "/invocations", LARGE)) for _ in range(LARGE_AT_ONCE + 3)]
        for _ in range(LARGE_AT_ONCE):
            await asyncio.to_thread(scorer.begun.acquire)
        assert (await ask(app, "GET", "/ping"))[0] == 200
        assert (await ask(app, "POST", "/invocations", b"small"))[2] == b"answer"
        assert not any(task.done() for task in large)
        scorer.most = 0
        scorer.released.set()
        return await asyncio.gather(*large)

    with slow() as scorer:
        assert [answer[::2] for answer in asyncio.run(scenario(scorer))] == [(200, b"answer")] * (LARGE_AT_ONCE + 3)
    assert scorer.most <= LARGE_AT_ONCE


@pytest.mark.parametrize("parts", [[bytes(60)], [bytes(30), bytes(30), bytes(1000)]])
def test_a_body_is_not_read_beyond_the_limit(parts):
    async def scenario():
        return await ask(application(SlowScorer(), Settings(max_payload=50)), "POST", "/invocations", *parts, more=True)

    status, _, body = asyncio.run(scenario())
    assert (status, body) == (413, b"the body has more than 50 bytes, the most that are accepted")


def test_execution_parameters_follow_the_settings():
    async def scenario(settings):
        return (await ask(application(SlowScorer(), settings), "GET", "/execution-parameters"))[2]

    assert asyncio.run(scenario(Settings(workers=3))) == (
        b'{"MaxConcurrentTransforms":3,"BatchStrategy":"MULTI_RECORD","MaxPayloadInMB":6}'
    )
    assert b'"MaxPayloadInMB":1}' in asyncio.run(scenario(Settings(max_payload=10)))
    assert Settings().workers >= 1

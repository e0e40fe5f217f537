"""A worker's connections held to limits: how many there are, what a head may hold, how long each may take.

uvicorn reads requests of any head, for any time, on any number of connections. What is done about it here:

- Beyond Settings.connections, the one whose client has been silent longest makes room for a new one; where all of them
  wait for the server, the new one is refused with 503.
- A head must be complete HEAD_TIME seconds after it began (408), and has HEADERS lines and HEAD_BYTES at most (431).
  Bytes that bring neither a head's end nor a part of a body, such as trailers and remarks on chunks, count alike.
- A body in more than PARTS parts has PART bytes in each of them on average (400), since each costs time.
- From the end of its head a request may take twice Settings.timeout and GRACE: the application ends bodies that come
  late and answers that take long within that, so what is cut off are answers that nobody takes. The rest of a body
  that was refused is passed over, as most clients read an answer only when they have sent all, for GRACE seconds and
  PASSED_OVER bytes.
- Requests that come in before their turn are QUEUED at most; what is wrong behind good ones lets those be answered.
"""

import resource
from dataclasses import replace

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_TIME = 10  # seconds
HEAD_BYTES = 32 << 10
HEADERS = 100
PARTS, PART = 1000, 16
PASSED_OVER = 16 << 20
QUEUED = 20
GRACE = 5  # seconds
SPARE_FILES = 64  # that a worker has open beside its connections
HEAD, BODY = "head", "body"
SENTENCES = {
    400: "the body comes in too many small chunks",
    408: "the head of the request did not arrive in time",
    431: "the head of the request is too large",
    503: "there are as many connections as can be held; try again",
}


def affordable(settings):
    """The Settings with no more connections than this process and its children may have open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections + SPARE_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else soft
    return replace(settings, connections=max(1, min(settings.connections, files - SPARE_FILES)))


class Guard(HttpToolsProtocol):
    """uvicorn's protocol of a connection, within the limits.

    heard: when the client last sent something. due: when the connection ends unless it has come further by then.
    """

    def __init__(self, settings, **uvicorns):
        super().__init__(**uvicorns)
        self._settings, self._head_time = settings, min(HEAD_TIME, settings.timeout)
        self._timer, self._due, self.heard = None, 0, 0
        self._reading = None  # the HEAD or BODY of a request
        self._came_further, self._without = False, 0  # the second: bytes since it last did
        self._parts = self._size = 0  # of the body
        self._passed_over = 0  # bytes of it

    # ---------------------------------------------------------------------------------- what the transport tells
    def connection_made(self, transport):
        """A client has connected."""
        super().connection_made(transport)
        self.heard = self.loop.time()
        self._allow(self._head_time)
        if len(self.connections) > self._settings.connections:
            self._make_room()

    def connection_lost(self, exc):
        """It is over."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data):
        """Bytes have come."""
        self.heard, self._came_further = self.loop.time(), False
        super().data_received(data)
        self._without = 0 if self._came_further else self._without + len(data)
        if self._without > HEAD_BYTES:
            self._refuse(431)

    def eof_received(self):
        """The client sends no more; it still gets the answers to what it has sent in full. Whether to stay open."""
        if not self._answering or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    # ------------------------------------------------------------------------------------- what the parser tells
    def on_message_begin(self):
        """The first byte of a head."""
        super().on_message_begin()
        self._reading = HEAD
        self._allow(self._head_time)

    def on_header(self, name, value):
        """A line of a head, or of the trailers behind a body in chunks."""
        if len(self.headers) >= HEADERS:
            self._refuse(431)
            raise ValueError(name)
        super().on_header(name, value)

    def on_headers_complete(self):
        """The end of a head."""
        if len(self.pipeline) >= QUEUED:
            raise ValueError(QUEUED)
        self._came_further, self._reading = True, BODY
        self._parts = self._size = self._passed_over = 0
        super().on_headers_complete()
        self._allow(self._request_time)

    def on_body(self, body):
        """A part of a body."""
        self._came_further = True
        self._parts += 1
        self._size += len(body)
        if self._parts > PARTS and self._parts * PART > self._size:
            self._refuse(400)
            raise ValueError(self._parts)
        if self.cycle.response_complete:
            self._passed_over += len(body)
            if self._passed_over > PASSED_OVER:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self):
        """The end of a request."""
        self._came_further, self._reading = True, None
        super().on_message_complete()

    def send_400_response(self, msg):
        """Answer what is no HTTP; requests that came whole before it are answered, and then the connection ends."""
        if self.transport.is_closing():
            return
        if self._answering and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif not self._ended_within_an_answer():
            super().send_400_response(msg)

    def on_response_complete(self):
        """An answer has been given, though its last bytes may not have been taken."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._allow(self._settings.timeout)
        elif self.pipeline or self._answering:
            self._allow(self._request_time)
        else:
            self._allow({HEAD: self._head_time, BODY: GRACE}.get(self._reading, self.timeout_keep_alive + GRACE))

    # ------------------------------------------------------------------------------------------------ the limits
    @property
    def waits_for_client(self):
        """Whether it is for the client to go on."""
        return not self._answering or self.cycle.more_body or self.flow.write_paused

    @property
    def _answering(self):
        """Whether the last request whose head has come is still to be answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _request_time(self):
        return 2 * self._settings.timeout + GRACE

    def _allow(self, seconds):
        """Give the connection so much time from now on."""
        self._due = self.loop.time() + seconds
        if self._timer is None or self._due < self._timer.when():
            self._set_timer()

    def _set_timer(self):
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._due, self._look)

    def _look(self):
        """End the connection if its time is over, at first gently."""
        if self.loop.time() >= self._due:
            if self._answering or self.transport.is_closing():
                self.transport.abort()
                return
            self._refuse(408 if self._reading == HEAD else None)
            self._due = self.loop.time() + GRACE
        self._set_timer()

    def _make_room(self):
        silent = [
            other
            for other in self.connections
            if other is not self and other.waits_for_client and not other.transport.is_closing()
        ]
        if silent:
            min(silent, key=lambda other: other.heard).give_way()
        else:
            self._refuse(503)

    def give_way(self):
        """End this connection in favour of another."""
        self._refuse(503 if self._reading else None)

    def _ended_within_an_answer(self):
        """End the connection where a refusal would be taken for a part of an answer, or for an answer; whether so."""
        if self._answering and (self.cycle.response_started or not self.cycle.more_body):
            self.transport.abort()
        return self.transport.is_closing()

    def _refuse(self, status):
        """End the connection, with a status where one is given and can be understood."""
        if self.transport.is_closing() or self._ended_within_an_answer():
            return
        if status:
            text = SENTENCES[status].encode()
            self.transport.write(
                b"".join(
                    [
                        STATUS_LINE[status],
                        b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n",
                        b"content-length: %d\r\n\r\n" % len(text),
                        text,
                    ]
                )
            )
        self.transport.close()

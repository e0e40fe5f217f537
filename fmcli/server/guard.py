"""Limits for a worker's connections: their number, the size of a head, the time that each may take.

uvicorn reads requests with heads of any size, for any time, on any number of connections. The limits added here:

- Beyond Settings.connections, the connection whose client has been silent longest is ended in favour of a new one;
  where all clients wait for the server, the new connection is refused with 503.
- A head must be complete HEAD_TIME seconds after it began (408), and has HEADERS lines and HEAD_BYTES at most (431).
  Bytes that neither end a head nor are part of a body, such as trailers and extensions of chunks, count as well.
- A body in more than PARTS parts must have PART bytes a part on average (400), as each part costs time.
- From the end of its head a request may take twice Settings.timeout and GRACE: within that time the application ends
  slow bodies and slow answers itself, so that only answers that no client reads are cut off. The rest of a refused
  body is discarded, for GRACE seconds and DISCARDED bytes, as most clients read an answer only after sending all.
- At most QUEUED pipelined requests wait on a connection; a bad request does not stop good ones before it.
"""

import resource
from dataclasses import replace

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_TIME = 10  # seconds
HEAD_BYTES = 32 << 10
HEADERS = 100
PARTS, PART = 1000, 16
DISCARDED = 16 << 20
QUEUED = 20
GRACE = 5  # seconds
SPARE_FILES = 64  # that a worker has open beside its connections
HEAD, BODY = "head", "body"
SENTENCES = {
    400: "the body comes in too many small chunks",
    408: "the head of the request did not arrive in time",
    431: "the head of the request is too large",
    503: "the server has too many connections; try again",
}


def affordable(settings):
    """Return the Settings with no more connections than this process and its children may have open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections + SPARE_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else soft
    return replace(settings, connections=max(1, min(settings.connections, files - SPARE_FILES)))


class Guard(HttpToolsProtocol):
    """uvicorn's protocol of a connection, within the limits.

    heard: when the client last sent something. _due: when the connection ends unless it makes progress before that.
    """

    def __init__(self, settings, **uvicorns):
        super().__init__(**uvicorns)
        self._settings, self._head_time = settings, min(HEAD_TIME, settings.timeout)
        self._timer, self._due, self.heard = None, 0, 0
        self._reading = None  # the HEAD or BODY of a request
        self._progressed, self._idle_bytes = False, 0  # the second: bytes since the last progress
        self._parts = self._size = 0  # of the body
        self._discarded = 0  # bytes of it

    # ------------------------------------------------------------------------------------- events of the transport
    def connection_made(self, transport):
        """Begin a connection that a client has made."""
        super().connection_made(transport)
        self.heard = self.loop.time()
        self._allow(self._head_time)
        if len(self.connections) > self._settings.connections:
            self._free_connection()

    def connection_lost(self, exc):
        """Stop the timer of a connection that has ended."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data):
        """Count and parse bytes that have arrived."""
        self.heard, self._progressed = self.loop.time(), False
        super().data_received(data)
        self._idle_bytes = 0 if self._progressed else self._idle_bytes + len(data)
        if self._idle_bytes > HEAD_BYTES:
            self._refuse(431)

    def eof_received(self):
        """Return whether to stay open where the client sends no more: complete requests are still answered."""
        if not self._answering or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    # ---------------------------------------------------------------------------------------- events of the parser
    def on_message_begin(self):
        """Begin to read a head."""
        super().on_message_begin()
        self._reading = HEAD
        self._allow(self._head_time)

    def on_header(self, name, value):
        """Count a line of a head, or of the trailers behind a chunked body."""
        if len(self.headers) >= HEADERS:
            self._refuse(431)
            raise ValueError(name)
        super().on_header(name, value)

    def on_headers_complete(self):
        """End the head, and begin to read the body."""
        if len(self.pipeline) >= QUEUED:
            raise ValueError(QUEUED)
        self._progressed, self._reading = True, BODY
        self._parts = self._size = self._discarded = 0
        super().on_headers_complete()
        self._allow(self._request_time)

    def on_body(self, body):
        """Count a part of a body."""
        self._progressed = True
        self._parts += 1
        self._size += len(body)
        if self._parts > PARTS and self._parts * PART > self._size:
            self._refuse(400)
            raise ValueError(self._parts)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > DISCARDED:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self):
        """End a request."""
        self._progressed, self._reading = True, None
        super().on_message_complete()

    def send_400_response(self, msg):
        """Answer what is not HTTP, after complete requests before it are answered; then end the connection."""
        if self.transport.is_closing():
            return
        if self._answering and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif not self._ended_within_an_answer():
            super().send_400_response(msg)

    def on_response_complete(self):
        """Set the time limit for what follows an answer, whose last bytes may not be received yet."""
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
        """Return whether the connection waits for the client to act."""
        return not self._answering or self.cycle.more_body or self.flow.write_paused

    @property
    def _answering(self):
        """Return whether the last request whose head has come is still to be answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _request_time(self):
        return 2 * self._settings.timeout + GRACE

    def _allow(self, seconds):
        """End the connection `seconds` from now unless it makes progress."""
        self._due = self.loop.time() + seconds
        if self._timer is None or self._due < self._timer.when():
            self._set_timer()

    def _set_timer(self):
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._due, self._look)

    def _look(self):
        """End the connection if its time is over, with an answer where possible."""
        if self.loop.time() >= self._due:
            if self._answering or self.transport.is_closing():
                self.transport.abort()
                return
            self._refuse(408 if self._reading == HEAD else None)
            self._due = self.loop.time() + GRACE
        self._set_timer()

    def _free_connection(self):
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
        """Abort where a refusal would be read as part of an answer, or as an answer; return whether it is closing."""
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

"""What the server answers, as an ASGI application: SageMaker's three endpoints, errors as a sentence of plain text."""

from asyncio import wrap_future
from concurrent.futures import ThreadPoolExecutor

from anyio import move_on_after
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fmcli.server.room import Room
from fmcore.errors import DataError, FMError, ModelError
from fmcore.io.requests.media import AcceptError, ContentTypeError, answer_type, request_type

SMALL = 16 << 10  # bytes of a body that is answered within milliseconds, less than other requests notice
LARGE_AT_ONCE = 4  # larger bodies being answered in a worker; each holds many times its size while it is decoded
PIECE = 64 << 10  # bytes of an answer that are sent before it is seen whether the client takes them
ROOM = 64 << 20  # bytes that all larger bodies and answers of a worker may hold, and at least twice the largest body
FULL = "the requests under way take all the memory that there is for them; try again"
STATUS = {DataError: 400, ModelError: 500, AcceptError: 406, ContentTypeError: 415}
PATHS = "POST /invocations, GET /ping and GET /execution-parameters"


def application(scorer, settings):
    """The ASGI application over a fmcore.scoring.Scorer, by the limits of the Settings."""
    answers = Answers(scorer, settings)
    return Starlette(
        routes=[
            Route("/invocations", answers.invocations, methods=["POST"]),
            Route("/ping", answers.ping),
            Route("/execution-parameters", answers.execution_parameters),
        ],
        exception_handlers={
            404: no_such_path,
            405: no_such_method,
            ClientDisconnect: nobody_waits,
            **dict.fromkeys(STATUS, refusal),
        },
    )


class Answers:
    """The endpoints."""

    def __init__(self, scorer, settings):
        self._scorer, self._settings = scorer, settings
        self._threads = ThreadPoolExecutor(LARGE_AT_ONCE)
        self._room = Room(max(ROOM, 2 * settings.max_payload))

    async def ping(self, _request):
        """Whether the server is up; the model is open by the time anything answers."""
        return Response()

    async def execution_parameters(self, _request):
        """What SageMaker's batch transform asks before it begins."""
        return JSONResponse(
            {
                "MaxConcurrentTransforms": self._settings.workers,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": max(1, self._settings.max_payload >> 20),
            }
        )

    async def invocations(self, request):
        """Predictions for the rows of the body."""
        asked, given = _media_types(request.headers)
        body = None
        with move_on_after(self._settings.timeout):
            body = await self._body(request)
            return Answer(await self._predictions(body, asked, given), given, self._room)
        status, what = (408, "the body did not arrive") if body is None else (504, "the answer was not ready")
        raise HTTPException(status, f"{what} within {self._settings.timeout:g} seconds", {"Connection": "close"})

    async def _predictions(self, *request):
        """Those of a large body in a thread, beside which others are answered; a thread costs more than a small one.

        A thread that nobody waits for any more, after a 504, cannot be ended; until it has, it keeps its place.
        """
        size = len(request[0])
        if size <= SMALL:
            return self._scorer.predictions(*request)
        work = self._threads.submit(attempt, self._scorer.predictions, *request)
        work.add_done_callback(lambda _work: self._room.give_back(size))
        found = await wrap_future(work)
        if isinstance(found, FMError):
            raise found
        return found

    async def _body(self, request):
        """The body, never more of it than the limit; what a client sends beyond an error is passed over by the server.

        One larger than SMALL has taken its size of the room.
        """
        limit = self._settings.max_payload
        announced = int(request.headers.get("content-length", 0))
        if announced > limit:
            raise HTTPException(413, f"the body has {announced:,} bytes; at most {limit:,} are taken")
        parts, size = [], 0
        with self._room.taking() as taking:
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise HTTPException(413, f"the body has more than {limit:,} bytes, the most that are taken")
                if size > SMALL and not taking.up_to(size):
                    raise HTTPException(503, FULL)
            taking.keep()
        return b"".join(parts)


class Answer(Response):
    """Predictions, sent no faster than they are taken."""

    def __init__(self, body, media_type, room):
        super().__init__(body, media_type=media_type)
        self._room = room

    async def __call__(self, scope, receive, send):  # noqa: ARG002 - as every ASGI application is called
        """Send them."""
        with self._room.lent(len(self.body)):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            view = memoryview(self.body)
            for start in range(0, max(1, len(view)), PIECE):
                last = start + PIECE >= len(view)
                await send(
                    {"type": "http.response.body", "body": bytes(view[start : start + PIECE]), "more_body": not last}
                )


def attempt(function, *arguments):
    """What the function returns, or its FMError without the frames that it came through.

    They hold all that was parsed, and the error in them holds them, until Python happens to look for such circles.
    """
    try:
        return function(*arguments)
    except FMError as error:
        error.__traceback__ = error.__context__ = None
        return error


def _media_types(headers):
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ContentTypeError(
            f"Content-Encoding {headers['content-encoding'][:80]} is not known; send the body as it is"
        )
    asked = request_type(headers.get("content-type"))
    return asked, answer_type(headers.get("accept"), asked)


async def refusal(_request, error):
    """The sentence of an error of the library, which is about the request."""
    return PlainTextResponse(str(error), next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS))


async def no_such_path(request, _error):
    """404, with what there is."""
    return PlainTextResponse(f"there is no {request.url.path[:80]} here; there are {PATHS}", 404)


async def no_such_method(request, error):
    """405, with what there is."""
    return PlainTextResponse(
        f"{request.method[:80]} {request.url.path} is not allowed; there are {PATHS}", 405, error.headers
    )


async def nobody_waits(_request, _error):
    """The client has gone; what is returned goes nowhere."""
    return Response(status_code=400)

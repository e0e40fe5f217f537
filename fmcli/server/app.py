"""The answers of the server, as an ASGI application: SageMaker's three endpoints, errors as plain sentences."""

from asyncio import wrap_future
from concurrent.futures import ThreadPoolExecutor

from anyio import move_on_after
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fmcli.server.budget import ByteBudget
from fmcore.errors import DataError, FMError, ModelError
from fmcore.io.requests.media import AcceptError, ContentTypeError, answer_type, request_type

SMALL = 16 << 10  # bytes of a body that is answered within milliseconds, too short a delay for other requests to matter
LARGE_AT_ONCE = 4  # larger bodies answered at once in a worker; each takes many times its size while it is decoded
PIECE = 64 << 10  # bytes of an answer that are sent before waiting for the client to receive them
BUDGET = 64 << 20  # bytes that all larger bodies and answers of a worker may hold, and at least twice the largest body
FULL = "other requests use all the memory set aside for requests; try again"
STATUS = {DataError: 400, ModelError: 500, AcceptError: 406, ContentTypeError: 415}
PATHS = "POST /invocations, GET /ping and GET /execution-parameters"


def application(scorer, settings):
    """Return the ASGI application over a fmcore.scoring.Scorer, within the limits of the Settings."""
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
            ClientDisconnect: client_gone,
            **dict.fromkeys(STATUS, refusal),
        },
    )


class Answers:
    """The endpoints' functions."""

    def __init__(self, scorer, settings):
        self._scorer, self._settings = scorer, settings
        self._threads = ThreadPoolExecutor(LARGE_AT_ONCE)
        self._budget = ByteBudget(max(BUDGET, 2 * settings.max_payload))

    async def ping(self, _request):
        """Answer that the server is up; the model is open by the time anything answers."""
        return Response()

    async def execution_parameters(self, _request):
        """Answer the question that SageMaker's batch transform asks before it begins."""
        return JSONResponse(
            {
                "MaxConcurrentTransforms": self._settings.workers,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": max(1, self._settings.max_payload >> 20),
            }
        )

    async def invocations(self, request):
        """Answer with predictions for the rows of the body."""
        asked, given = _media_types(request.headers)
        body = None
        with move_on_after(self._settings.timeout):
            body = await self._body(request)
            return Answer(await self._predictions(body, asked, given), given, self._budget)
        status, what = (408, "the body did not arrive") if body is None else (504, "the answer was not ready")
        raise HTTPException(status, f"{what} within {self._settings.timeout:g} seconds", {"Connection": "close"})

    async def _predictions(self, *request):
        """Return the predictions for a body; a large one is scored in a thread, so that others are answered meanwhile.

        A thread would cost more than a small body takes. A thread whose request was given up, after a 504, cannot be
        ended; until it ends by itself, it keeps its place.
        """
        size = len(request[0])
        if size <= SMALL:
            return self._scorer.predictions(*request)
        work = self._threads.submit(attempt, self._scorer.predictions, *request)
        work.add_done_callback(lambda _work: self._budget.release(size))
        result = await wrap_future(work)
        if isinstance(result, FMError):
            raise result
        return result

    async def _body(self, request):
        """Return the body, never more of it than the limit; the server discards what a client sends after an error.

        A body larger than SMALL has reserved its size in the memory budget.
        """
        limit = self._settings.max_payload
        announced = int(request.headers.get("content-length", 0))
        if announced > limit:
            raise HTTPException(413, f"the body has {announced:,} bytes; at most {limit:,} are accepted")
        parts, size = [], 0
        with self._budget.reservation() as reservation:
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise HTTPException(413, f"the body has more than {limit:,} bytes, the most that are accepted")
                if size > SMALL and not reservation.grow_to(size):
                    raise HTTPException(503, FULL)
            reservation.keep()
        return b"".join(parts)


class Answer(Response):
    """Predictions, sent no faster than the client reads them."""

    def __init__(self, body, media_type, budget):
        super().__init__(body, media_type=media_type)
        self._budget = budget

    async def __call__(self, scope, receive, send):  # noqa: ARG002 - as every ASGI application is called
        """Send them."""
        with self._budget.occupied(len(self.body)):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            view = memoryview(self.body)
            for start in range(0, max(1, len(view)), PIECE):
                last = start + PIECE >= len(view)
                await send(
                    {"type": "http.response.body", "body": bytes(view[start : start + PIECE]), "more_body": not last}
                )


def attempt(function, *arguments):
    """Return the function's result, or its FMError without the stack frames that it came through.

    These frames keep everything that was parsed in memory, and as they and the error hold each other, only Python's
    cycle collector would free them, at some later time.
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
    """Return the response for an error of the library, which is about the request."""
    return PlainTextResponse(str(error), next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS))


async def no_such_path(request, _error):
    """Return 404, with the paths that exist."""
    return PlainTextResponse(f"unknown path {request.url.path[:80]}; expected {PATHS}", 404)


async def no_such_method(request, error):
    """Return 405, with the methods and paths that exist."""
    return PlainTextResponse(
        f"{request.method[:80]} {request.url.path} is not allowed; expected {PATHS}", 405, error.headers
    )


async def client_gone(_request, _error):
    """Return a response that nobody receives, as the client has gone."""
    return Response(status_code=400)

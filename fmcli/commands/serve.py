"""`fm serve`."""

import click

from fmcli.option_types import Parsed
from fmcli.options import gathered
from fmcli.server import Settings, serve
from fmcore.system.memory import parse_size


@click.command("serve")
@click.argument("model", metavar="MODEL")
@click.option(
    "--host",
    default=Settings.host,
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 is every one of this machine.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=Settings.port,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes any that is free.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes that answer.  [default: the processors this process may use]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=Settings.threads,
    show_default=True,
    metavar="N",
    help="Threads that score within a worker.",
)
@click.option(
    "--max-payload",
    type=Parsed("size", parse_size),
    default="6M",
    show_default=True,
    metavar="SIZE",
    help="Largest body of a request.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=Settings.timeout,
    show_default=True,
    metavar="SECONDS",
    help="Time for a request, from its head to its answer.",
)
@click.option(
    "--max-connections",
    "connections",
    type=click.IntRange(1, 1 << 20),
    default=Settings.connections,
    show_default=True,
    metavar="N",
    help="Connections that a worker holds; beyond them, the one that has been idle for longest is closed.",
)
@click.option(
    "--by-position",
    is_flag=True,
    help="Take columns in the order of training where a body does not name them, and indices as columns.",
)
@click.option("--access-log", is_flag=True, help="Write a line on standard error for every request.")
@gathered("settings", Settings)
def command(model: str, settings: Settings) -> None:
    """Answer requests for predictions over HTTP, as an endpoint of SageMaker does.

    POST /invocations takes rows as application/json, application/jsonlines, text/csv or
    application/x-recordio-protobuf, and answers in what Accept asks for, else in the same. A model of named columns
    takes features by name: {"features": {"price": 8.1, "site": "a.com"}}, and CSV under a header. GET /ping and GET
    /execution-parameters are there as well. A bad request is answered by a sentence about what is wrong, with status
    400, 406, 408, 413, 415, 431, 503 or 504.

    Workers share one map of the model, and one that dies is replaced. SIGTERM and SIGINT let requests under way
    finish. After a new model was renamed to MODEL, as fm train does, SIGHUP loads it. The server is an extra:
    pip install 'fmkit[serve]'.

    \b
    fm serve clicks.fm --port 8080
    curl -H 'Content-Type: application/json' -d '{"instances": [{"features": [1.5, 16]}]}' \\
        http://127.0.0.1:8080/invocations
    """
    serve(model, settings)

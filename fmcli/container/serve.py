"""`serve`: an endpoint of SageMaker that serves the model in /opt/ml/model."""

import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import click

from fmcli.console import say
from fmcli.container.failure import MEMORY
from fmcli.container.tree import Tree, root_option
from fmcli.exits import TERMINATED, Terminated, handled, recognized, terminate
from fmcli.server import Settings, serve
from fmcore import api
from fmcore.errors import FMError, ModelError, UsageError

OWN, THEIRS = "*.fm", "model_algo-*"  # patterns of a model's file name: fmkit's, SageMaker's
NO_LIMIT = 1024  # megabytes of a request, where a batch transform sets no limit


@click.command("serve", context_settings={"help_option_names": ["-h", "--help"]})
@root_option
def command(root):
    """Answer requests as an endpoint of Amazon SageMaker, which calls this by `docker run IMAGE serve`.

    The model is model/model.fm, written by `train`, or model/model_algo-1, written by SageMaker's own Factorization
    Machines. After SIGTERM, running requests are finished.

    \b
    SAGEMAKER_BIND_TO_PORT           port to listen on (default 8080)
    SAGEMAKER_MODEL_SERVER_WORKERS   processes that answer (default: one a processor); MODEL_SERVER_WORKERS as well
    SAGEMAKER_MODEL_SERVER_TIMEOUT   seconds for a request (default 60)
    SAGEMAKER_MAX_PAYLOAD_IN_MB      largest body of a request (default 6, 0 for 1024)

    Exit codes: 0 stopped, 1 unexpected, 2 usage, 4 bad model, 6 out of memory or disk.
    """
    signal.signal(signal.SIGTERM, terminate)  # until the server sets its own handlers
    sys.exit(endpoint(Tree(Path(root)), os.environ))


def run():
    """Run the entry point and exit with its code."""
    command.main(prog_name="serve")


def endpoint(tree, environ):
    """Serve until a signal comes; return the exit code."""
    try:
        with served_model(tree) as path:
            serve(path, settings(environ))
    except Terminated:
        handled()
        return TERMINATED
    except (FMError, OSError, MemoryError) as error:
        error = recognized(error, memory=MEMORY)
        say(f"serve: {error}")
        return getattr(error, "exit_code", 1)
    return 0


@contextmanager
def served_model(tree):
    """Provide the path of a model file of fmkit, converted into a temporary folder from SageMaker's own if need be."""
    own, theirs = (sorted(map(str, tree.models.glob(pattern))) for pattern in (OWN, THEIRS))
    if tree.model.is_file() or len(own) == 1:
        yield str(tree.model) if tree.model.is_file() else own[0]
        return
    if own or len(theirs) != 1:
        found = ", ".join(sorted(path.name for path in tree.models.glob("*"))) or "nothing"
        raise ModelError(
            f"{tree.models}: expected the model as {tree.model.name}, or SageMaker's own as model_algo-1; found {found}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, tree.model.name))
        api.import_archive(theirs[0], path)
        yield path


def settings(environ):
    """Return the server's Settings from the environment of an endpoint."""
    workers = number(environ, "MODEL_SERVER_WORKERS", None, 1024)
    megabytes = number(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", Settings.max_payload >> 20, NO_LIMIT, zero=NO_LIMIT)
    return Settings(
        host="0.0.0.0",  # noqa: S104 - anyone who reaches the container may send requests
        port=number(environ, "SAGEMAKER_BIND_TO_PORT", 8080, 65535),
        workers=number(environ, "SAGEMAKER_MODEL_SERVER_WORKERS", workers, 1024),
        timeout=number(environ, "SAGEMAKER_MODEL_SERVER_TIMEOUT", Settings.timeout, 3600),
        max_payload=megabytes << 20,
    )


def number(environ, name, default, high, *, zero=None):
    """Return the variable's value, an integer from 1 to high; the default where it is not set.

    zero: the value that 0 stands for, where it is allowed.
    """
    text = environ.get(name, "")
    if not text:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if value == 0 and zero is not None:
        return zero
    if not 1 <= value <= high:
        raise UsageError(f"the variable {name} is {text!r}; expected an integer from 1 to {high}")
    return value


if __name__ == "__main__":
    run()

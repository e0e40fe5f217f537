"""The HTTP server: its settings, and its start, which alone imports the packages of the extra "serve"."""

from dataclasses import dataclass

from fmcore.errors import UsageError
from fmcore.system.threads import default_threads


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    host, port: where it listens; port 0 chooses any that is free.
    workers: processes that answer; None for as many as there are processors to use. threads: of each one's kernels.
    max_payload: bytes of a request's body. timeout: seconds from a request's head to its answer.
    access_log: whether to write a line on standard error for each request. connections: that a worker holds at once.
    by_position: whether rows of another kind than those of training are taken in their order; see ReadOptions.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int | None = None
    threads: int = 1
    max_payload: int = 6 << 20
    timeout: float = 60
    access_log: bool = False
    connections: int = 1000
    by_position: bool = False

    def __post_init__(self):
        object.__setattr__(self, "workers", self.workers or default_threads())


def serve(model_path, settings):
    """Answer requests for predictions by the model at `model_path`, until SIGTERM or SIGINT comes.

    Then no more connections are accepted, running requests are finished within 30 s, and this returns. SIGHUP
    replaces the workers, one after the other, by new ones that read the file anew. Call it in the main thread, whose
    signal handlers are changed. Raises ModelError where the model cannot be read, and UsageError where the address
    is not available or the extra is not installed, before anything is served.
    """
    try:
        from fmcli.server.supervisor import run
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving needs {error.name}, which is not installed; install it with: pip install 'fmkit[serve]'"
        ) from None
    run(model_path, settings)

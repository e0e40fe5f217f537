"""The `fm` command: its subcommands, imported when used, and every failure as one sentence and an exit code."""

import os
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

import click

from fmcli import exits
from fmcli.console import flush, say

COMMANDS = {  # name -> (module, its line in the list of commands)
    "convert": ("convert", "Turn libsvm, libffm, CSV, TSV, Parquet or recordIO into recordIO or libsvm."),
    "train": ("train", "Train a model."),
    "tune": ("tune", "Search for the best hyperparameters, and train with them."),
    "eval": ("evaluate", "Print a model's metrics on labelled rows."),
    "predict": ("predict", "Score rows, one prediction each."),
    "serve": ("serve", "Score rows over HTTP."),
    "inspect": ("inspect", "Show what a model is and what it learned."),
    "import": ("import_", "Import SageMaker's model.tar.gz as a model."),
    "export": ("export", "Write weights, or vectors for nearest-neighbour search."),
}


ALIASES = {"fit": "train", "score": "predict", "test": "eval", "evaluate": "eval", "show": "inspect", "search": "tune"}


class Commands(click.Group):
    """Subcommands whose modules are imported only when one is asked for, so that `fm --help` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return their names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return the command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"fmcli.commands.{COMMANDS[cmd_name][0]}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return (name, command, the arguments left); refuse an unknown name with the one that is probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = ALIASES.get(args[0]) or next(iter(get_close_matches(args[0], COMMANDS)), None)
            if meant and error.message.startswith("No such command"):
                error.message += f" Did you mean {meant!r}?"
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; click itself would end with 1 where a pipe downstream is closed."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise DownstreamClosed from error


class DownstreamClosed(Exception):  # noqa: N818 - it is not an error
    """The reader of the output has closed it."""


def version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the version, the build of the kernels and the threads, and end."""
    if not wanted or ctx.resilient_parsing:
        return
    from fmcore import __version__
    from fmcore.kernels.cpu import CpuBackend
    from fmcore.system.threads import default_threads

    backend = CpuBackend(default_threads())
    openmp = "yes" if backend.kernels.openmp() else "no"
    click.echo(f"fm {__version__} (kernels {backend.build}, OpenMP {openmp}, threads {backend.threads})")
    ctx.exit()


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "max_content_width": 100,
    },
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=version,
    help="Show the version, the build of the kernels chosen for this processor, OpenMP and threads.",
)
def cli() -> None:
    """Factorization machines from the shell.

    \b
    fm train clicks.svm --predictor-type binary_classifier -o clicks.fm
    fm eval clicks.fm tomorrow.svm
    fm predict clicks.fm < today.svm > scores.txt

    Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad
    data, 4 bad model, 5 diverged, 6 out of memory or disk, 75 to be run again, 129, 130 and 143 interrupted.
    """


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    from fmcore.system._mapped import guard

    exits.listen()
    exits.hold_standard_streams()
    guard()  # against models that are cut off while they are read
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # products of matrices are kept to one thread anyway
    sys.exit(exit_code(arguments))


def exit_code(arguments: list[str] | None) -> int:
    """Run a command, report what went wrong, if anything, and return the exit code."""
    try:
        code = cli.main(arguments, prog_name="fm", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt, exits.Terminated) as error:  # noqa: BLE001 - this is where all failures end
        if os.environ.get("FMKIT_DEBUG"):
            traceback.print_exc()
        return failed(error)
    return code if isinstance(code, int) else 0


def failed(error: BaseException) -> int:
    """Report what an exception means to the user, and return its exit code."""
    from fmcore.errors import FMError

    exits.handled()
    exits.release(error)
    if sys.stdout is not None:
        flush(sys.stdout)
    if isinstance(error, (BrokenPipeError, DownstreamClosed)):
        return 0
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    error = exits.recognized(error, memory="try --memory-limit, fewer factors, or hashing into fewer features")
    known = {
        FMError: (error, getattr(error, "exit_code", 1)),
        click.exceptions.Abort: (f"interrupted; {exits.so_far()}", exits.INTERRUPTED),  # click's word for Ctrl-C
        KeyboardInterrupt: (f"interrupted; {exits.so_far()}", exits.INTERRUPTED),
        exits.HungUp: (f"hung up; {exits.so_far()}", exits.HUNG_UP),
        exits.Terminated: (f"terminated; {exits.so_far()}", exits.TERMINATED),
    }
    unknown = f"unexpected {type(error).__name__}: {error} (FMKIT_DEBUG=1 shows where)", 1
    sentence, code = next((known[kind] for kind in known if isinstance(error, kind)), unknown)
    say(f"fm: {sentence}")
    return code

"""How `fm train` is told where its rows come from: as arguments or as channels, by files or by named pipes."""

import click

from fmcli.options import stacked
from fmcore import api
from fmcore.errors import UsageError

channel_options = stacked(
    click.argument("inputs", nargs=-1, metavar="[DATA...]"),
    click.option(
        "--train",
        "trains",
        multiple=True,
        metavar="DATA",
        help="Rows to train on, another way to give DATA; may be repeated.",
    ),
    click.option(
        "--test", "tests", multiple=True, metavar="DATA", help="Rows to score after each epoch; may be repeated."
    ),
    click.option(
        "--input-mode",
        type=click.Choice(("file", "pipe"), case_sensitive=False),
        default="file",
        help="pipe: --train PREFIX stands for the named pipes PREFIX_0, PREFIX_1, ..., one an epoch, and "
        "--test PREFIX for PREFIX_0, read after the last epoch, or after the first where "
        "--early-stopping-patience is given.  [default: file]",
    ),
    click.option(
        "--pipe-timeout",
        type=click.IntRange(1),
        metavar="SECONDS",
        help=f"How long to wait for a pipe to appear and to give its first byte.  [default: {api.PipeMode.timeout}]",
    ),
)


def train_and_test(values, read, on_bytes):
    """Take the channels out of a command's values: the Data to train on, and that to test on or None."""
    inputs, trains, tests = (values.pop(name) for name in ("inputs", "trains", "tests"))
    pipe = _pipe_mode(values.pop("input_mode"), values.pop("pipe_timeout"))
    if inputs and trains:
        raise UsageError(f"rows to train on are named twice, by --train and as {inputs[0]}; give all of them one way")
    if pipe is not None and not trains:
        raise UsageError("--input-mode pipe reads PREFIX_0, PREFIX_1, ...; name them with --train PREFIX")
    if not (inputs or trains):
        raise UsageError("no rows to train on are named; give files or folders, - for standard input, or --train DATA")
    data = api.Data(list(inputs or trains), read, on_bytes=on_bytes, pipe=pipe)
    return data, api.Data(list(tests), read, pipe=pipe) if tests else None


def _pipe_mode(input_mode, timeout):
    if input_mode == "pipe":
        return api.PipeMode() if timeout is None else api.PipeMode(timeout)
    if timeout is not None:
        raise UsageError("--pipe-timeout is for --input-mode pipe, which is not given")
    return None

"""Where the rows of `fm train` come from: as arguments or as channels, by files or by named pipes."""

from collections.abc import Callable
from dataclasses import dataclass

import click

from fmcli.options import gathered, stacked
from fmcore import api
from fmcore.errors import UsageError
from fmcore.io.options import ReadOptions


@dataclass(frozen=True)
class Channels:
    """The rows to train and to test on, as the command line names them.

    inputs: those given as arguments. trains, tests: those of --train and --test. input_mode: "file" or "pipe".
    pipe_timeout: seconds to wait for a pipe, or None where it is not given.
    """

    inputs: tuple[str, ...]
    trains: tuple[str, ...]
    tests: tuple[str, ...]
    input_mode: str
    pipe_timeout: int | None

    def train_and_test(
        self, read: ReadOptions, on_bytes: Callable[[int, int | None], None]
    ) -> tuple[api.Data, api.Data | None]:
        """Return the Data to train on, and that to test on or None; on_bytes: as of Data, for the former.

        Raises UsageError where no rows to train on are named, where they are named twice, and where an option is for
        the other input mode.
        """
        inputs, pipe = self.inputs, self._pipe_mode()
        if inputs and self.trains:
            raise UsageError(
                f"rows to train on are named twice, by --train and as {inputs[0]}; give all of them one way"
            )
        if pipe is not None and not self.trains:
            raise UsageError("--input-mode pipe reads PREFIX_0, PREFIX_1, ...; name them with --train PREFIX")
        if not (inputs or self.trains):
            raise UsageError(
                "no rows to train on are named; give files or folders, - for standard input, or --train DATA"
            )
        data = api.Data(list(inputs or self.trains), read, on_bytes=on_bytes, pipe=pipe)
        return data, api.Data(list(self.tests), read, pipe=pipe) if self.tests else None

    def _pipe_mode(self) -> api.PipeMode | None:
        if self.input_mode == "pipe":
            return api.PipeMode() if self.pipe_timeout is None else api.PipeMode(self.pipe_timeout)
        if self.pipe_timeout is not None:
            raise UsageError("--pipe-timeout is for --input-mode pipe, which is not given")
        return None


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
        help=f"How long to wait for a pipe to appear and to deliver its first byte.  [default: {api.PipeMode.timeout}]",
    ),
    gathered("channels", Channels),
)

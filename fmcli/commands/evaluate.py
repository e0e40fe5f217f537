"""`fm eval`."""

import json
from collections.abc import Iterator

import click

from fmcli.options import chosen_threads, quiet_option, threads_option, unseen_option
from fmcli.progress import byte_bar, reporting, warned
from fmcli.reading import Reading, read_options
from fmcore import api
from fmcore.system import publish
from fmcore.system.apart import require_apart


@click.command("eval")
@click.argument("model", metavar="MODEL")
@click.argument("inputs", nargs=-1, required=True, metavar="DATA...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@unseen_option
@read_options
@threads_option
@quiet_option
def command(
    model: str,
    inputs: tuple[str, ...],
    unseen: str,
    reading: Reading,
    threads: int | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the metrics of a model on labelled rows.

    A regressor has rmse, mse and mae; a binary classifier logloss, accuracy and f1 at 0.5, and auc. Rows are read as
    they were for training, except for what is given here.

    \b
    fm eval clicks.fm test.rec
    fm eval clicks.fm test.rec --json | jq .auc
    """
    threads = chosen_threads(threads)
    loaded = api.load(model)
    bar = byte_bar("scoring", quiet=quiet)
    data = api.Data(list(inputs), api.read_options(loaded, **reading.given(threads)), on_bytes=bar.reach)
    require_apart({"the metrics": "-"}, [model, *data.paths])
    with warned(data.report), publish.whole("-") as out, reporting(data.report, bar, quiet=quiet):
        metrics = api.evaluate(loaded, data, threads=threads, unseen=unseen)
        for line in [json.dumps(metrics)] if as_json else lines(metrics):
            out.write(f"{line}\n".encode())


def lines(metrics: dict[str, float | int | None]) -> Iterator[str]:
    """Yield the metrics as a person reads them."""
    for name, value in metrics.items():
        yield f"{name}: {'none (one class only)' if value is None else value}"

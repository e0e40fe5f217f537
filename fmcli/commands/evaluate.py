"""`fm eval`."""

import json

import click

from fmcli import options
from fmcli.progress import byte_bar, reading
from fmcore import api
from fmcore.system import publish


@click.command("eval")
@click.argument("model", metavar="MODEL")
@click.argument("inputs", nargs=-1, required=True, metavar="DATA...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@options.unseen_option
@options.read_options
@options.table_options
@options.threads_option
@options.quiet_option
def command(model, inputs, as_json, unseen, quiet, **values):
    """Print the metrics of a model on labelled rows.

    A regressor has rmse, mse and mae; a binary classifier logloss, accuracy and f1 at 0.5, and auc. Rows are read as
    they were for training, but for what is given here.

    \b
    fm eval clicks.fm test.rec
    fm eval clicks.fm test.rec --json | jq .auc
    """
    threads = options.chosen_threads(values.pop("threads"))
    loaded = api.load(model)
    bar = byte_bar("scoring", quiet=quiet)
    data = api.Data(inputs, api.read_options(loaded, **options.given_read_options(values, threads)), on_bytes=bar.reach)
    with publish.whole("-") as out, reading(data.report, bar, quiet=quiet):
        metrics = api.evaluate(loaded, data, threads=threads, unseen=unseen)
        for line in [json.dumps(metrics)] if as_json else lines(metrics):
            out.write(f"{line}\n".encode())


def lines(metrics):
    """The metrics as a person reads them."""
    for name, value in metrics.items():
        yield f"{name}: {'none (one class only)' if value is None else value}"

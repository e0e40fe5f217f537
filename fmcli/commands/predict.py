"""`fm predict`."""

import click

from fmcli import options
from fmcli.progress import byte_bar, reading
from fmcore import api
from fmcore.io.predictions import WRITERS


@click.command("predict")
@click.argument("model", metavar="MODEL")
@click.argument("inputs", nargs=-1, metavar="[DATA...]")
@click.option("-o", "--output", default="-", metavar="OUT", help="File to write; - is stdout.  [default: -]")
@click.option("--to", type=click.Choice(tuple(WRITERS)), default="text", help="Format of predictions.  [default: text]")
@options.unseen_option
@options.read_options
@options.table_options
@options.threads_option
@options.quiet_option
def command(model, inputs, output, to, unseen, quiet, **values):
    """Score rows: one prediction each, in their order.

    DATA is as for `fm train`, or JSON or JSON Lines requests; stdin by default. Labels are not needed. A classifier's
    score is the probability of label 1. Rows are read as they were for training, but for what is given here.

    \b
    cat today.rec | fm predict clicks.fm > scores.txt
    fm predict clicks.fm today.csv --to csv -o scores.csv
    """
    threads = options.chosen_threads(values.pop("threads"))
    loaded = api.load(model)
    bar = byte_bar("scoring", quiet=quiet)
    data = api.Data(
        inputs or ["-"], api.read_options(loaded, **options.given_read_options(values, threads)), on_bytes=bar.reach
    )
    with reading(data.report, bar, quiet=quiet):
        api.predict(loaded, data, output, to=to, threads=threads, unseen=unseen)

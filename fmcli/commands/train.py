"""`fm train`."""
import json
from contextlib import nullcontext

import click

from fmcli import options
from fmcli.console import say
from fmcli.progress import TrainingProgress, byte_bar
from fmcore import api, publish


@click.command("train")
@click.argument("inputs", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--output", required=True, metavar="MODEL", help="File to write the model to.")
@click.option("--test", "tests", multiple=True, metavar="DATA", help="Rows to score after each epoch; may be repeated.")
@options.hyperparameter_options
@options.read_options
@options.table_options
@click.option("--metrics-out", metavar="FILE", help="Write a JSON line an epoch to this file.")
@options.memory_option
@options.threads_option
@options.quiet_option
@click.pass_context
def command(context, inputs, output, tests, metrics_out, quiet, **values):
    """Train a factorization machine on rows of any format that `fm convert` reads.

    With the same seed the model is the same to the byte, for any number of threads and any memory limit.

    \b
    fm train train.rec --predictor-type binary_classifier --test test.rec -o clicks.fm
    fm train ratings.csv --predictor-type regressor --label-column rating \\
        --categorical user,movie --vocabulary columns.tsv -o ratings.fm
    fm train train.rec --preset sagemaker --hyperparameters hyperparameters.json -p epochs=20 -o jobs.fm
    """
    threads = options.chosen_threads(values.pop("threads"))
    hyperparameters = options.chosen_hyperparameters(context, values, quiet=quiet)
    binary = hyperparameters.predictor_type == "binary_classifier"
    read = options.to_read_options(options.given_read_options(values, threads), binary=binary)
    bar = byte_bar("reading", quiet=quiet)
    data = api.Data(inputs, read, on_bytes=bar.reach)
    test = api.Data(list(tests), read) if tests else None
    progress = TrainingProgress(bar, [part.report for part in (data, test) if part], quiet=quiet)
    with publish.whole(metrics_out) if metrics_out else nullcontext() as metrics:
        try:
            model = api.train(data, hyperparameters, output, test=test, observer=progress,
                              resources=api.Resources(threads, values["memory_limit"]))
        finally:
            progress.close()
        for record in progress.records if metrics else ():
            metrics.write(json.dumps(record).encode() + b"\n")
    if "best_epoch" in model.info:
        say(f"best epoch: {model.info['best_epoch']}, whose model is kept", quiet=quiet)

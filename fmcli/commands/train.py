"""`fm train`."""
import json
from contextlib import nullcontext

import click

from fmcli import options
from fmcli.channels import channel_options, train_and_test
from fmcli.progress import byte_bar
from fmcli.sagemaker_log import SageMakerLog
from fmcli.training_logs import JsonLinesLog, TableLog
from fmcore import api, publish

LOGS = {"table": TableLog, "sagemaker": SageMakerLog, "jsonl": JsonLinesLog}


@click.command("train")
@click.option("-o", "--output", required=True, metavar="MODEL", help="File to write the model to.")
@channel_options
@options.hyperparameter_options
@options.read_options
@options.table_options
@click.option("--metrics-out", metavar="FILE", help="Write a JSON line an epoch to this file.")
@click.option("--log-format", type=click.Choice(list(LOGS)), default="table",
              help="What is said while training: a table, the log lines of SageMaker's Factorization Machines, or a "
                   "JSON object an epoch.  [default: table]")
@options.memory_option
@options.threads_option
@options.quiet_option
@click.pass_context
def command(context, output, metrics_out, quiet, **values):
    """Train a factorization machine on rows of any format that `fm convert` reads.

    With the same seed the model is the same to the byte, for any number of threads and any memory limit.

    \b
    fm train train.rec --predictor-type binary_classifier --test test.rec -o clicks.fm
    fm train ratings.csv --predictor-type regressor --label-column rating \\
        --categorical user,movie --vocabulary columns.tsv -o ratings.fm
    fm train train.rec --preset sagemaker --hyperparameters hyperparameters.json -p epochs=20 -o jobs.fm
    fm train --input-mode pipe --train data/train --test data/test --predictor-type regressor -o a.fm
    """
    threads = options.chosen_threads(values.pop("threads"))
    hyperparameters = options.chosen_hyperparameters(context, values, quiet=quiet)
    binary = hyperparameters.predictor_type == "binary_classifier"
    read = options.to_read_options(options.given_read_options(values, threads), binary=binary)
    log_format = values.pop("log_format")
    bar = byte_bar("reading", quiet=quiet or log_format != "table")
    data, test = train_and_test(values, read, bar.reach)
    log = LOGS[log_format]([part.report for part in (data, test) if part], bar=bar, quiet=quiet)
    with publish.all_or_none(), publish.whole(metrics_out) if metrics_out else nullcontext() as metrics:
        try:
            model = api.train(data, hyperparameters, output, test=test, observer=log,
                              resources=api.Resources(threads, values["memory_limit"]))
        finally:
            log.close()
        for record in log.records if metrics else ():
            metrics.write(json.dumps(record).encode() + b"\n")
    log.finish(model)

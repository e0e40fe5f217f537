"""`fm train`."""

import json
from contextlib import nullcontext

import click

from fmcli import options, teams
from fmcli.channels import channel_options, train_and_test
from fmcli.progress import byte_bar
from fmcli.sagemaker_log import SageMakerLog
from fmcli.stop import Stop
from fmcli.training_logs import JsonLinesLog, TableLog
from fmcore import api
from fmcore.errors import PausedError, UsageError
from fmcore.hyper.presets import resolve
from fmcore.objectives import objective_of
from fmcore.system import publish

LOGS = {"table": TableLog, "sagemaker": SageMakerLog, "jsonl": JsonLinesLog}
MINUTES = 10.0

begin_options = options.stacked(
    click.option(
        "--init-model",
        metavar="MODEL",
        help="Go on from this model: its optimizer's state, its hyperparameters and its way to read rows are "
        "kept, but for what is given; it grows for new features, and its vocabulary for new values, "
        "unless several workers train.",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        help="Save training to this file after each epoch, and at SIGINT and SIGTERM; it is removed once the "
        "model is published. One that is there already is refused without --resume.",
    ),
    click.option(
        "--checkpoint-every",
        type=click.FloatRange(0, clamp=False),
        metavar="MINUTES",
        help=f"Save within an epoch as well, so often; 0 for after epochs alone.  [default: {MINUTES:g}]",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on from the checkpoint, to the same model as without a break; without one, begin anew.",
    ),
)


@click.command("train")
@click.option("-o", "--output", required=True, metavar="MODEL", help="File to write the model to.")
@channel_options
@begin_options
@options.hyperparameter_options
@options.read_options
@options.table_options
@click.option(
    "--metrics-out",
    metavar="FILE",
    help="Write a JSON line an epoch, and one a round of several workers, to this file.",
)
@click.option(
    "--log-format",
    type=click.Choice(list(LOGS)),
    default="table",
    help="What is said while training: a table, the log lines of SageMaker's Factorization Machines, or a "
    "JSON object an epoch.  [default: table]",
)
@options.device_option
@options.memory_option
@options.threads_option
@teams.team_options
@options.quiet_option
@click.pass_context
def command(context, **values):
    """Train a factorization machine on rows of any format that `fm convert` reads.

    With the same seed the model is the same to the byte, for any number of threads and any memory limit, and however
    often training was interrupted and gone on with; that of several workers is another for each number of them.

    \b
    fm train train.rec --predictor-type binary_classifier --test test.rec -o clicks.fm
    fm train ratings.csv --predictor-type regressor --label-column rating \\
        --categorical user,movie --vocabulary columns.tsv -o ratings.fm
    fm train train.rec --preset sagemaker --hyperparameters hyperparameters.json -p epochs=20 -o jobs.fm
    fm train --input-mode pipe --train data/train --test data/test --predictor-type regressor -o a.fm
    fm train today.rec --init-model yesterday.fm -o today.fm --checkpoint today.ckpt --resume
    fm train /shared/clicks --predictor-type binary_classifier -o clicks.fm --distributed ray --workers 8
    mpirun -n 8 fm train /shared/clicks --predictor-type binary_classifier -o clicks.fm --distributed mpi
    """
    with teams.led(values["distributed"]) as leads:
        if leads:
            train(context, **values)


def train(context, output, metrics_out, quiet, **values):
    """Do as the command's values say."""
    resources = teams.resources(values, values.pop("threads"))
    stop, saving = saving_of(values)
    initial_model, hyperparameters, read = job(context, values, resources.threads or 1, quiet=quiet)
    log_format = values.pop("log_format")
    bar = byte_bar("reading", quiet=quiet or log_format != "table")
    data, test = train_and_test(values, read, bar.reach)
    log = LOGS[log_format]([part.report for part in (data, test) if part], bar=bar, begun=stop.gently, quiet=quiet)
    with publish.all_or_none(), publish.whole(metrics_out) if metrics_out else nullcontext() as metrics:
        try:
            model = api.train(
                data,
                hyperparameters,
                output,
                test=test,
                observer=log,
                initial_model=initial_model,
                checkpoint=saving,
                stop=stop,
                resources=resources,
            )
        except PausedError as error:
            error.exit_code = stop.exit_code
            raise
        finally:
            log.close()
        for record in log.told if metrics else ():
            metrics.write(json.dumps(record).encode() + b"\n")
    if saving:
        api.remove_checkpoint(saving.path)
    log.finish(model)


def saving_of(values):
    """The Stop and the Saving (or None) that a command's values ask for, which are taken out of them."""
    path, minutes, resume = (values.pop(name) for name in ("checkpoint", "checkpoint_every", "resume"))
    stop = Stop()
    if path is None:
        for given, option in ((minutes is not None, "--checkpoint-every"), (resume, "--resume")):
            if given:
                raise UsageError(f"{option} is about a checkpoint; name its file with --checkpoint")
        return stop, None
    stop.listen()
    minutes = MINUTES if minutes is None else minutes
    return stop, api.Saving(path, resume=resume, minutes=minutes or None, resumable=True)


def job(context, values, threads, *, quiet):
    """(the model to go on from or None, Hyperparameters, ReadOptions) by a command's values, taken out of them."""
    path = values.pop("init_model")
    preset, given = options.given_hyperparameters(context, values, quiet=quiet, required=path is None)
    read = options.given_read_options(values, threads)
    if path is None:
        hyperparameters = resolve(preset, **given)
        read = options.to_read_options(read, binary=objective_of(hyperparameters).binary)
        return None, hyperparameters, read
    if context.get_parameter_source("preset") is not click.core.ParameterSource.DEFAULT:
        raise UsageError("--preset is for a new model; with --init-model all that is not given is the model's")
    model = api.load(path, verify=True)
    return (model, *api.continued(model, given, read))

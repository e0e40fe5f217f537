"""`fm train`."""

import json
from contextlib import nullcontext
from dataclasses import dataclass

import click

from fmcli.channels import Channels, channel_options
from fmcli.console import printable
from fmcli.hyperparameters import GivenHyperparameters, hyperparameter_options
from fmcli.options import gathered, quiet_option, stacked
from fmcli.preview import lines
from fmcli.progress import byte_bar
from fmcli.progress import reporting as reporting_rows
from fmcli.reading import Reading, buckets_by, read_options
from fmcli.sagemaker_log import SageMakerLog
from fmcli.stop import Stop
from fmcli.teams import Placement, placement_options
from fmcli.training_logs import JsonLinesLog, TableLog
from fmcore import api
from fmcore.errors import PausedError, UsageError
from fmcore.hyper.params import Hyperparameters
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions
from fmcore.model.model import Model
from fmcore.objectives import objective_of
from fmcore.system import publish
from fmcore.system.apart import require_apart

LOGS = {"table": TableLog, "sagemaker": SageMakerLog, "jsonl": JsonLinesLog}
MINUTES = 10.0
MANY = 10  # epochs


@dataclass(frozen=True)
class Start:
    """The start of a training, and how it is saved, as the command line gives it: None where an option is not given.

    init_model: path of a model to warm-start from. checkpoint: path. checkpoint_every: minutes, 0 for after epochs
    alone. resume: whether to resume from the checkpoint.
    """

    init_model: str | None
    checkpoint: str | None
    checkpoint_every: float | None
    resume: bool

    def saving(self) -> api.Saving | None:
        """Return the Saving, or None without a checkpoint; raises UsageError where an option needs one."""
        if self.checkpoint is None:
            for given, option in ((self.checkpoint_every is not None, "--checkpoint-every"), (self.resume, "--resume")):
                if given:
                    raise UsageError(f"{option} needs a checkpoint; name its file with --checkpoint")
            return None
        minutes = MINUTES if self.checkpoint_every is None else self.checkpoint_every
        return api.Saving(self.checkpoint, resume=self.resume, minutes=minutes or None, resumable=True)


@dataclass(frozen=True)
class Reporting:
    """The reports of a training: metrics_out, a path or None; log_format, a name of LOGS; quiet, only errors."""

    metrics_out: str | None
    log_format: str
    quiet: bool


start_options = stacked(
    click.option(
        "--init-model",
        metavar="MODEL",
        help="Warm-start from this model: its optimizer's state, its hyperparameters and how it reads rows are "
        "kept, except for what is given; it grows for new features, and its vocabulary for new values, "
        "unless several workers train.",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        help="Save training to this file after each epoch, and at SIGINT and SIGTERM; it is removed once the "
        "model is published. A file that exists already is refused without --resume.",
    ),
    click.option(
        "--checkpoint-every",
        type=click.FloatRange(0, clamp=False),
        metavar="MINUTES",
        help=f"Save within an epoch as well, this often; 0: only after epochs.  [default: {MINUTES:g}]",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Resume from the checkpoint, to the same model as without a break; without one, start from scratch.",
    ),
    gathered("start", Start),
)


@dataclass(frozen=True)
class Target:
    """The result of a training: output, the model's path; dry_run, whether only to show what rows become."""

    output: str | None
    dry_run: bool

    def path(self) -> str:
        """Return the path; raise UsageError without one."""
        if self.output is None:
            raise UsageError("no file to write the model to; name one with -o")
        return self.output


target_options = stacked(
    click.option("-o", "--output", metavar="MODEL", help="File to write the model to.  [required]"),
    click.option(
        "--dry-run", is_flag=True, help="Show the columns and the first rows as features, and train and write nothing."
    ),
    gathered("target", Target),
)


@click.command("train")
@target_options
@channel_options
@start_options
@hyperparameter_options
@read_options
@click.option(
    "--metrics-out",
    metavar="FILE",
    help="Write a JSON line an epoch, and one a round of several workers, to this file.",
)
@click.option(
    "--log-format",
    type=click.Choice(list(LOGS)),
    default="table",
    help="The log of training: a table, the log lines of SageMaker's Factorization Machines, or a "
    "JSON object an epoch.  [default: table]",
)
@placement_options
@quiet_option
@gathered("reporting", Reporting)
def command(
    target: Target,
    channels: Channels,
    start: Start,
    hyperparameters: GivenHyperparameters,
    reading: Reading,
    reporting: Reporting,
    placement: Placement,
) -> None:
    """Train a factorization machine on rows of any format that `fm convert` reads.

    With the same seed the model is the same to the byte, for any number of threads and any memory limit, and however
    often training was interrupted and resumed; the model of several workers depends on how many there are.

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
    with placement.leading() as leads:
        if leads:
            train(target, channels, start, hyperparameters, reading, reporting, placement)


def train(
    target: Target,
    channels: Channels,
    start: Start,
    hyperparameters: GivenHyperparameters,
    reading: Reading,
    reporting: Reporting,
    placement: Placement,
) -> None:
    """Train, save and report as the command line states."""
    resources, saving, stop, quiet = placement.resources(), start.saving(), Stop(), reporting.quiet
    if saving:
        stop.listen()
    initial_model, chosen, read = begun(start, hyperparameters, reading, resources.threads or 1, quiet=quiet)
    bar = byte_bar("reading", quiet=quiet or reporting.log_format != "table")
    data, test = channels.train_and_test(read, bar.reach)
    if test is None and initial_model is None and unjudged(hyperparameters, chosen):
        data.report.note(
            f"nothing judges whether {chosen.epochs} epochs are too many; --validation-fraction 0.1 with "
            "--early-stopping-patience 3, or --test, does"
        )
    if target.dry_run:
        show(data, chosen, initial_model, quiet=quiet)
        return
    output = target.path()
    metrics = {"the metrics": reporting.metrics_out}
    read_too = [hyperparameters.file, *(path for part in (data, test) if part for path in part.paths)]
    require_apart({"the model": output, "the checkpoint": start.checkpoint, **metrics}, read_too)
    require_apart(metrics, [start.init_model])
    reports = [part.report for part in (data, test) if part]
    origin = start.init_model or "the beginning"
    log = LOGS[reporting.log_format](reports, bar=bar, begun=stop.gently, start=origin, quiet=quiet)
    path = reporting.metrics_out
    with log.warned():
        with publish.all_or_none(), publish.whole(path) if path else nullcontext() as metrics:
            try:
                model = api.train(
                    data,
                    chosen,
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
            if metrics:
                metrics.write(b"".join(json.dumps(record).encode() + b"\n" for record in log.history))
        if saving:
            api.remove_checkpoint(saving.path)
        log.finish(model)


def unjudged(hyperparameters: GivenHyperparameters, chosen: Hyperparameters) -> bool:
    """Return whether many epochs are asked for, which no rows that are held out judge."""
    many = chosen.epochs is not None and chosen.epochs >= MANY and hyperparameters.preset == "native"
    return many and chosen.validation_fraction is None


def show(data: api.Data, hyperparameters: Hyperparameters, initial_model: Model | None, *, quiet: bool) -> None:
    """Print the schema that rows show, and the first of them as features."""
    with publish.whole("-") as out, reporting_rows(data.report, byte_bar("reading", quiet=True), quiet=quiet):
        for line in lines(api.preview(data, hyperparameters, initial_model=initial_model)):
            out.write(f"{printable(line)}\n".encode())


def begun(
    start: Start, hyperparameters: GivenHyperparameters, reading: Reading, threads: int, *, quiet: bool
) -> tuple[Model | None, Hyperparameters, ReadOptions]:
    """Return the model to warm-start from or None, and how to train and to read."""
    given = hyperparameters.values(quiet=quiet, required=start.init_model is None)
    if start.init_model is None:
        chosen = resolve(hyperparameters.preset, **given)
        return (
            None,
            chosen,
            reading.options(threads, binary=objective_of(chosen).binary, buckets=buckets_by(hyperparameters.preset)),
        )
    if hyperparameters.preset_given:
        raise UsageError("--preset is for a new model; with --init-model what is not given is taken from the model")
    model = api.load(start.init_model, verify=True)
    return (model, *api.continued(model, given, reading.given(threads)))

"""`fm tune`."""

from contextlib import nullcontext
from dataclasses import dataclass

import click

from fmcli.exits import INTERRUPTED
from fmcli.hyperparameters import GivenHyperparameters, hyperparameter_options, spelled_hyperparameters
from fmcli.options import chosen_threads, gathered, memory_option, quiet_option, spelled_options, threads_option
from fmcli.progress import byte_bar
from fmcli.reading import READING_NAMES, Reading, buckets_by, read_options
from fmcli.searching import Search, SearchedRows, search_options, searched_space
from fmcli.tuning_log import TuningLog
from fmcore import api
from fmcore.objectives import objective_of
from fmcore.system import publish
from fmcore.system.apart import require_apart
from fmcore.tuning.storage import require
from fmcore.tuning.tune import tune


@dataclass(frozen=True)
class TuningOutput:
    """Output of a search: output, the model's path; report, a path or None; quiet, only errors on standard error."""

    output: str
    report: str | None
    quiet: bool

    def require_apart(self, study: str | None, read: list[str | None]) -> None:
        """Refuse an output that is another one, or is read."""
        outputs = {"the model": self.output, "the report": self.report, "the study": study}
        require_apart({**outputs, "the list of trials": "-"}, read)


@dataclass(frozen=True)
class Limits:
    """The resources of a search, None where it is not given: threads of all trials, and memory_limit in bytes."""

    threads: int | None
    memory_limit: int | None


@click.command("tune")
@click.argument("inputs", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--output", required=True, metavar="MODEL", help="File to write the best model to.")
@search_options
@click.option("--report", metavar="FILE.html", help="Write a page about the search, which needs no network.")
@hyperparameter_options
@read_options
@memory_option
@threads_option
@quiet_option
@gathered("rows", SearchedRows)
@gathered("files", TuningOutput)
@gathered("limits", Limits)
@click.pass_context
def command(
    context: click.Context,
    rows: SearchedRows,
    search: Search,
    hyperparameters: GivenHyperparameters,
    reading: Reading,
    limits: Limits,
    files: TuningOutput,
) -> int:
    """Search for the hyperparameters that are best on test rows, and train the model with them.

    The first trial is the model that `fm train` gives with the same options; where no other is better, it is the one.
    A hyperparameter that is given a value is not searched. Trials that fall behind are stopped early. The output ends
    with the `fm train` command that gives the same model again. Ctrl-C publishes the best model so far.

    \b
    fm tune train.rec --test test.rec --predictor-type binary_classifier -o clicks.fm --jobs 2
    fm tune ratings.svm --cv 5 --predictor-type regressor -o ratings.fm --study ratings.db --timeout 3600 \\
        --range factors_wd=0.3:30:log --choice num_factors=8,16,32
    """
    require(plots=files.report is not None)
    threads = chosen_threads(limits.threads)
    space = searched_space(search, hyperparameters, quiet=files.quiet)
    binary = objective_of(space.fixed["predictor_type"]).binary
    read = reading.options(threads, binary=binary, buckets=buckets_by(space.preset))
    bar = byte_bar("reading", quiet=files.quiet)
    data, test = rows.train_and_test(read, bar.reach)
    plan = search.plan()
    read_too = [hyperparameters.file, *(path for part in (data, test) if part for path in part.paths)]
    files.require_apart(search.study, read_too)

    def train_command(given: dict[str, object]) -> list[str]:
        return [
            *("fm", "train", *rows.words(context, refit=search.refit)),
            *("-o", files.output),
            *spelled_hyperparameters(space.preset, given),
            *spelled_options(context, READING_NAMES),
        ]

    report = publish.whole(files.report) if files.report else nullcontext()
    with publish.all_or_none(), publish.whole("-") as out, report as page:
        log = TuningLog(
            [part for part in (data, test) if part],
            bar,
            plan=plan,
            command=train_command,
            out=out,
            page=page,
            quiet=files.quiet,
        )
        try:
            resources = api.Resources(threads, limits.memory_limit)
            result = tune(data, test, space, files.output, plan, observer=log, resources=resources)
        finally:
            log.close()
    return INTERRUPTED if result.interrupted else 0

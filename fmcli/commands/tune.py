"""`fm tune`."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import click

from fmcli.exits import INTERRUPTED
from fmcli.hyperparameters import GivenHyperparameters, hyperparameter_options, spelled_hyperparameters
from fmcli.option_types import Described, OneOf, Parsed
from fmcli.options import (
    chosen_threads,
    gathered,
    memory_option,
    quiet_option,
    spelled_options,
    stacked,
    threads_option,
)
from fmcli.progress import byte_bar
from fmcli.reading import READING_NAMES, Reading, buckets_by, read_options
from fmcli.tuning_log import TuningLog
from fmcore import api
from fmcore.errors import UsageError
from fmcore.io.options import ReadOptions
from fmcore.objectives import OBJECTIVES, objective_of
from fmcore.system import publish
from fmcore.system.apart import require_apart
from fmcore.tuning.goals import goal_names
from fmcore.tuning.samplers import STRATEGIES
from fmcore.tuning.space import SPACES, Choice, Range, Space, parse_choice, parse_range, search_space
from fmcore.tuning.storage import require
from fmcore.tuning.tune import Plan, tune


def first_goals() -> str:
    """Return what is optimized where no option states it, by the objective's noun."""
    return ", ".join(f"{next(iter(objective.goals))} {objective.noun}" for objective in OBJECTIVES.values())


@dataclass(frozen=True)
class SearchedRows:
    """The rows of a search: inputs to train on, tests to judge by, both as the command line names them."""

    inputs: tuple[str, ...]
    tests: tuple[str, ...]

    def train_and_test(
        self, read: ReadOptions, on_bytes: Callable[[int, int | None], None]
    ) -> tuple[api.Data, api.Data | None]:
        """Return the Data to train on, and that to judge by or None; on_bytes: as of Data, for the former."""
        data = api.Data(list(self.inputs), read, on_bytes=on_bytes)
        return data, api.Data(list(self.tests), read) if self.tests else None


@dataclass(frozen=True)
class Search:
    """The search to make, as the command line gives it: None where an option is not given.

    ranges, choices: (name of a hyperparameter, Range or Choice). space: a name of SPACES. folds: of cross-validation.
    objective, strategy, trials, timeout, jobs, study: as of fmcore.tuning.tune.Plan.
    """

    ranges: tuple[tuple[str, Range], ...]
    choices: tuple[tuple[str, Choice], ...]
    space: str | None
    folds: int | None
    objective: str | None
    strategy: str
    trials: int
    timeout: float | None
    jobs: int
    study: str | None

    def dimensions(self) -> dict[str, Range | Choice]:
        """Return name -> Range or Choice that the user named; raises UsageError where a name has two."""
        found: dict[str, Range | Choice] = {}
        named: list[tuple[str, Range | Choice]] = [*self.ranges, *self.choices]
        for name, dimension in named:
            if name in found:
                raise UsageError(f"{name} is given two ranges or lists of choices; leave one of them out")
            found[name] = dimension
        return found

    def plan(self) -> Plan:
        """Return how to search."""
        return Plan(
            objective=self.objective,
            strategy=self.strategy,
            trials=self.trials,
            timeout=self.timeout,
            jobs=self.jobs,
            folds=self.folds or 0,
            study=self.study,
        )


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


search_options = stacked(
    click.option("--test", "tests", multiple=True, metavar="DATA", help="Rows to evaluate trials on; may be repeated."),
    click.option(
        "--cv",
        "folds",
        type=click.IntRange(2, 100),
        metavar="K",
        help="Without --test: cross-validate over K folds of the training rows, each tested by a model of the rest.",
    ),
    click.option(
        "--objective",
        type=OneOf("objective", goal_names),
        metavar="NAME",
        cls=Described,
        help=lambda: f"What to optimize: {', '.join(goal_names())}.  [default: {first_goals()}]",
    ),
    click.option(
        "--range",
        "ranges",
        multiple=True,
        metavar="NAME=LO:HI",
        type=Parsed("range", parse_range),
        help="Search a hyperparameter from LO to HI, such as factors_lr=1e-3:0.5:log: :log is a logarithmic "
        "scale, :int integers. May be repeated.",
    ),
    click.option(
        "--choice",
        "choices",
        multiple=True,
        metavar="NAME=A,B,C",
        type=Parsed("choice", parse_choice),
        help="Search a hyperparameter among values; may be repeated.",
    ),
    click.option(
        "--space",
        type=click.Choice(tuple(SPACES)),
        help="Search this set of ranges in addition to those named; sagemaker also takes --preset sagemaker where no "
        "preset is given.  [default: small where nothing is named]",
    ),
    click.option(
        "--strategy",
        type=click.Choice(STRATEGIES),
        default="bayesian",
        show_default=True,
        help="How the next trial is chosen; hyperband also stops bad ones earlier.",
    ),
    click.option(
        "--trials",
        type=click.IntRange(1),
        default=40,
        show_default=True,
        metavar="N",
        help="Trials in all, those of earlier runs on the same study included.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Stop the search after this time."
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, 1024),
        default=1,
        show_default=True,
        metavar="N",
        help="Processes that train in parallel; with one, the same --seed gives the same trials.",
    ),
    click.option(
        "--study", metavar="FILE.db", help="Keep the trials in this SQLite file, and resume from those that it holds."
    ),
    gathered("search", Search),
)


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

    A hyperparameter that is given a value is not searched. Trials that fall behind are stopped early. The output ends
    with the `fm train` command that gives the same model again. Ctrl-C publishes the best model so far.

    \b
    fm tune train.rec --test test.rec --predictor-type binary_classifier -o clicks.fm --jobs 2
    fm tune ratings.svm --cv 5 --predictor-type regressor -o ratings.fm --study ratings.db --timeout 3600 \\
        --range factors_wd=1e-4:0.1:log --choice num_factors=4,8,16
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

    def train_command(found: dict[str, object]) -> list[str]:
        return [
            *("fm", "train", *rows.inputs),
            *spelled_options(context, ["tests"]),
            *("-o", files.output),
            *spelled_hyperparameters(space.preset, {**space.fixed, **found}),
            *spelled_options(context, READING_NAMES),
        ]

    report = publish.whole(files.report) if files.report else nullcontext()
    with publish.all_or_none(), publish.whole("-") as out, report as page:
        log = TuningLog(
            [part for part in (data, test) if part],
            bar,
            trials=plan.trials,
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


def searched_space(search: Search, hyperparameters: GivenHyperparameters, *, quiet: bool) -> Space:
    """Return the Space to search; SageMaker's has the preset of that name where none is given."""
    if search.space == "sagemaker" and not hyperparameters.preset_given:
        hyperparameters = replace(hyperparameters, preset="sagemaker")
    fixed = hyperparameters.values(quiet=quiet)
    return search_space(search.dimensions(), fixed, space=search.space, preset=hyperparameters.preset)

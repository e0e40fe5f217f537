"""`fm tune`."""

import os
from contextlib import nullcontext

import click

from fmcli import options
from fmcli.exits import INTERRUPTED
from fmcli.option_types import Described, OneOf
from fmcli.options import spelled_options
from fmcli.progress import byte_bar
from fmcli.tuning_log import TuningLog
from fmcore import api
from fmcore.errors import UsageError
from fmcore.objectives import OBJECTIVES, objective_of
from fmcore.system import publish
from fmcore.tuning.goals import goal_names
from fmcore.tuning.samplers import STRATEGIES
from fmcore.tuning.space import SPACES, parse_choice, parse_range, search_space
from fmcore.tuning.storage import require
from fmcore.tuning.tune import Plan, tune

PLAN_OPTIONS = ("objective", "strategy", "trials", "timeout", "jobs", "study")
ROW_OPTIONS = (*options.READ_NAMES, *options.TABLE_NAMES)


def first_goals():
    """What is made best where no option says it, by the objective's noun."""
    return ", ".join(f"{next(iter(objective.goals))} {objective.noun}" for objective in OBJECTIVES.values())


@click.command("tune")
@click.argument("inputs", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--output", required=True, metavar="MODEL", help="File to write the best model to.")
@click.option("--test", "tests", multiple=True, metavar="DATA", help="Rows to judge by; may be repeated.")
@click.option(
    "--cv",
    "folds",
    type=click.IntRange(2, 100),
    metavar="K",
    help="Without --test: judge by K parts of the training rows in turn, each tested by a model of the rest.",
)
@click.option(
    "--objective",
    type=OneOf("objective", goal_names),
    metavar="NAME",
    cls=Described,
    help=lambda: f"What to make best: {', '.join(goal_names())}.  [default: {first_goals()}]",
)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LO:HI",
    type=options.Parsed("range", parse_range),
    help="Search a hyperparameter from LO to HI, such as factors_lr=1e-3:0.5:log: :log is a logarithmic "
    "scale, :int integers. May be repeated.",
)
@click.option(
    "--choice",
    "choices",
    multiple=True,
    metavar="NAME=A,B,C",
    type=options.Parsed("choice", parse_choice),
    help="Search a hyperparameter among values; may be repeated.",
)
@click.option(
    "--space",
    type=click.Choice(tuple(SPACES)),
    help="Search this set of ranges, beside those named; sagemaker also takes --preset sagemaker where no "
    "preset is given.  [default: small where nothing is named]",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="bayesian",
    show_default=True,
    help="How the next trial is chosen; hyperband also stops bad ones earlier.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    metavar="N",
    help="Trials in all, those of earlier runs on the same study included.",
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Search no longer.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that train side by side; with one, the same --seed gives the same trials.",
)
@click.option(
    "--study", metavar="FILE.db", help="Keep the trials in this SQLite file, and go on with those that it holds."
)
@click.option("--report", metavar="FILE.html", help="Write a page about the search, which needs no network.")
@options.hyperparameter_options
@options.read_options
@options.table_options
@options.memory_option
@options.threads_option
@options.quiet_option
@click.pass_context
def command(context, output, report, quiet, **values):
    """Search for the hyperparameters that are best on test rows, and train the model with them.

    A hyperparameter that is given a value is not searched. Trials that fall behind are stopped early. At the end stands
    the `fm train` command that gives the same model again. Ctrl-C publishes the best model so far.

    \b
    fm tune train.rec --test test.rec --predictor-type binary_classifier -o clicks.fm --jobs 2
    fm tune ratings.svm --cv 5 --predictor-type regressor -o ratings.fm --study ratings.db --timeout 3600 \\
        --range factors_wd=1e-4:0.1:log --choice num_factors=4,8,16
    """
    require(plots=report is not None)
    threads = options.chosen_threads(values.pop("threads"))
    if values["space"] == "sagemaker" and context.get_parameter_source("preset") is click.core.ParameterSource.DEFAULT:
        values["preset"] = "sagemaker"
    preset, fixed = options.given_hyperparameters(context, values, quiet=quiet)
    space = search_space(named(values), fixed, space=values["space"], preset=preset)
    binary = objective_of(fixed["predictor_type"]).binary
    read = options.to_read_options(options.given_read_options(values, threads), binary=binary)
    bar = byte_bar("reading", quiet=quiet)
    data = api.Data(list(values["inputs"]), read, on_bytes=bar.reach)
    test = api.Data(list(values["tests"]), read) if values["tests"] else None
    plan = Plan(folds=values["folds"] or 0, **{name: values[name] for name in PLAN_OPTIONS})
    require_apart(values["study"], output, report)

    def train_command(found):
        return [
            *("fm", "train"),
            *values["inputs"],
            *spelled_options(context, ["tests"]),
            "-o",
            output,
            *options.spelled_hyperparameters(preset, {**fixed, **found}),
            *spelled_options(context, ROW_OPTIONS),
        ]

    with publish.all_or_none(), publish.whole("-") as out, publish.whole(report) if report else nullcontext() as page:
        log = TuningLog(
            [part for part in (data, test) if part],
            bar,
            trials=plan.trials,
            command=train_command,
            out=out,
            page=page,
            quiet=quiet,
        )
        try:
            result = tune(
                data, test, space, output, plan, follower=log, resources=api.Resources(threads, values["memory_limit"])
            )
        finally:
            log.close()
    return INTERRUPTED if result.interrupted else 0


def require_apart(study, *outputs):
    """Refuse a study that an output would replace."""
    for output in outputs:
        if study is not None and output is not None and os.path.realpath(study) == os.path.realpath(output):
            raise UsageError(f"{study} is named for the study and for an output, which would replace it")


def named(values):
    """The ranges and choices that the user named: name -> Range or Choice."""
    found = {}
    for name, dimension in (*values["ranges"], *values["choices"]):
        if name in found:
            raise UsageError(f"{name} is given two ranges or lists of choices; leave one of them out")
        found[name] = dimension
    return found

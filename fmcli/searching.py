"""Options of a search, the typed objects that they become, and the space that they ask for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import click

from fmcli.hyperparameters import GivenHyperparameters
from fmcli.option_types import Described, OneOf, Parsed
from fmcli.options import gathered, spelled_options, stacked
from fmcore import api
from fmcore.errors import UsageError
from fmcore.io.options import ReadOptions
from fmcore.objectives import OBJECTIVES
from fmcore.tuning.dimensions import Choice, Range, parse_choice, parse_range
from fmcore.tuning.goals import goal_names
from fmcore.tuning.repeats import FEW
from fmcore.tuning.samplers import STRATEGIES
from fmcore.tuning.space import Space, search_space
from fmcore.tuning.spaces import SPACES
from fmcore.tuning.tune import Plan


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

    def words(self, context: click.Context, *, refit: bool) -> list[str]:
        """Return the words of a command line that name the rows to train on, and those to judge by unless `refit`."""
        return [*self.inputs, *self.tests] if refit else [*self.inputs, *spelled_options(context, ["tests"])]


@dataclass(frozen=True)
class Search:
    """The search to make, as the command line gives it: None where an option is not given.

    ranges, choices: (name of a hyperparameter, Range or Choice). space: a name of SPACES. folds: of cross-validation.
    objective, strategy, trials, timeout, jobs, study, repeats, refit: as of fmcore.tuning.tune.Plan.
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
    repeats: int
    refit: bool

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
            repeats=self.repeats,
            refit=self.refit,
        )


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
        help="Trials in all, those of earlier runs on the same study and the untuned model included.",
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
    click.option(
        "--repeats",
        type=click.IntRange(1, 100),
        default=1,
        show_default=True,
        metavar="N",
        help=f"At the end, train the {FEW} best trials and the untuned model with N-1 further seeds, and compare "
        "their means.",
    ),
    click.option(
        "--refit", is_flag=True, help="Train the best model on the test rows as well, once they have chosen it."
    ),
    gathered("search", Search),
)


def searched_space(search: Search, hyperparameters: GivenHyperparameters, *, quiet: bool) -> Space:
    """Return the Space to search; SageMaker's has the preset of that name where none is given."""
    if search.space == "sagemaker" and not hyperparameters.preset_given:
        hyperparameters = replace(hyperparameters, preset="sagemaker")
    fixed = hyperparameters.values(quiet=quiet)
    return search_space(search.dimensions(), fixed, space=search.space, preset=hyperparameters.preset)

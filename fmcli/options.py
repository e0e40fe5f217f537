"""Options shared by commands: hyperparameters from their table, how rows are read, and what a command may use."""
from functools import cache

import click

from fmcore.errors import UsageError
from fmcore.io.options import FORMATS, ReadOptions, TableOptions
from fmcore.memory import parse_size
from fmcore.params import INIT_NUMBERS, PARAMETERS, PREDICTOR_TYPES, resolve
from fmcore.threads import default_threads

SHORT = {"binary_classifier": "classifier", "regressor": "regressor"}


class Parsed(click.ParamType):
    """An option whose text a library function turns into a value, refusing it with a UsageError.

    expected: said where the option is missing.
    """

    def __init__(self, name, parse, expected=None):
        self.name, self._parse, self._expected = name, parse, expected

    def convert(self, value, param, ctx):
        """The value; click adds the option's name to what is wrong."""
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)

    def get_missing_message(self, param, ctx):  # noqa: ARG002 - click's signature
        """What click adds where the option is required and missing."""
        return self._expected and f"Expected {self._expected}."


def stacked(*decorators):
    """One decorator of several, in the order of the help page."""
    def decorate(function):
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


# ------------------------------------------------------------------------------------------------ hyperparameters
@cache
def defaults(predictor_type):
    """The native preset's values for a predictor type."""
    return resolve(predictor_type=predictor_type)


def default_text(name, parameter):
    """What a help page says of the default: one value, or one for each predictor type where they differ."""
    values = {kind: getattr(defaults(kind), name) for kind in PREDICTOR_TYPES}
    texts = {kind: parameter.unset if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
             for kind, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{text} {SHORT[kind]}" for kind, text in texts.items())


def hyperparameter_option(name, parameter):
    """The click option of one row of the table."""
    metavar = "|".join(parameter.choices) if parameter.choices else {int: "N", float: "X", bool: ""}[parameter.kind]
    if parameter.kind is bool:
        flag = name.replace("_", "-")
        return click.option(f"--{flag}/--no-{flag}", default=None, help=_help(name, parameter))
    return click.option(f"--{name.replace('_', '-')}", type=Parsed(name, parameter.parse, parameter.valid),
                        metavar=metavar, required=parameter.required, help=_help(name, parameter))


def _help(name, parameter):
    own = name.rsplit("_", 1)[-1] in INIT_NUMBERS.values()  # its help tells the default that goes with the method
    if parameter.required or own:
        return parameter.help
    return f"{parameter.help}  [default: {default_text(name, parameter)}]"


hyperparameter_options = stacked(*(hyperparameter_option(name, parameter) for name, parameter in PARAMETERS.items()))


def given_hyperparameters(context, values):
    """Take the hyperparameters that the user gave out of a command's values: name -> value (None is a value)."""
    given = {}
    for name in PARAMETERS:
        value = values.pop(name)
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            given[name] = value
    return given


# ------------------------------------------------------------------------------------------------------- reading
read_options = stacked(
    click.option("--format", type=click.Choice(FORMATS), help="Format of the rows.  [default: by content]"),
    click.option("--index-base", type=click.Choice(("auto", "0", "1")),
                 help="libsvm, libffm: 1 subtracts one from every index; 0 and auto keep indices as they stand, and "
                      "auto says so when they look 1-based."),
    click.option("--on-error", type=click.Choice(("fail", "skip")),
                 help="At a bad row, fail or leave it out and count it.  [default: fail]"),
    click.option("--positive-label", "positive", metavar="X", help="The label that means 1; every other one means 0."),
)
table_options = stacked(
    click.option("--header/--no-header", default=None, help="CSV: whether the first line names columns.  "
                                                            "[default: by content]"),
    click.option("--label-column", "label", metavar="COL", help="Column of the label, by name or number from 0."),
    click.option("--weight-column", "weight", metavar="COL", help="Column of the row's weight."),
    click.option("--id-column", "row_id", metavar="COL", help="Column of the row's id, passed on to predictions."),
    click.option("--numeric", multiple=True, metavar="COLS", help="Numeric columns, separated by commas; so are all "
                                                                  "that no option names."),
    click.option("--categorical", multiple=True, metavar="COLS", help="Columns whose every value is a feature."),
    click.option("--ignore", multiple=True, metavar="COLS", help="Columns to leave out."),
    click.option("--vocabulary", metavar="FILE", help="The file that says which index a categorical value has: written "
                                                      "if there is none, else read."),
    click.option("--hash-bits", type=click.IntRange(1, 30), metavar="B",
                 help="Hash categorical values into 2^B indices instead."),
    click.option("--missing", type=click.Choice(("zero", "error")),
                 help="CSV, Parquet: a missing value is no feature, or an error.  [default: zero]"),
)
TABLE_NAMES = tuple(TableOptions.__dataclass_fields__)
READ_NAMES = ("format", "index_base", "on_error", "positive")


def given_read_options(values, threads):
    """Take the read options that were given out of a command's values: name -> value, the table's under "table"."""
    table = {name: values.pop(name) for name in TABLE_NAMES}
    for name in ("numeric", "categorical", "ignore"):
        table[name] = tuple(column for columns in table[name] for column in columns.split(",") if column)
    given = {name: values.pop(name) for name in READ_NAMES}
    return {**_only_given(given), "table": _only_given(table), "threads": threads}


def to_read_options(given, *, binary=False):
    """ReadOptions of what was given, where no model carries any."""
    return ReadOptions(**{**given, "table": TableOptions(**given["table"]), "binary": binary})


def _only_given(values):
    return {name: value for name, value in values.items() if value not in (None, ())}


# ------------------------------------------------------------------------------------------- what a command may use
threads_option = click.option("--threads", type=click.IntRange(1, 1024), metavar="N",
                              help="Threads to use.  [default: the processors this process may use]")
memory_option = click.option("--memory-limit", type=Parsed("size", parse_size), metavar="SIZE",
                             help="Memory that training rows may take, such as 4G; beyond it each epoch reads them "
                                  "again.  [default: half of what is free]")
unseen_option = click.option("--unseen", type=click.Choice(("ignore", "error")), default="ignore",
                             help="Features that the model has not seen: ignore and count them, or fail.  "
                                  "[default: ignore]")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks, only errors.")


def chosen_threads(threads):
    """The threads given, else as many as there are processors to use."""
    return threads or default_threads()

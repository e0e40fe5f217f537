"""Options shared by commands: hyperparameters from their table, how rows are read, and what a command may use."""

import click

from fmcli.console import say
from fmcli.option_types import Described, Parsed
from fmcore.errors import UsageError
from fmcore.hyper.file import read_file
from fmcore.hyper.params import INIT_NUMBERS, PARAMETERS, from_strings, layered
from fmcore.hyper.presets import PRESETS, resolve
from fmcore.io.options import FORMATS, ReadOptions, TableOptions
from fmcore.kernels.devices import parse_device
from fmcore.objectives import OBJECTIVES
from fmcore.system.memory import parse_size
from fmcore.system.threads import default_threads


def stacked(*decorators):
    """One decorator of several, in the order of the help page."""

    def decorate(function):
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


# ------------------------------------------------------------------------------------------------ hyperparameters
def default_text(name, parameter):
    """What a help page says of the default: one value, or one for each objective where they differ."""
    values = {kind: getattr(resolve(predictor_type=kind), name) for kind in OBJECTIVES}
    texts = {kind: text_of(parameter, value) for kind, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{text} {OBJECTIVES[kind].noun}" for kind, text in texts.items())


def text_of(parameter, value):
    """A value as the user would write it."""
    if value is None:
        return parameter.unset
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def flag(name):
    """The option of a hyperparameter."""
    return f"--{name.replace('_', '-')}"


def hyperparameter_option(name, parameter):
    """The click option of one row of the table."""
    described = {"cls": Described, "help": lambda: _help(name, parameter)}
    if parameter.kind is bool:
        return click.option(f"{flag(name)}/{flag(f'no_{name}')}", default=None, **described)
    return click.option(flag(name), type=typed(name), **described)


def typed(name):
    """The type of the option for a hyperparameter that is no switch."""
    parameter = PARAMETERS[name]

    def metavar():
        return "|".join(parameter.choices) if parameter.choices else {int: "N", float: "X"}[parameter.kind]

    return Parsed(name, parameter.parse, metavar)


def _help(name, parameter):
    if parameter.required:
        return f"{parameter.help}  [required, here or in FILE]"
    if name.rsplit("_", 1)[-1] in INIT_NUMBERS.values():  # its help tells the default that goes with the method
        return parameter.help
    return f"{parameter.help}  [default: {default_text(name, parameter)}]"


def parse_pair(text):
    """(name, typed value) of "name=value", the name in either spelling."""
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"found {text!r}; expected name=value")
    return next(iter(from_strings({name.strip().replace("-", "_"): value}).items()))


hyperparameter_options = stacked(
    click.option(
        "--preset",
        type=click.Choice(tuple(PRESETS)),
        default="native",
        show_default=True,
        help="The defaults of hyperparameters: native, those shown below, or those of Amazon SageMaker.",
    ),
    click.option(
        "--hyperparameters",
        "hyperparameter_file",
        metavar="FILE",
        help="Hyperparameters as a JSON object of SageMaker's names; what an option gives comes before it.",
    ),
    click.option(
        "-p",
        "--param",
        "pairs",
        metavar="NAME=VALUE",
        multiple=True,
        type=Parsed("name=value", parse_pair),
        help="A hyperparameter: -p epochs=3 is --epochs 3; may be repeated.",
    ),
    *(hyperparameter_option(name, parameter) for name, parameter in PARAMETERS.items()),
)


def given_hyperparameters(context, values, *, quiet, required=True):
    """The preset and the typed hyperparameters, name -> value, that a command's values say and are taken out of them.

    What the user gave on the command line goes before the file, the file before the preset.
    required: whether those without a default must be given.
    """
    preset, path, pairs = (values.pop(name) for name in ("preset", "hyperparameter_file", "pairs"))
    given = _merged([*_given_options(context, values), *pairs])
    if path is not None:
        of_file, ignored = read_file(path)
        given = layered(of_file, given)
        if ignored:
            say(f"note: {path}: ignored, as all that begins with _: {', '.join(ignored)}", quiet=quiet)
    for name, parameter in PARAMETERS.items():
        if required and parameter.required and name not in given:
            raise click.UsageError(
                f"Missing option '{flag(name)}'. Expected {parameter.valid}. "
                "-p or --hyperparameters FILE may say it as well.",
                context,
            )
    return preset, given


def spelled_hyperparameters(preset, given):
    """The words of a command line that say these hyperparameters."""
    words = [] if preset == "native" else ["--preset", preset]
    for name, value in given.items():
        text = text_of(PARAMETERS[name], value)
        if PARAMETERS[name].kind is bool:
            words.append(flag(name if value else f"no_{name}"))
        else:
            words += [flag(name), text]
    return words


def spelled_options(context, names):
    """The words of a command line that give these options of a command what they were given."""
    words = []
    for option in context.command.params:
        value = context.params.get(option.name)
        if option.name not in names or value in (None, ()):
            continue
        if option.is_flag:
            words.append((option.opts if value else option.secondary_opts)[0])
        else:
            for one in value if option.multiple else (value,):
                words += [option.opts[-1], str(one)]
    return words


def _given_options(context, values):
    """(name, value) of each hyperparameter that the user gave as an option; None is a value."""
    options = [(name, values.pop(name)) for name in PARAMETERS]
    return [
        (name, value)
        for name, value in options
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    ]


def _merged(pairs):
    """The dict of (name, value) pairs; a name may be given twice only as the same."""
    merged = {}
    for name, value in pairs:
        if name in merged and merged[name] != value:
            first, second = (text_of(PARAMETERS[name], v) for v in (merged[name], value))
            raise UsageError(f"{name} is given twice, as {first} and as {second}; leave one of them out")
        merged[name] = value
    return merged


# ------------------------------------------------------------------------------------------------------- reading
read_options = stacked(
    click.option("--format", type=click.Choice(FORMATS), help="Format of the rows.  [default: by content]"),
    click.option(
        "--index-base",
        type=click.Choice(("auto", "0", "1")),
        help="libsvm, libffm: 1 subtracts one from every index; 0 and auto keep indices as they stand, and "
        "auto says so when they look 1-based.",
    ),
    click.option(
        "--on-error",
        type=click.Choice(("fail", "skip")),
        help="At a bad row, fail or leave it out and count it.  [default: fail]",
    ),
    click.option("--positive-label", "positive", metavar="X", help="The label that means 1; every other one means 0."),
)
table_options = stacked(
    click.option(
        "--header/--no-header", default=None, help="CSV: whether the first line names columns.  [default: by content]"
    ),
    click.option("--label-column", "label", metavar="COL", help="Column of the label, by name or number from 0."),
    click.option("--weight-column", "weight", metavar="COL", help="Column of the row's weight."),
    click.option("--id-column", "row_id", metavar="COL", help="Column of the row's id, passed on to predictions."),
    click.option(
        "--numeric",
        multiple=True,
        metavar="COLS",
        help="Numeric columns, separated by commas; so are all that no option names.",
    ),
    click.option("--categorical", multiple=True, metavar="COLS", help="Columns whose every value is a feature."),
    click.option("--ignore", multiple=True, metavar="COLS", help="Columns to leave out."),
    click.option(
        "--vocabulary",
        metavar="FILE",
        help="The file that says which index a categorical value has: written if there is none, else read.",
    ),
    click.option(
        "--hash-bits", type=click.IntRange(1, 30), metavar="B", help="Hash categorical values into 2^B indices instead."
    ),
    click.option(
        "--missing",
        type=click.Choice(("zero", "error")),
        help="CSV, Parquet: a missing value is no feature, or an error.  [default: zero]",
    ),
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
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Threads to use.  [default: the processors this process may use]",
)
memory_option = click.option(
    "--memory-limit",
    type=Parsed("size", parse_size),
    metavar="SIZE",
    help="Memory for training, such as 4G: rows that do not fit beside the model are read "
    "again each epoch.  [default: what is free, half of it for rows]",
)
device_option = click.option(
    "--device",
    type=Parsed("device", parse_device),
    metavar="DEVICE",
    default="cpu",
    show_default=True,
    help="Where to train: cpu; cuda or cuda:N, a GPU, for dense rows (extra gpu); "
    "cuda:0,cuda:1, several; auto, which says what it takes and why; torch:cpu, the code "
    "for GPUs on the processor.",
)
unseen_option = click.option(
    "--unseen",
    type=click.Choice(("ignore", "error")),
    default="ignore",
    help="Features that the model has not seen: ignore and count them, or fail.  [default: ignore]",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks, only errors.")


def chosen_threads(threads):
    """The threads given, else as many as there are processors to use."""
    return threads or default_threads()

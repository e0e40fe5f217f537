"""Options of hyperparameters, one for each row of their table, and what the user gave of them."""

from collections.abc import Callable
from dataclasses import dataclass

import click

from fmcli.console import say
from fmcli.option_types import Described, Parsed
from fmcli.options import gathered_by, is_given, stacked
from fmcore.errors import UsageError
from fmcore.hyper.file import read_file
from fmcore.hyper.given import from_strings, layered
from fmcore.hyper.groups import INIT_NUMBERS
from fmcore.hyper.parameter import Parameter
from fmcore.hyper.params import PARAMETERS
from fmcore.hyper.presets import PRESETS, resolve
from fmcore.objectives import OBJECTIVES

PRESET, FILE, PAIRS = "preset", "hyperparameter_file", "pairs"  # options beside one for each hyperparameter


@dataclass(frozen=True)
class GivenHyperparameters:
    """Hyperparameters as a command line gives them.

    preset: a name of PRESETS. preset_given: whether the user gave it.
    options: name -> typed value of each hyperparameter that the user gave as an option; None is a value.
    pairs: (name, typed value) of each -p. file: path of a file of hyperparameters, or None.
    """

    preset: str
    preset_given: bool
    options: dict[str, object]
    pairs: tuple[tuple[str, object], ...]
    file: str | None

    @classmethod
    def of(cls, context: click.Context) -> "GivenHyperparameters":
        """Return what the user gave to the command that runs in this context."""
        values = context.params
        options = {name: values[name] for name in PARAMETERS if is_given(context, name)}
        return cls(values[PRESET], is_given(context, PRESET), options, values[PAIRS], values[FILE])

    def values(self, *, quiet: bool, required: bool = True) -> dict[str, object]:
        """Return name -> typed value of all that the user gave: the command line goes before the file.

        required: whether those without a default must be given. quiet: whether to pass over names that are ignored in
        the file without a note. Raises UsageError where a name is given two values, click.UsageError where one without
        a default is missing, and what fmcore.hyper.file.read_file raises.
        """
        given = _merged([*self.options.items(), *self.pairs])
        if self.file is not None:
            of_file, ignored = read_file(self.file)
            given = layered(of_file, given)
            if ignored:
                say(f"note: {self.file}: names that begin with _ are ignored: {', '.join(ignored)}", quiet=quiet)
        for name, parameter in PARAMETERS.items():
            if required and parameter.required and name not in given:
                raise click.UsageError(
                    f"Missing option '{flag(name)}'. Expected {parameter.valid}. "
                    "It can also be given by -p or --hyperparameters FILE.",
                    click.get_current_context(),
                )
        return given


def _merged(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the dict of (name, value) pairs; a name may be given twice only as the same."""
    merged: dict[str, object] = {}
    for name, value in pairs:
        if name in merged and merged[name] != value:
            first, second = (text_of(PARAMETERS[name], v) for v in (merged[name], value))
            raise UsageError(f"{name} is given twice, as {first} and as {second}; leave one of them out")
        merged[name] = value
    return merged


def default_text(name: str, parameter: Parameter) -> str:
    """Return how a help page states the default: one value, or one for each objective where they differ."""
    values = {kind: getattr(resolve(predictor_type=kind), name) for kind in OBJECTIVES}
    texts = {kind: text_of(parameter, value) for kind, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{text} {OBJECTIVES[kind].noun}" for kind, text in texts.items())


def text_of(parameter: Parameter, value: object) -> str:
    """Return a value as the user would write it."""
    if value is None:
        return parameter.unset
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def flag(name: str) -> str:
    """Return the option of a hyperparameter."""
    return f"--{name.replace('_', '-')}"


def hyperparameter_option(name: str, parameter: Parameter) -> Callable[[Callable], Callable]:
    """Return the click option of one row of the table."""
    described = {"cls": Described, "help": lambda: _help(name, parameter), "hidden": parameter.hidden}
    if parameter.kind is bool:
        return click.option(f"{flag(name)}/{flag(f'no_{name}')}", default=None, **described)
    return click.option(flag(name), type=typed(name), **described)


def typed(name: str) -> Parsed:
    """Return the type of the option for a hyperparameter that is no switch."""
    parameter = PARAMETERS[name]

    def metavar() -> str:
        return "|".join(parameter.choices) if parameter.choices else {int: "N", float: "X"}[parameter.kind]

    return Parsed(name, parameter.parse, metavar)


def _help(name: str, parameter: Parameter) -> str:
    if parameter.required:
        return f"{parameter.help}  [required, here or in FILE]"
    if name.rsplit("_", 1)[-1] in INIT_NUMBERS.values():  # its help states the default that goes with the method
        return parameter.help
    return f"{parameter.help}  [default: {default_text(name, parameter)}]"


def parse_pair(text: str) -> tuple[str, object]:
    """Return (name, typed value) of "name=value", the name in either spelling."""
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
        help="Hyperparameters as a JSON object of SageMaker's names; options take precedence over it.",
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
    gathered_by("hyperparameters", (PRESET, FILE, PAIRS, *PARAMETERS), GivenHyperparameters.of),
)


def spelled_hyperparameters(preset: str, given: dict[str, object]) -> list[str]:
    """Return the words of a command line that give these hyperparameters."""
    words = [] if preset == "native" else ["--preset", preset]
    for name, value in given.items():
        text = text_of(PARAMETERS[name], value)
        if PARAMETERS[name].kind is bool:
            words.append(flag(name if value else f"no_{name}"))
        else:
            words += [flag(name), text]
    return words

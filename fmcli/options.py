"""What all options are made of, the typed object that a command gets of several, and options of most commands."""

from collections.abc import Callable, Collection
from dataclasses import fields
from functools import wraps
from typing import TypeVar

import click

from fmcli.option_types import Parsed
from fmcore.kernels.devices import parse_device
from fmcore.system.memory import parse_size
from fmcore.system.threads import default_threads

Function = TypeVar("Function", bound=Callable)


# ------------------------------------------------------------------------------------------------ groups of options
def stacked(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Return one decorator of several, in the order of the help page."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def gathered(argument: str, kind: type) -> Callable[[Callable], Callable]:
    """Return a decorator that hands a command one dataclass of type `kind` in place of the options that it is made of.

    argument: the name of the command's argument that takes it. The options are the fields' names.
    """
    names = [field.name for field in fields(kind)]
    return gathered_by(argument, names, lambda context: kind(**{name: context.params[name] for name in names}))


def gathered_by(
    argument: str, names: Collection[str], make: Callable[[click.Context], object]
) -> Callable[[Callable], Callable]:
    """Return a decorator that hands a command what `make` returns in place of the options `names`."""

    def decorate(function: Callable) -> Callable:
        @wraps(function)  # which also carries over the options that click has noted down
        def gathering(**values: object) -> object:
            others = {name: value for name, value in values.items() if name not in names}
            return function(**others, **{argument: make(click.get_current_context())})

        return gathering

    return decorate


def is_given(context: click.Context, name: str) -> bool:
    """Return whether the user gave the option, be it with the value that is its default."""
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def spelled_options(context: click.Context, names: Collection[str]) -> list[str]:
    """Return the words of a command line that give these options of a command the values that the user gave."""
    words = []
    for option in context.command.params:
        value = context.params.get(option.name)
        if not isinstance(option, click.Option) or option.name not in names or value in (None, ()):
            continue
        if option.is_flag:
            words.append((option.opts if value else option.secondary_opts)[0])
        else:
            for one in value if option.multiple else (value,):
                words += [option.opts[-1], str(one)]
    return words


# ----------------------------------------------------------------------------------------- options of most commands
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
    "cuda:0,cuda:1, several; auto, which reports what it chooses and why; torch:cpu, the code "
    "for GPUs on the processor.",
)
unseen_option = click.option(
    "--unseen",
    type=click.Choice(("ignore", "error")),
    default="ignore",
    help="Features that the model has not seen: ignore and count them, or fail.  [default: ignore]",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no notes, only errors.")


def chosen_threads(threads: int | None) -> int:
    """Return the threads given, else as many as there are processors to use."""
    return threads or default_threads()

"""Kinds of options beyond click's own, read from the library when a value is checked or a help page is made."""

import difflib
from collections.abc import Callable, Iterable

import click

from fmcore.errors import UsageError


class Parsed(click.ParamType):
    """An option whose text a library function turns into a value, refusing it with a UsageError.

    metavar: a function from nothing to what a help page writes for the value; None where the option states it.
    """

    def __init__(self, name: str, parse: Callable[[str], object], metavar: Callable[[], str] | None = None) -> None:
        self.name, self._parse, self._metavar = name, parse, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:  # noqa: ARG002 - as click calls it
        """Return what a help page writes for the value."""
        return self._metavar and self._metavar()

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the value; click adds the option's name to what is wrong."""
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class OneOf(click.ParamType):
    """An option that takes one of some names; names: a function to them, called when a value is checked."""

    def __init__(self, name: str, names: Callable[[], Iterable[str]]) -> None:
        self.name, self._names = name, names

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the value, refused with the names that there are, the nearest first."""
        names = list(self._names())
        for name in names:
            if value.replace("-", "_") == name.replace("-", "_"):
                return name
        raise click.BadParameter(self._refusal(value, names), ctx, param)

    def _refusal(self, value: str, names: list[str]) -> str:
        near = [name for name in names if value in name.split(":")] or difflib.get_close_matches(value, names)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{value!r} is no {self.name}; {hint}Expected one of {', '.join(names)}"


class Described(click.Option):
    """An option whose help is a function from nothing to the text, called when a help page is made.

    So the page has what a program has added to a registry since the option was made.
    """

    def __init__(self, *args: object, help: Callable[[], str], **options: object) -> None:  # noqa: A002 - click's word
        self._describe = help
        super().__init__(*args, **options)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return what the help page has of it."""
        self.help = self._describe()
        return super().get_help_record(ctx)

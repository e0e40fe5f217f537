"""Kinds of options beyond click's own, read from the library when a value is checked or a help page is made."""

import click

from fmcore.errors import UsageError


class Parsed(click.ParamType):
    """An option whose text a library function turns into a value, refusing it with a UsageError.

    metavar: a function from nothing to what a help page writes for the value; None where the option says it.
    """

    def __init__(self, name, parse, metavar=None):
        self.name, self._parse, self._metavar = name, parse, metavar

    def get_metavar(self, param, ctx=None):  # noqa: ARG002 - as click calls it
        """Return what a help page writes for the value."""
        return self._metavar and self._metavar()

    def convert(self, value, param, ctx):
        """The value; click adds the option's name to what is wrong."""
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class OneOf(click.ParamType):
    """An option that takes one of some names; names: a function to them, called when a value is checked."""

    def __init__(self, name, names):
        self.name, self._names = name, names

    def convert(self, value, param, ctx):
        """The value, refused as `click.Choice` does."""
        return click.Choice(self._names()).convert(value, param, ctx)


class Described(click.Option):
    """An option whose help is a function from nothing to the text, called when a help page is made.

    So the page has what a program has added to a registry since the option was made.
    """

    def __init__(self, *args, help, **options):  # noqa: A002 - click's word
        self._describe = help
        super().__init__(*args, **options)

    def get_help_record(self, ctx):
        """Return what the help page has of it."""
        self.help = self._describe()
        return super().get_help_record(ctx)

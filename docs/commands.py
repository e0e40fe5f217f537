"""Writes commands.md, the reference of all commands, from their help pages: python docs/commands.py."""

from pathlib import Path

import click

from fmcli.main import COMMANDS, cli

PAGE = Path(__file__).with_name("commands.md")
WIDTH = 100
HEAD = """# Commands

The help pages of `fm` and its commands, as `--help` prints them; `make docs` writes this page.
"""


def page():
    """Return the text of the reference."""
    root = click.Context(cli, info_name="fm", terminal_width=WIDTH, **cli.context_settings)
    parts = [HEAD, section(cli, root)]
    for name in COMMANDS:
        command = cli.get_command(root, name)
        parts.append(section(command, click.Context(command, info_name=name, parent=root)))
    return "\n".join(parts)


def section(command, context):
    """Return one command under its name."""
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {context.command_path}\n\n```\n{help_text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page())

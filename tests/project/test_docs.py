"""What the documents say is so: the reference of commands, the commands of the README, and the demo."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from shell import ROOT

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)


@pytest.fixture
def shell(tmp_path):
    """A function that runs a command line in a fresh folder with data/ and demo.sh in it: (exit code, all output)."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    shutil.copy(ROOT / "demo.sh", tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "fm").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fmcli "$@"\n')
    (programs / "fm").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(command):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{command}"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def commands(text):
    """(command, output that is shown) of all console blocks of a document."""
    for block in BLOCK.findall(text):
        before, *parts = COMMAND.split(block)
        assert not before, f"a console block begins with a command, not with {before!r}"
        yield from zip(parts[::2], parts[1::2], strict=True)


def test_the_reference_of_commands_is_up_to_date():
    spec = spec_from_file_location("docs_commands", ROOT / "docs" / "commands.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run make docs"


def test_every_command_has_an_example_in_the_readme():
    shown = "\n".join(command for command, _ in commands((ROOT / "README.md").read_text()))
    for name in ("convert", "train", "tune", "eval", "predict", "inspect", "export"):
        assert f"fm {name} " in shown


def test_the_commands_of_the_readme_print_what_it_shows(shell):
    checker, options = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = list(commands((ROOT / "README.md").read_text()))
    assert found
    for command, expected in found:
        code, output = shell(command)
        assert code == 0, f"$ {command}\n{output}"
        assert checker.check_output(expected, output, options), f"$ {command}\nshown:\n{expected}\nprinted:\n{output}"


def test_every_promise_of_the_readme_names_a_test():
    text = (ROOT / "README.md").read_text()
    promises = text.split("## What you can rely on\n")[1].split("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    named = [re.search(r"`(\w+/test_\w+\.py)::(test_\w+)` \|$", row) for row in rows]
    assert all(named), rows
    for name, test in (found.groups() for found in named):
        assert f"\ndef {test}(" in (ROOT / "tests" / name).read_text(), test


def test_the_demo_reaches_its_figures(shell):
    code, output = shell("bash demo.sh")
    assert code == 0, output
    assert output.splitlines()[-2].startswith("Done. ")

"""The documents checked: the reference of commands, their console blocks, their links, and the demo."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from shell import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCKS = [
    pytest.param(block[1], id=f"{page.name}:{page.read_text().count(chr(10), 0, block.start()) + 1}")
    for page in PAGES
    for block in BLOCK.finditer(page.read_text())
]


@pytest.fixture
def shell(tmp_path):
    """Provide a function that runs a command line in a fresh folder with data/ and demo.sh in it: (exit code, all output)."""
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


def commands(block):
    """Return (command, output that is shown) of a console block."""
    before, *parts = COMMAND.split(block)
    assert not before, f"a console block begins with a command, not with {before!r}"
    return zip(parts[::2], parts[1::2], strict=True)


def links(page):
    """Return (path, anchor) of the relative links of a page, either "" where it is left out."""
    found = LINK.findall(FENCED.sub("", page.read_text()))
    return [link.partition("#")[::2] for link in found if not re.match(r"\w+:", link)]


def target(page, path):
    """Return the file that a relative link of a page leads to."""
    return (page.parent / path).resolve() if path else page


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_of_commands_is_up_to_date():
    spec = spec_from_file_location("docs_commands", ROOT / "docs" / "commands.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run make docs"


def test_readme_has_200_lines_at_most():
    assert len(README.read_text().splitlines()) <= 200


def test_guides_have_blocks_that_are_executed():
    found = {block.id.partition(":")[0] for block in BLOCKS} | {"python.md"}  # whose blocks are Python's, see below
    without = {"architecture.md", "commands.md", "gpu.md", "sagemaker.md", "style.md"}
    assert {page.name for page in PAGES} - found <= without


@pytest.mark.parametrize("block", BLOCKS)
def test_console_block_prints_what_it_shows(shell, block):
    checker, options = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for command, expected in commands(block):
        code, output = shell(command)
        assert code == 0, f"$ {command}\n{output}"
        assert checker.check_output(expected, output, options), f"$ {command}\nshown:\n{expected}\nprinted:\n{output}"


@pytest.mark.parametrize("name", ["convert", "train", "tune", "eval", "predict", "inspect", "export"])
def test_every_command_has_an_example_that_is_executed(name):
    shown = [command for block in BLOCKS for command, _ in commands(block.values[0])]
    assert any(f"fm {name} " in command for command in shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    for path, anchor in links(page):
        leads_to = target(page, path)
        assert leads_to.exists(), f"{page.name}: no file {path}"
        assert not anchor or anchor in anchors(leads_to), f"{page.name}: no heading #{anchor} in {path or page.name}"


def test_every_page_is_reachable_from_the_readme():
    reached, left = set(), [README]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            left += [target(page, path) for path, _ in links(page) if target(page, path).suffix == ".md"]
    assert set(PAGES) <= reached, set(PAGES) - reached


def test_every_promise_names_a_test():
    text = (ROOT / "docs" / "guarantees.md").read_text()
    promises = text.split("## What you can rely on\n")[1].split("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    named = [re.search(r"`(\w+/test_\w+\.py)::(test_\w+)` \|$", row) for row in rows]
    assert len(rows) >= 20
    assert all(named), rows
    for name, test in (found.groups() for found in named):
        assert f"\ndef {test}(" in (ROOT / "tests" / name).read_text(), test


def test_architecture_has_a_row_for_every_room_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text().split("## Rooms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(fm(?:core|cli)/[\w.]*/?)` \|", text, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert [room for room in rows if not (ROOT / room).exists()] == []
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("fm*/*/__init__.py")}
    files = {str(path.relative_to(ROOT)) for path in ROOT.glob("fmcore/*.py") if path.name != "__init__.py"}
    assert folders | files | {"fmcli/"} == set(rows)


def test_architecture_names_files_of_the_kernels_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text().split("## Inside the kernels\n")[1].split("\n## ")[0]
    named = re.findall(r"`(\w+\.(?:py|pyx|pxi|h))`", text)
    files = {path.name for path in (ROOT / "fmcore" / "kernels").rglob("*")}
    assert named
    assert [name for name in named if name not in files] == []


def test_the_blocks_of_the_python_page_run(shell, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    code, output = shell(f'"{sys.executable}" page.py')
    assert (len(blocks), code) == (4, 0), output


def test_the_demo_reaches_its_figures(shell):
    code, output = shell("bash demo.sh")
    assert code == 0, output
    assert output.splitlines()[-2].startswith("Done. ")

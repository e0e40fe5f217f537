"""The rooms of the code and who may import whom, as a table and held to it; sizes of files and functions as well."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shell import ROOT

LADDER = (  # top down: a room imports rooms further down, never its own rung's others; a package is one room
    "fmcli.__main__",
    "fmcli.main",
    "fmcli.commands fmcli.container",
    "fmcli.sagemaker_log fmcli.searching fmcli.tuning_log",
    "fmcli.training_logs",
    "fmcli.channels fmcli.preview fmcli.hyperparameters fmcli.reading fmcli.server fmcli.teams",
    "fmcli.options fmcli.progress fmcli.stop",
    "fmcli.console fmcli.exits fmcli.option_types",
    "fmcore.api",
    "fmcore.tuning",
    "fmcore.training fmcore.scoring",
    "fmcore.solvers",
    "fmcore.kernels",
    "fmcore.model",
    "fmcore.io",
    "fmcore.schema",
    "fmcore.hyper",
    "fmcore.objectives fmcore.optimizers",
    "fmcore.families",
    "fmcore.rows",
    "fmcore.system",
    "fmcore.errors",
    "fmcore",
    "fmcli",
)
INSIDE_KERNELS = tuple(
    f"fmcore.kernels.{path.name.split('.')[0]}"
    for path in sorted((ROOT / "fmcore/kernels").iterdir())
    if path.suffix in {".py", ".pyx"} and path.name != "__init__.py"
)
NEVER = {  # beyond the ladder
    "fmcore.kernels": ("fmcore.io", "fmcore.system.publish"),
    "fmcore.solvers.descent": ("fmcore.io", "fmcore.model.file"),
    "fmcore.solvers.team": (*INSIDE_KERNELS, "fmcore.kernels.pytorch"),  # the contract of the package alone
    "fmcore.training.loop": ("fmcore.model.file", "fmcore.io", "fmcore.system"),
    "fmcore.training.fit": ("fmcore.model.file", "fmcore.io", "fmcore.system"),
    "fmcore.rows": ("fmcore.system",),
    "fmcore.model.file": ("fmcore.io",),
    "fmcore.model.archive": ("fmcore.io", "fmcore.system"),
}
HOMES = {  # where a package may be imported: paths, or how many files
    "click": "fmcli/",
    "tqdm": "fmcli/progress.py",
    "pyarrow": "fmcore/io/tables/arrays.py fmcore/io/tables/codec.py fmcore/io/tables/parquet.py fmcore/io/sources/streams.py",
    "google": "fmcore/io/recordio/record_message.py",
    "scipy": "fmcore/kernels/reference.py fmcore/kernels/blas.py",
    "threadpoolctl": "fmcore/kernels/blas.py",
    "safetensors": "",
    "uvicorn": "fmcli/server/",
    "starlette": "fmcli/server/",
    "anyio": "fmcli/server/",
    "optuna": "fmcore/tuning/",
    "sqlalchemy": "fmcore/tuning/storage.py",
    "plotly": 0,
    "torch": 1,
    "ray": 1,
    "mpi4py": 1,
    "sklearn": 0,
    "pandas": 0,
}
RUNG = {room: number for number, rooms in enumerate(LADDER) for room in rooms.split()}
FILES = {
    str(path.relative_to(ROOT)): path
    for package in ("fmcli", "fmcore")
    for path in sorted((ROOT / package).rglob("*.py*"))
    if path.suffix in {".py", ".pyx"}
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items() if path.suffix == ".py"}


def imported(name):
    """Return the modules that a file imports, wherever in it: "from a import b" gives "a.b" too, whatever b is."""
    if name not in TREES:
        lines = re.findall(r"^\s*(?:from|import|cimport)\s.*", FILES[name].read_text(), re.MULTILINE)
        return [module for line in lines for module in re.findall(r"\bfm(?:core|cli)[\w.]*", line)]
    found = []
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def inside(module, place):
    """Return whether a module is `place` or stands within it."""
    return f"{module}.".startswith(f"{place}.")


def room(module):
    """Return the room that a module, or a name in one, belongs to."""
    parts = module.split(".")
    return next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in RUNG)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_the_ladder(name):
    module = str(Path(name).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    mine = room(module)
    assert mine not in {"fmcli", "fmcore"} or module == mine, f"give {name} a place in LADDER"
    barred = [other for place, others in NEVER.items() if inside(module, place) for other in others]
    for found in (found for found in imported(name) if found.split(".")[0] in {"fmcli", "fmcore"}):
        other = room(found)
        assert other == mine or RUNG[other] > RUNG[mine], f"{name} imports {other}, which stands above or beside it"
        assert not any(inside(found, place) for place in barred), f"{name} must never import {found}"


@pytest.mark.parametrize("package", HOMES)
def test_other_packages_are_imported_in_their_homes_alone(package):
    users = [name for name in TREES if package in {found.split(".")[0] for found in imported(name)}]
    homes = HOMES[package]
    if isinstance(homes, int):
        assert len(users) <= homes, users
    else:
        assert [name for name in users if not name.startswith(tuple(homes.split()))] == []


def test_heavy_packages_are_imported_where_they_are_used():
    for name, tree in TREES.items():
        top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        top |= {node.module.split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not top & {"pyarrow", "torch", "optuna", "sqlalchemy", "ray", "mpi4py", "tqdm"}, name


def test_a_start_of_the_command_imports_no_random_numbers():
    code = "import sys, fmcli.main, fmcore.kernels.cpu; sys.exit('numpy.random' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_and_functions_are_small():
    for name, tree in TREES.items():
        assert len(FILES[name].read_text().splitlines()) < 300, name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                taken = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len([a for a in taken if a not in {"self", "cls"}]) <= 7, f"{name}: {node.name}"
                assert node.end_lineno - node.lineno < 70, f"{name}: {node.name}"


FRONT = [name for name in TREES if name.startswith("fmcli/")]
GATHERING = ("fmcli/options.py", "gathering")  # it makes dataclasses of what click hands over
COMMANDS = {
    name: node
    for name in FRONT
    for node in TREES[name].body
    if name.startswith("fmcli/commands/") and isinstance(node, ast.FunctionDef) and node.name == "command"
}


@pytest.mark.parametrize("name", FRONT)
def test_options_are_handed_over_as_arguments_not_as_a_dict(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef) and node.args.kwarg and node.name != "__init__":
            assert (name, node.name) == GATHERING, f"{name}: {node.name} takes **{node.args.kwarg.arg}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".pop") and node.args:
            from_list = isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, int)
            assert from_list or name.startswith("fmcli/container/"), f"{name}:{node.lineno}: a value is popped"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_state_the_types_of_their_values(name):
    taken = COMMANDS[name].args
    types = {a.arg: a.annotation and ast.unparse(a.annotation) for a in (*taken.args, *taken.kwonlyargs)}
    assert types
    assert [value for value, kind in types.items() if kind is None or kind.startswith("dict")] == []
    assert COMMANDS[name].returns is not None


def test_every_command_is_checked():
    assert len(COMMANDS) == len([name for name in FRONT if name.startswith("fmcli/commands/")]) - 1


def test_kernels_are_small_headers_under_one_thin_source():
    kernels = ROOT / "fmcore/kernels"
    assert not list(kernels.glob("*.pxi"))
    sources = [*kernels.glob("*.h"), *kernels.glob("*.px[dy]*")]
    assert kernels / "train.h" in sources
    for path in sources:
        assert len(path.read_text().splitlines()) < 300, path.name
    builds = [path for path in kernels.glob("_kernels_*.pyx") if path.stem != "_kernels_baseline"]
    assert builds, "no build for newer processors"
    for path in builds:
        code = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert code == ['include "_kernels_baseline.pyx"'], path.name
    loops = re.findall(r"^ *(?:for|while) .*:$", (kernels / "_kernels_baseline.pyx").read_text(), re.MULTILINE)
    assert loops == [], "loops stand in the headers"

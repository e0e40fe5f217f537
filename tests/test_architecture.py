"""The rooms of the code and who may import whom, as a table and held to it; sizes of files and functions as well."""
import ast
import re
from pathlib import Path

import pytest
from shell import ROOT

LADDER = (  # top down: a room imports rooms further down, never its own rung's others; a package is one room
    "fmcli.__main__", "fmcli.main", "fmcli.commands fmcli.container", "fmcli.sagemaker_log fmcli.tuning_log",
    "fmcli.training_logs",
    "fmcli.channels fmcli.server fmcli.teams", "fmcli.options fmcli.progress fmcli.stop", "fmcli.console fmcli.exits",
    "fmcore.api", "fmcore.tuning fmcore.distributed", "fmcore.fitting", "fmcore.checkpoint fmcore.warmstart",
    "fmcore.data fmcore.piped", "fmcore.training fmcore.scoring fmcore.converting fmcore.exporting fmcore.inspection",
    "fmcore.state", "fmcore.epoch",
    "fmcore.archive fmcore.batchmetrics fmcore.dataset fmcore.estimate fmcore.modelfile fmcore.modelinfo",
    "fmcore.modelheader", "fmcore.io fmcore.backends", "fmcore.model",
    "fmcore.ahead fmcore.blocks fmcore.checks fmcore.metrics fmcore.scaling fmcore.unchanged",
    "fmcore.hyperfile fmcore.memory fmcore.publish fmcore.slices fmcore.spill fmcore.threads", "fmcore.cgroups",
    "fmcore.params", "fmcore.parameter fmcore.optimizers", "fmcore.batch", "fmcore._rows fmcore._mapped",
    "fmcore.errors",
    "fmcore", "fmcli")
NEVER = {  # beyond the ladder
    "fmcore.io": ("fmcore.model",), "fmcore.backends": ("fmcore.publish", "fmcore.checks"),
    "fmcore.training": ("fmcore.modelfile", "fmcore.io", "fmcore.publish"),
    "fmcore.dataset": ("fmcore.io", "fmcore.publish"), "fmcore.piped": ("fmcore.io", "fmcore.publish"),
    "fmcore.modelfile": ("fmcore.io", "fmcore.backends"),
    "fmcore.archive": ("fmcore.io", "fmcore.backends", "fmcore.publish")}
HOMES = {  # where a package may be imported: paths, or how many files
    "click": "fmcli/", "tqdm": "fmcli/progress.py", "pyarrow": "fmcore/io/tables.py fmcore/io/streams.py",
    "google": "fmcore/io/record_message.py", "scipy": "fmcore/backends/reference.py fmcore/backends/blas.py",
    "threadpoolctl": "fmcore/backends/blas.py", "safetensors": "",
    "uvicorn": "fmcli/server/", "starlette": "fmcli/server/", "anyio": "fmcli/server/",
    "optuna": "fmcore/tuning/", "sqlalchemy": "fmcore/tuning/storage.py", "plotly": 0,
    "torch": 1, "ray": 1, "mpi4py": 1, "sklearn": 0, "pandas": 0}
RUNG = {room: number for number, rooms in enumerate(LADDER) for room in rooms.split()}
FILES = {str(path.relative_to(ROOT)): path for package in ("fmcli", "fmcore")
         for path in sorted((ROOT / package).rglob("*.py*")) if path.suffix in {".py", ".pyx"}}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items() if path.suffix == ".py"}


def imported(name):
    """Modules that a file imports, wherever in it: "from a import b" gives "a.b" too, whatever b is."""
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


def room(module):
    """The room that a module, or a name in one, belongs to."""
    parts = module.split(".")
    return next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in RUNG)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_the_ladder(name):
    module = str(Path(name).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    mine = room(module)
    assert mine not in {"fmcli", "fmcore"} or module == mine, f"give {name} a place in LADDER"
    for other in (room(found) for found in imported(name) if found.split(".")[0] in {"fmcli", "fmcore"}):
        assert other == mine or RUNG[other] > RUNG[mine], f"{name} imports {other}, which stands above or beside it"
        assert other not in NEVER.get(mine, ()), f"{name} must never import {other}"


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


def test_files_and_functions_are_small():
    for name, tree in TREES.items():
        assert len(FILES[name].read_text().splitlines()) < 300, name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                taken = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len([a for a in taken if a not in {"self", "cls"}]) <= 7, f"{name}: {node.name}"
                assert node.end_lineno - node.lineno < 70, f"{name}: {node.name}"

"""The artefacts that others install: a source distribution, from it a wheel, and `fm` of that wheel in a bare virtual environment.

Bare: the environment holds the wheel and links to the packages that the wheel itself requires, neither this tree nor
any other package of the environment that runs the tests. Nothing is downloaded.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

from shell import ROOT, environment, libsvm_rows

BUILT = shutil.ignore_patterns("*.c", "*.so", "*.pyd", "__pycache__")
COMPILED = (".pyx", ".pxd", ".pxi", ".h")


def run(*command, folder):
    """Run a command outside the tree, with nothing of it to be found; its output."""
    bare = {name: value for name, value in environment().items() if name not in {"PYTHONPATH", "PYTHONWARNINGS"}}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(folder):
    """Build both from a clean copy of the tree.

    What comes back: names in the source distribution, the wheel that was built from it, the copy, and its folder.
    """
    clone = folder / "clone"  # without what a compiler or setuptools has left in the tree
    for package in ("fmcli", "fmcore"):
        shutil.copytree(ROOT / package, clone / package, ignore=BUILT)
    for name in ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, clone)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", clone, folder=folder)
    [source], [wheel] = (list((folder / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
    with tarfile.open(source) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    return SimpleNamespace(folder=folder, clone=clone, source=names, wheel=wheel)


def required(name):
    """Return the distributions that one needs here, without extras: itself, and all below it."""
    here = metadata.distribution(name)
    found = {here.metadata["Name"]: here}
    for line in here.requires or ():
        if ";" not in line:
            found |= required(re.match(r"[\w.-]+", line)[0])
    return found


def link_required(wheel, place):
    """Put links to the packages that a wheel requires, extras aside, into a folder of packages."""
    with zipfile.ZipFile(wheel) as file:
        text = next(file.read(name).decode() for name in file.namelist() if name.endswith(".dist-info/METADATA"))
    names = re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra ==)", text, re.MULTILINE)
    here = {name: one for wanted in names for name, one in required(wanted).items()}
    for one in here.values():
        for top in {path.parts[0] for path in one.files} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(one.locate_file(top))


def install(wheel, folder):
    """Make a virtual environment with the wheel alone; its programs."""
    run(sys.executable, "-m", "venv", folder / "bare", folder=folder)
    programs = folder / "bare/bin"
    place = run(programs / "python", "-c", "import site; print(site.getsitepackages()[0])", folder=folder)
    link_required(wheel, Path(place.strip()))
    run(programs / "python", "-m", "pip", "install", "--no-index", wheel, folder=folder)
    return programs


def check_source(built):
    """Check that the source distribution holds all sources, and nothing compiled."""
    tree = {path.relative_to(built.clone).as_posix() for path in built.clone.rglob("*")}
    wanted = {name for name in tree if name.startswith(("fmcli/", "fmcore/")) and name.endswith((".py", *COMPILED))}
    assert wanted > {"fmcore/system/_mapped.pyx", "fmcore/system/mapped.h", "fmcore/io/_format.pxd"}
    also = {"LICENSE", "README.md", "pyproject.toml", "setup.py", "fmcli/py.typed", "fmcore/py.typed"}
    assert wanted | also <= built.source
    assert not [name for name in built.source if name.endswith((".c", ".so", ".pyd"))]


def check_wheel(built):
    """Check that the wheel holds all Python files and a module for every .pyx, and no sources of modules."""
    names = zipfile.ZipFile(built.wheel).namelist()
    assert not [name for name in names if name.endswith((".c", *COMPILED))]
    assert {"fmcli/py.typed", "fmcore/py.typed"} <= set(names)
    modules = {name.split(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    wanted = {name.removesuffix(".pyx") for name in built.source if name.endswith(".pyx")}
    assert {name for name in wanted if not name.endswith("_v3")} <= modules <= wanted
    python = {name for name in built.source if name.startswith(("fmcli/", "fmcore/")) and name.endswith(".py")}
    assert python <= set(names)


def check_modules(built):
    """Check that modules of the wheel are stripped and do not name the folder in which they were built."""
    with zipfile.ZipFile(built.wheel) as file:
        modules = {name: file.read(name) for name in file.namelist() if name.endswith(".so")}
    assert modules
    for name, data in modules.items():
        assert data.startswith(b"\x7fELF")
        assert b".dynsym\0" in data, name
        assert b".symtab\0" not in data, name
        assert b".debug_info\0" not in data, name
        assert str(built.folder).encode() not in data, name


def check_commands(programs, folder):
    """Check that programs of the bare environment use what is installed there, and train, score and inspect."""

    def python(source):
        return run(programs / "python", "-c", source, folder=folder)

    def fm(*arguments):
        return run(programs / "fm", *arguments, folder=folder)

    places = python("import fmcli, fmcore; print(*fmcli.__path__, *fmcore.__path__)").split()
    assert all(place.startswith(str(programs.parent)) for place in places)
    absent = "import importlib.util as util; print([*map(util.find_spec, ('torch', 'pytest', 'sklearn'))])"
    assert python(absent) == "[None, None, None]\n"
    assert fm("--version").startswith("fm ")
    for name, seed in (("train", 1), ("test", 2)):
        (folder / f"{name}.svm").write_text(libsvm_rows(300, seed))
        fm("convert", f"{name}.svm", "-o", f"{name}.rec")
    kind = ("--predictor-type", "binary_classifier")
    fm("train", "train.rec", "--test", "test.rec", *kind, "--epochs", 5, "-o", "model.fm")
    accuracy = float(re.search(r"^accuracy: (.*)$", fm("eval", "model.fm", "test.rec"), re.MULTILINE)[1])
    assert accuracy > 0.6
    fm("predict", "model.fm", "test.rec", "-o", "scores")
    assert len((folder / "scores").read_text().splitlines()) == 300
    assert "binary_classifier" in fm("inspect", "model.fm")


def test_a_wheel_built_from_the_source_distribution_runs_in_a_bare_environment(tmp_path):
    """Build once for all checks, as the build takes a minute of processor time."""
    built = build(tmp_path)
    check_source(built)
    check_wheel(built)
    if sys.platform == "linux":
        check_modules(built)
    check_commands(install(built.wheel, tmp_path), tmp_path)

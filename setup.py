"""The extensions and their compiler flags; everything else about the package stands in pyproject.toml."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
# NaN and infinity keep their meaning, and sums their order (no -ffast-math): vector lanes are spelled out in lanes.h.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"]
# Spelled out rather than -march=x86-64-v3, which compilers before gcc 11 and clang 12 do not know.
LEVEL_3 = [
    "-mavx",
    "-mavx2",
    "-mbmi",
    "-mbmi2",
    "-mf16c",
    "-mfma",
    "-mlzcnt",
    "-mmovbe",
    "-mpopcnt",
    "-mprfchw",
]  # to fetch for writing, which processors without it take for no instruction at all
# With FMKIT_SANITIZE=1 and clang: bad memory accesses and undefined behaviour stop the program, and a fuzzing engine is
# told which branches were taken (tests/fuzz). Whoever imports such a build has loaded the sanitizer's runtime before.
SANITIZE = os.environ.get("FMKIT_SANITIZE") == "1"
SANITIZED = [
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fno-sanitize-recover=undefined",
    "-fsanitize=address,undefined,fuzzer-no-link",
]
BUILDS = {"_v3": LEVEL_3}  # a .pyx whose name ends so holds the same source for a newer processor
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}
ON_X86 = platform.machine().lower() in {"x86_64", "amd64"}


def compiles(flags, link_flags, source="int main(void) { return 0; }\n"):
    """Return whether the compiler and its linker take these flags for a program."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "probe.c")
        program.write_text(source)
        compiler = os.environ.get("CC", "cc").split()
        command = [*compiler, *flags, str(program), "-o", str(Path(folder, "probe")), *link_flags]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
        except OSError:
            return False


def openmp():
    """Return compiler and linker flags for OpenMP, or nothing where the compiler has none (one thread then)."""
    tries = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        prefix = os.environ.get("LIBOMP_PREFIX", "/opt/homebrew/opt/libomp")
        tries = [(["-Xpreprocessor", "-fopenmp", f"-I{prefix}/include"], [f"-L{prefix}/lib", "-lomp"]), *tries]
    source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    return next((flags for flags in tries if compiles(*flags, source)), ([], []))


def extensions():
    """Yield an extension for every .pyx; the builds for newer processors only where they can run.

    Paths are relative to this file, as setuptools wants them.
    """
    compile_flags, link_flags = ([], []) if SANITIZE else openmp()
    for source in sorted(path.relative_to(HERE) for path in HERE.glob("fmcore/**/*.pyx")):
        build = next((flags for suffix, flags in BUILDS.items() if source.stem.endswith(suffix)), None)
        if build is not None and not ON_X86:
            continue
        beside = (path for suffix in ("*.pxd", "*.pxi", "*.h") for path in (HERE / source).parent.glob(suffix))
        yield Extension(
            ".".join(source.with_suffix("").parts),
            [source.as_posix()],
            extra_compile_args=[*FLAGS, "-Wno-psabi", *(build or []), *compile_flags, *(SANITIZED if SANITIZE else [])],
            extra_link_args=link_flags,
            depends=sorted(path.relative_to(HERE).as_posix() for path in beside),
        )


class Build(build_ext):
    """Compiles, which takes Cython only now: a source distribution lists the .pyx, and nothing made of them."""

    def finalize_options(self):
        """Compile on all processors, unless the command line says on how many."""
        super().finalize_options()
        if self.parallel is None:
            self.parallel = True

    def run(self):
        """Strip the modules of a wheel, and leave out the folder in which they were built.

        Those in place keep their symbols for debuggers and profilers, as sanitized ones do.
        """
        if not (self.inplace or SANITIZE):
            strip, nameless = ["-Wl,-s"], [f"-ffile-prefix-map={HERE}=."]
            strip, nameless = strip if compiles([], strip) else [], nameless if compiles(nameless, []) else []
            for extension in self.extensions:
                extension.extra_link_args += strip
                extension.extra_compile_args += nameless
        super().run()

    def build_extensions(self):
        """Make C of the .pyx, then modules of the C."""
        made = {module.name: module.sources for module in cythonize(self.extensions, compiler_directives=DIRECTIVES)}
        for extension in self.extensions:
            extension.sources = made[extension.name]
        super().build_extensions()


setup(
    cmdclass={"build_ext": Build},
    ext_modules=list(extensions()),
    options={"build": {"build_base": "build/sanitized"}} if SANITIZE else {},
)

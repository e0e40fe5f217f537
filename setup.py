"""The extensions and their compiler flags; everything else about the package stands in pyproject.toml."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

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
ON_X86 = platform.machine().lower() in {"x86_64", "amd64"}


def openmp():
    """Compiler and linker flags for OpenMP, or nothing where the compiler has none (one thread then)."""
    tries = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        prefix = os.environ.get("LIBOMP_PREFIX", "/opt/homebrew/opt/libomp")
        tries = [(["-Xpreprocessor", "-fopenmp", f"-I{prefix}/include"], [f"-L{prefix}/lib", "-lomp"]), *tries]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        for compile_flags, link_flags in tries:
            compiler = os.environ.get("CC", "cc").split()
            command = [*compiler, *compile_flags, str(source), "-o", str(Path(folder, "probe")), *link_flags]
            try:
                done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
            except OSError:
                break
            if done.returncode == 0:
                return compile_flags, link_flags
    return [], []


def extensions():
    """One extension for every .pyx; the builds for newer processors only where they can run."""
    compile_flags, link_flags = ([], []) if SANITIZE else openmp()
    for source in sorted(Path("fmcore").rglob("*.pyx")):
        build = next((flags for suffix, flags in BUILDS.items() if source.stem.endswith(suffix)), None)
        if build is not None and not ON_X86:
            continue
        yield Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            extra_compile_args=[*FLAGS, "-Wno-psabi", *(build or []), *compile_flags, *(SANITIZED if SANITIZE else [])],
            extra_link_args=link_flags,
            depends=sorted(str(path) for suffix in ("*.pxd", "*.pxi", "*.h") for path in source.parent.glob(suffix)),
        )


setup(
    ext_modules=cythonize(
        list(extensions()),
        nthreads=0,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
        },
    ),
    options={"build": {"build_base": "build/sanitized"}} if SANITIZE else {},
)

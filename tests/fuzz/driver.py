"""Run the targets under libFuzzer, over readers built with clang's sanitizers; Linux, Python 3.11 or later.

    make fuzz                                                   every target for a minute, in .venv-fuzz
    make fuzz FUZZ_SECONDS=600 FUZZ_TARGETS="csv record"        those two for ten
    cd tests; ../.venv-fuzz/bin/python -m fuzz.driver csv --inputs ../build/fuzz/csv-crash-1234    a finding once more

A target is a function of bytes (`fuzz.targets`): it raises where a reader lets anything but its documented errors pass,
or breaks a promise about what it gives back. Also findings: what AddressSanitizer and UndefinedBehaviorSanitizer stop,
a single allocation above MALLOC_LIMIT, an input that takes more than SLOWEST seconds, and memory out of proportion to
the input (`fuzz.memory`), which is traced for one input in MEASURED.

Seeds are in corpus/TARGET, where a finding goes once it is fixed, under a name that says what it is; tests/test_fuzz.py
runs them, and damaged copies of them, without any engine. What libFuzzer adds stays in build/fuzz/corpus/TARGET and is
where the next run begins. Findings are written to build/fuzz.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import zlib
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from fuzz import memory
from fuzz.targets import TARGETS, load

SEEDS = Path(__file__).parent / "corpus"
FOUND = Path(__file__).parents[2] / "build" / "fuzz"
LONGEST = 12000  # bytes of an input
SLOWEST = 60  # seconds
MALLOC_LIMIT = 32  # MiB
MEASURED = 64
THREADED = {"csv"}  # whose every input is measured; see `memory.traced`
INSIDE = "FMKIT_FUZZING"
ENVIRONMENT = {
    # Few frames of each allocation, and a small quarantine of what was freed, as a target allocates all the time.
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=0:malloc_context_size=2:quarantine_size_mb=4",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # so that the sanitizer sees every block
    "OMP_NUM_THREADS": "1",
    INSIDE: "1",
}


def seeds_of(target):
    """Return the folder of a target's seeds; a kernel shares those of its reader."""
    return SEEDS / target.removesuffix("-kernel")


def main():
    """Fuzz the targets named, or all; return exit code 1 where there were findings."""
    parser = argparse.ArgumentParser(description="Fuzz the readers.")
    parser.add_argument("targets", nargs="*", default=[*TARGETS], metavar="TARGET", help="by default all of them")
    parser.add_argument("--seconds", type=int, default=60, help="for each target, loading it included")
    parser.add_argument("--inputs", nargs="+", default=[], metavar="FILE", help="run one target on these files alone")
    given = parser.parse_args()
    if INSIDE in os.environ:
        _inside(given.targets[0], given.seconds, given.inputs)
    elif given.inputs:
        sys.exit(_child(given.targets[0], "--inputs", *given.inputs).wait())
    else:
        found = [_fuzz(target, given.seconds) for target in given.targets]
        sys.exit(any(found))


def _fuzz(target, seconds):
    """Fuzz one target, and print the number of inputs and the findings; return whether there was a finding."""
    start, said, inputs = time.monotonic(), [], 0
    grown = FOUND / "corpus" / target
    grown.mkdir(parents=True, exist_ok=True)
    with _child(target, "--seconds", str(seconds), stderr=subprocess.PIPE, text=True, errors="replace") as child:
        for line in child.stderr:
            number = re.match(r"#(\d+)|stat::number_of_executed_units: (\d+)", line)
            inputs = int(number[1] or number[2]) if number else inputs
            if not re.match(r"#\d|INFO|stat::| *$", line):
                said.append(line)
    found = child.returncode != 0
    print(
        f"{target:18}{inputs:11,} inputs in{time.monotonic() - start:5.0f} s,{len(list(grown.iterdir())):6,} kept"
        f"{', A FINDING:' if found else ''}",
        flush=True,
    )
    if found:
        sys.stderr.writelines(said[-60:])
    return found


def _child(*arguments, **options):
    """Run this program again, with the sanitizer's runtime and libFuzzer loaded, one library of atheris."""
    import atheris

    environment = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so")}
    return subprocess.Popen([sys.executable, "-m", "fuzz.driver", *arguments], env=environment, **options)


def _inside(name, seconds, inputs):
    """Become libFuzzer, in the child process."""
    import atheris

    start = time.monotonic()
    with atheris.instrument_imports(include=["fmcore"]):
        target = load(name)
    left = max(1, round(seconds - (time.monotonic() - start)))
    where = inputs or [f"-max_total_time={left}", str(FOUND / "corpus" / name), str(seeds_of(name))]
    atheris.Setup(
        [
            sys.argv[0],
            *where,
            f"-max_len={LONGEST}",
            f"-timeout={SLOWEST}",
            f"-malloc_limit_mb={MALLOC_LIMIT}",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            f"-artifact_prefix={FOUND}/{name}-",
        ],
        partial(_run, target, 1 if inputs or name in THREADED else MEASURED),
        internal_libfuzzer=False,
    )
    with memory.traced() if name in THREADED else nullcontext():
        atheris.Fuzz()


def _run(target, measured, data):
    if zlib.crc32(data) % measured:
        target(data)
    else:
        memory.check(target, data)


if __name__ == "__main__":
    main()

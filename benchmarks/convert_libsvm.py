"""Measure `fm convert` from libsvm text to recordIO as a whole process: MB a second on one thread and two; memory."""

import subprocess
import sys
import tempfile
from pathlib import Path

import clicks
from measure import FM, ROOT, medians, parser, print_second_processor, print_setting, process

from fmcore.io.text import codec as text

THREADS = (1, 2)
TIMES = 9  # the large file is the small one so many times over
# A child's ru_maxrss begins with its parent's; only Linux tells a process's own.
PEAK = """\
import re, sys
from pathlib import Path
from fmcli.main import exit_code
code = exit_code(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def arguments(source, threads):
    """Return the arguments of `fm` that convert a file; the output is written beside it."""
    target = source.with_suffix(".rec")
    return ["convert", str(source), "-o", str(target), "--index-base", "0", "--quiet", "--threads", str(threads)]


def peak(source, threads):
    """Return the peak memory of converting a file, in megabytes."""
    command = [sys.executable, "-c", PEAK, *arguments(source, threads)]
    return int(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout) * 1024 / 1e6


def main():
    """Print a line for each number of threads, and one about memory."""
    options = parser(__doc__, rows=900_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.svm"), Path(folder, "large.svm")
        small.write_bytes(text.encode_libsvm(clicks.generated(options.rows // TIMES)))
        large.write_bytes(small.read_bytes() * TIMES)
        sizes = [path.stat().st_size / 1e6 for path in (small, large)]
        times = medians({n: process(*FM, *arguments(large, n)) for n in THREADS}, options.runs)
        peaks = [peak(path, THREADS[-1]) for path in (small, large)] if sys.platform == "linux" else None
    rows = options.rows // TIMES * TIMES
    print(f"fm convert of {rows:,} rows, {sizes[1]:.0f} MB of text, whole process, median of {options.runs}")
    for n, time in times.items():
        print(
            f"{n} thread{'s' * (n > 1)}: {sizes[1] / time:.0f} MB/s, {rows / time:,.0f} rows/s, "
            f"{times[1] / time:.2f} times one thread"
        )
    if peaks:
        print(f"memory, {THREADS[-1]} threads: {peaks[1]:.0f} MB; for {sizes[0]:.0f} MB of text {peaks[0]:.0f} MB")


if __name__ == "__main__":
    main()

"""`fm convert` from libsvm text to recordIO as a whole process: MB of text a second on one thread and two."""
import tempfile
from pathlib import Path

import clicks
from measure import FM, medians, parser, print_second_processor, print_setting, process

from fmcore.io import text

THREADS = (1, 2)


def main():
    """Print a line for each number of threads."""
    options = parser(__doc__, rows=300_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "clicks.svm"), Path(folder, "clicks.rec")
        source.write_bytes(text.encode_libsvm(clicks.generated(options.rows)))
        megabytes = source.stat().st_size / 1e6
        times = medians({n: process(*FM, "convert", source, "-o", target, "--index-base", "0", "--threads", n)
                         for n in THREADS}, options.runs)
    print(f"{options.rows:,} rows, {megabytes:.0f} MB of text, median of {options.runs}, start-up included")
    for n, time in times.items():
        print(f"{n} thread{'s' * (n > 1)}: {megabytes / time:.0f} MB/s, {options.rows / time:,.0f} rows/s, "
              f"{times[1] / time:.2f} times one thread")


if __name__ == "__main__":
    main()

"""Measure how much longer an epoch takes beside busy processes, with one thread, two, and more than processors.

Two processors shared by two busy processes and two threads are half of each; an epoch that takes more than three times
as long waits for a thread without a processor.
"""

import statistics
import subprocess
import sys
from contextlib import contextmanager

import clicks
from measure import figure, measured, print_setting, scaled_parser, spread, threads_word
from train_epoch import epoch, hyperparameters_for

FACTORS = 8
THREADS = (1, 2, 8)
BUSY = (0, 2)


@contextmanager
def busy(count):
    """Run `count` processes that only keep a processor busy, for the duration of the block."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def main():
    """Print a line for each number of threads."""
    options = scaled_parser(__doc__.splitlines()[0], rows=200_000).parse_args()
    print_setting()
    batch, hyperparameters = (
        clicks.generated(options.rows, scale=options.scale),
        hyperparameters_for(FACTORS, options.scale),
    )
    works = {threads: epoch(batch, hyperparameters, threads) for threads in THREADS}
    times = {}
    for count in BUSY:
        with busy(count):
            times[count] = measured(works, options.runs, f"beside {count} busy processes")
    for threads in THREADS:
        ratio = statistics.median(times[BUSY[-1]][threads]) / statistics.median(times[0][threads])
        figure(f"{threads}, times as long", [ratio], "growth")
        print(
            f"k = {FACTORS}, {threads_word(threads):9}: {spread(times[0][threads])} s, beside {BUSY[-1]} busy "
            f"processes {spread(times[BUSY[-1]][threads])} s, {ratio:.1f} times as long"
        )


if __name__ == "__main__":
    main()

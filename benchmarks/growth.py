"""Measure epochs in rows a second for more rows and more features, the latter beside the model of traffic.py.

16 M rows take 9 GB of memory, 100 M features 8 GB. --quick stops at a quarter of both.
"""

import statistics

import bandwidth
import clicks
import traffic
from measure import figure, measured, parser, print_second_processor, print_setting, rates, spread
from train_epoch import FACTORS, epoch, hyperparameters_for

from fmcore.rows.blocks import auto_mini_batch_size

MORE_ROWS = {False: (1, 4, 16), True: (1, 4)}  # times the rows given, by --quick
SCALE = {False: 100, True: 25}  # times the values of the larger columns
THREADS = 2


def times_of(batch, scale, runs, about):
    """Return the seconds of epochs."""
    return measured({"": epoch(batch, hyperparameters_for(FACTORS[0], scale), THREADS)}, runs, about)[""]


def grow_rows(options):
    """Print a line for each number of rows."""
    first = None
    for factor in MORE_ROWS[options.quick]:
        batch = clicks.generated(factor * options.rows)
        speeds = rates(len(batch), times_of(batch, 1, options.runs, f"{factor} times the rows"))
        first = first or statistics.median(speeds)
        print(
            f"{len(batch):12,} rows, {clicks.feature_dim():,} features: {spread(speeds)} M rows/s, "
            f"{statistics.median(speeds) / first:.2f} times those of the first line",
            flush=True,
        )


def expected(batch, speeds):
    """Return the seconds of an epoch that memory allows, by bandwidths measured for as many threads."""
    size = auto_mini_batch_size(len(batch), len(batch.indices))
    touched = traffic.training(batch, FACTORS[0], size, bandwidth.levels())
    return touched, touched.seconds(speeds) * len(batch.indices)


def grow_features(options):
    """Print a line for each number of features, with the bytes that an epoch then touches."""
    speeds = {at: statistics.median(values) for at, values in bandwidth.rates(options.runs, THREADS).items()}
    first = None
    for scale in (1, options.scale or SCALE[options.quick]):
        batch = clicks.generated(options.rows, scale=scale)
        touched, limit = expected(batch, speeds)
        clicks.forget()
        times = times_of(batch, scale, options.runs, f"{scale} times the features")
        took = statistics.median(times)
        first = first or (took, limit)
        apart = took / first[0] * first[1] / limit
        print(
            f"{len(batch):12,} rows, {clicks.feature_dim(scale):,} features: {spread(rates(len(batch), times))} M "
            f"rows/s; takes {took / first[0]:.2f} times as long, expected {limit / first[1]:.2f} by "
            f"{touched.bytes:.0f} bytes a non-zero ({traffic.described(touched)})",
            flush=True,
        )
    figure("features, times as long in times expected", [apart], "growth")


def main():
    """Print a line for each size."""
    made = parser(__doc__.splitlines()[0], rows=1_000_000)
    made.add_argument("--quick", action="store_true", help="no more than 4 times the rows and 25 times the features")
    made.add_argument("--scale", type=int, help="times the features in the last line (100, or 25 with --quick)")
    options = made.parse_args()
    print_setting()
    print_second_processor(options.runs)
    print(f"k = {FACTORS[0]}, {THREADS} threads, median (range) of {options.runs}")
    grow_rows(options)
    grow_features(options)


if __name__ == "__main__":
    main()

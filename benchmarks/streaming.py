"""Measure an epoch that streams its rows from recordIO or libsvm text, beside an epoch over rows in memory."""

import statistics
import tempfile

import clicks
from measure import measured, parser, print_second_processor, print_setting, rates, spread, threads_word
from memory import write
from train_epoch import FACTORS, THREADS, epoch, epochs_of, hyperparameters_for

from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.sources import source as sources
from fmcore.kernels import backend_for
from fmcore.rows.dataset import Dataset


def streamed(path, hyperparameters, threads):
    """Return a function that trains one more epoch, decoding the file anew each time it is called."""

    def read():
        return read_batches(sources.find([str(path)]), ReadOptions(threads=threads, index_base="0"), Report())

    backend = backend_for("cpu", threads)
    return epochs_of(Dataset(read, hyperparameters, backend.prepare, 0).load(), hyperparameters, backend)


def compare(batch, paths, threads, runs):
    """Print a line for each way to hold the rows."""
    hyperparameters = hyperparameters_for(FACTORS[0])
    works = {("memory", threads): epoch(batch, hyperparameters, threads)}
    works |= {(name, threads): streamed(path, hyperparameters, threads) for name, path in paths.items()}
    times = measured(works, runs)
    middle = statistics.median(times["memory", threads])
    for (name, _), values in times.items():
        print(
            f"{threads_word(threads)}, from {name:8}: {spread(rates(len(batch), values))} M rows/s, "
            f"{statistics.median(values) / middle:.2f} times as long as from memory",
            flush=True,
        )


def main():
    """Print a block of lines for each number of threads."""
    options = parser(__doc__, rows=900_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    batch = clicks.generated(options.rows)
    print(f"{len(batch):,} rows x {clicks.COLUMNS}, k = {FACTORS[0]}, median (range) of {options.runs}")
    with tempfile.TemporaryDirectory() as folder:
        paths = write(batch, folder, "clicks")
        for threads in THREADS:
            compare(batch, paths, threads, options.runs)


if __name__ == "__main__":
    main()

"""How fast libsvm text is decoded: MB/s on one and two threads, and against scikit-learn's reader on the same bytes.

Run as: python benchmarks/parse_libsvm.py [--rows 100000] [--runs 5]
"""
import argparse
import io
import statistics
import time

import numpy as np
from sklearn.datasets import load_svmlight_file

from fmcore.io import text
from fmcore.io.parallel import ordered_map

FIELDS, FEATURE_DIM = 39, 1_000_000


def generated(rows):
    """Lines of a label and FIELDS binary features with indices below FEATURE_DIM, frequent ones small; always alike."""
    indices = (np.random.default_rng(7).random((rows, FIELDS)) ** 3 * (FEATURE_DIM - FIELDS)).astype(int)
    indices = np.sort(indices) + np.arange(FIELDS)  # scikit-learn's reader wants them without duplicates
    return "".join(f"{row % 2} " + ":1 ".join(map(str, line)) + ":1\n" for row, line in enumerate(indices)).encode()


def decoded(data, threads):
    """Decode all, the way the reader does; the number of rows."""
    pieces = ordered_map(text.decode_libsvm, text.chunks(io.BytesIO(data)), threads, threads + 1)
    return sum(len(piece.batch) for piece in pieces)


def seconds(function, runs):
    """Median time of so many calls."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    """Print one line a reader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    data = generated(options.rows)
    megabytes = len(data) / 1e6
    print(f"{options.rows} rows, {megabytes:.0f} MB, median of {options.runs}")
    other = seconds(lambda: load_svmlight_file(io.BytesIO(data), zero_based=True), options.runs)
    print(f"scikit-learn        {megabytes / other:6.0f} MB/s")
    for threads in (1, 2):
        own = seconds(lambda threads=threads: decoded(data, threads), options.runs)
        print(f"fmcore, {threads} thread(s) {megabytes / own:6.0f} MB/s, {other / own:.1f} times scikit-learn")


if __name__ == "__main__":
    main()

"""Measure an epoch over pixels in rows a second: as matrices, as non-zeros, and the matrix products alone by NumPy.

python benchmarks/dense.py [DATA_FOLDER]      (default: ../shared/data, or $FMKIT_DATA)

The pixels are 784 columns of random numbers, first without zeros and then with two thirds of them 0, and MNIST's own
where the folder has them. With OPENBLAS_CORETYPE=Haswell the products are those of a processor without AVX-512.
"""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
from measure import medians, parser, print_second_processor, print_setting
from real_sets import REAL
from sets import batches
from threadpoolctl import threadpool_limits
from train_epoch import epoch

from fmcore.hyper.presets import resolve
from fmcore.kernels import prepared
from fmcore.rows.batch import Batch

COLUMNS = 784
FACTORS = (10, 16, 64)
MINI_BATCHES = (30, 200)
THREADS = (1, 2)


def random_pixels(rows, share):
    """Return a Batch with that share of non-zeros."""
    rng = np.random.default_rng(0)
    held = rng.random((rows, COLUMNS)) < share
    indptr = np.append(0, np.cumsum(held.sum(1)))
    values = rng.uniform(0.01, 1, indptr[-1]).astype(np.float32)
    return Batch(indptr, np.nonzero(held)[1].astype(np.int32), values, rng.integers(0, 2, rows).astype(np.float32))


def trained(batch, hyperparameters, threads, dense):
    """Return a function that trains one more epoch each time it is called."""
    with patch.object(prepared, "is_dense", lambda _: dense):
        return epoch(batch, hyperparameters, threads)


def products(rows, factors, mini_batch_size, threads):
    """Return a function that does an epoch's products with NumPy: X V, then X^T S, for each mini-batch X."""
    X = np.random.default_rng(0).random((rows, COLUMNS), np.float32)
    V = np.random.default_rng(1).random((COLUMNS, factors), np.float32)

    def work():
        with threadpool_limits(threads, "blas"):
            for first in range(0, rows, mini_batch_size):
                part = X[first : first + mini_batch_size]
                part.T @ (part @ V)

    return work


def compare(name, batch, factors, mini_batch_size, runs):
    """Print rows a second for each number of threads."""
    hyperparameters = resolve(
        epochs=10,
        predictor_type="binary_classifier",
        num_factors=factors,
        feature_dim=COLUMNS,
        mini_batch_size=mini_batch_size,
    )
    works = {}
    for threads in THREADS:
        works["non-zeros", threads] = trained(batch, hyperparameters, threads, dense=False)
        works["matrix", threads] = trained(batch, hyperparameters, threads, dense=True)
        works["products", threads] = products(len(batch), factors, mini_batch_size, threads)
    times = medians(works, runs, f"{name}, k = {factors}, mini-batches of {mini_batch_size}")
    for threads in THREADS:
        rates = {way: len(batch) / times[way, threads] for way in ("non-zeros", "matrix", "products")}
        print(
            f"k = {factors:2d}, mini-batches of {mini_batch_size:3d}, {threads} thread{'s' * (threads > 1)}: "
            f"non-zeros {rates['non-zeros']:9,.0f} rows/s, matrix {rates['matrix']:9,.0f}, ratio "
            f"{rates['matrix'] / rates['non-zeros']:.1f}; NumPy's products alone {rates['products']:9,.0f}"
        )


def main():
    """Print a line for each data set, number of factors, mini-batch size and number of threads."""
    arguments = parser(__doc__.splitlines()[0], rows=16_000)
    arguments.add_argument("folder", nargs="?", default=os.environ.get("FMKIT_DATA", "../shared/data"))
    arguments.add_argument("--quick", action="store_true", help="k = 10 alone")
    options = arguments.parse_args()
    print_setting()
    print_second_processor(options.runs)
    sets = {"no zeros": random_pixels(options.rows, 1), "a third": random_pixels(options.rows, 0.35)}
    if Path(options.folder).is_dir():
        sets["MNIST"] = batches(REAL["mnist-0"], Path(options.folder))[0].take(slice(options.rows))
    for name, batch in sets.items():
        kind = "a matrix" if prepared.is_dense(batch) else "non-zeros"
        print(
            f"{name}: {len(batch):,} rows x {COLUMNS}, {len(batch.indices) / len(batch) / COLUMNS:.0%} non-zeros, "
            f"trained as {kind}; adagrad, median of {options.runs}"
        )
        for factors in FACTORS[:1] if options.quick else FACTORS:
            for mini_batch_size in MINI_BATCHES:
                compare(name, batch, factors, mini_batch_size, options.runs)


if __name__ == "__main__":
    main()

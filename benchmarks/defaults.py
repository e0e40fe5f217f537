"""How good the defaults are: each real data set with nothing but --predictor-type, against the best of a small grid.

    python benchmarks/defaults.py [--quick] [--only NAME] [DATA_FOLDER]      (default: ../shared/data, or $FMKIT_DATA)

The grid (learning rate, weight decay, deviation of the first factors, mini-batch size) is run with this program on the
same rows; its best point is chosen by the test rows, which flatters it. --quick leaves it out. Prints a markdown table.
"""

import gzip
import itertools
import os
from pathlib import Path

import numpy as np
from measure import figure, parser, print_setting
from scipy.sparse import csr_matrix

from fmcore import api
from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions
from fmcore.rows.batch import Batch, concatenate
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions

GRID = {
    "lr": (0.02, 0.03, 0.05, 0.1),
    "wd": (1e-5, 1e-4, 1e-3, 3e-3),
    "sigma": (0.01, 0.02, 0.05),
    "mini_batch_size": (16, 32, 64, 256),
}
SHOPPERS = ("Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend")


def split(batch, every):
    """Return training rows and test rows: row n is a test row where n % every == every - 1."""
    test = np.arange(len(batch)) % every == every - 1
    return batch.take(np.flatnonzero(~test)), batch.take(np.flatnonzero(test))


def read(path, options):
    """Return all rows of a file as one batch."""
    batches, _ = api.Data([str(path)], options).reader(Encoder()).batches()
    return concatenate(list(batches))


def mnist(folder):
    """Return MNIST's rows, labelled by whether the digit is a 0; pixels are divided by 255."""
    parts = []
    for name in ("train", "t10k"):
        pixels = gzip.decompress((folder / f"mnist/{name}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"mnist/{name}-labels-idx1-ubyte.gz").read_bytes())
        rows = csr_matrix(np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255)
        is_zero = np.frombuffer(labels, np.uint8, offset=8) == 0
        parts.append(Batch(rows.indptr.astype(np.int64), rows.indices, rows.data, is_zero.astype(np.float32)))
    return parts


def a9a(folder):
    """Return Adult's rows, one-hot, from libsvm text."""
    return [read(folder / f"a9a/{name}", ReadOptions(binary=True)) for name in ("a9a.bz2", "a9a.t.bz2")]


def movielens(folder):
    """Return ratings by user and movie; movies of test rows alone are features too, but never trained."""
    table = TableOptions(label="rating", categorical=("userid", "movieid"), ignore=("timestamp",))
    return split(read(folder / "ml-latest-small/ratings.csv", ReadOptions(table=table)), 10)


def shoppers(folder):
    """Return rows with raw numeric columns (durations up to tens of thousands) beside categorical ones."""
    table = TableOptions(label="Revenue", categorical=SHOPPERS)
    path = folder / "online-shoppers/online_shoppers_intention.csv"
    return split(read(path, ReadOptions(table=table, binary=True)), 5)


DATA = {  # name -> (reader, predictor_type, metric, the mark it must reach)
    "MNIST is it a 0": (mnist, "binary_classifier", "accuracy", ">= 0.9955"),
    "a9a": (a9a, "binary_classifier", "logloss", "<= 0.324"),
    "ml-latest-small": (movielens, "regressor", "rmse", "<= 0.850"),
    "online-shoppers": (shoppers, "binary_classifier", "logloss", ""),
}


def score(rows, test, metric, **given):
    """Return the test metric after the last epoch."""
    return api.fit(rows, resolve(**given), test=test).info["epochs"][-1]["test"][metric]


def grid_points():
    """Return every combination of the grid as hyperparameters."""
    for lr, wd, sigma, rows in itertools.product(*GRID.values()):
        yield {
            "bias_lr": lr,
            "linear_lr": lr,
            "factors_lr": lr,
            "linear_wd": wd,
            "factors_wd": wd,
            "factors_init_sigma": sigma,
            "mini_batch_size": rows,
        }


def compare(name, folder, seeds, *, quick):
    """Return one line of the table."""
    reader, predictor_type, metric, mark = DATA[name]
    rows, test = reader(folder)
    ours = [score(rows, test, metric, predictor_type=predictor_type, seed=seed) for seed in range(seeds)]
    figure(f"{name}, {metric}", ours, "accuracy" if metric == "accuracy" else "loss")
    cells = [name, metric, mark, f"{ours[0]:.4f}", f"{min(ours):.4f} to {max(ours):.4f}"]
    if not quick:
        cells += best_of_grid(rows, test, metric, predictor_type, ours[0])
    return f"| {' | '.join(cells)} |"


def best_of_grid(rows, test, metric, predictor_type, own):
    """Return cells of the table: the grid's best value, where it is found, how far the defaults are from it."""
    points = list(grid_points())
    found = [score(rows, test, metric, predictor_type=predictor_type, **point) for point in points]
    best = max(found) if metric == "accuracy" else min(found)
    at = points[found.index(best)]
    words = (
        f"lr {at['linear_lr']:g}, wd {at['linear_wd']:g}, sigma {at['factors_init_sigma']:g}, "
        f"{at['mini_batch_size']} rows"
    )
    return [f"{best:.4f}", words, f"{abs(own - best) / best:.2%}"]


def main():
    """Print the table, or a note where the data are absent."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="without the grid")
    made.add_argument("--only", choices=tuple(DATA), help="one data set's line alone")
    made.add_argument("folder", nargs="?", default=os.environ.get("FMKIT_DATA", "../shared/data"))
    options = made.parse_args()
    folder = Path(options.folder)
    if not folder.is_dir():
        print(f"skipped: there is no folder {folder} with the real data")
        return
    print_setting()
    head = ["data", "metric", "mark", "defaults, seed 0", f"{options.runs} seeds"]
    if not options.quick:
        print(f"Grid of {np.prod([len(values) for values in GRID.values()])} points, ten epochs, test rows.\n")
        head += ["best of the grid", "at", "apart"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in [options.only] if options.only else DATA:
        print(compare(name, folder, options.runs, quick=options.quick), flush=True)


if __name__ == "__main__":
    main()

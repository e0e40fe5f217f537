"""Whether speed costs quality: test metrics of the fast kernels beside those of the slow reference, seed by seed.

    python benchmarks/quality.py [--seeds 3] [--epochs 3] [DATA_FOLDER]      (default: ../shared/data, or $FMKIT_DATA)

Both train with the same hyperparameters on the same rows in the same order, so that only the rounding of float32 may
distinguish them; how far seeds lie from each other shows how little that must be.
"""

import os
from dataclasses import replace
from pathlib import Path

import clicks
import numpy as np
from measure import figure, parser, print_setting
from real_sets import REAL
from sets import batches

from fmcore import api
from fmcore.hyper.presets import resolve

NAMES = ("a9a", "ml-latest-small", "online-shoppers")
BACKENDS = ("cpu", "reference")
THREADS = 2
FOLDED = 100


def data_sets(folder, rows):
    """Return name -> (function for training rows and test rows, predictor_type, metric); real ones where present."""
    held = [REAL[name] for name in NAMES] if folder.is_dir() else []
    found = {one.name: (lambda one=one: batches(one, folder), one.kind, one.metric) for one in held}
    made = (lambda: [folded(clicks.generated(rows, seed)) for seed in (0, 1)], "binary_classifier", "logloss")
    return {**found, f"{rows:,} clicks": made}


def folded(batch):
    """Return the rows with FOLDED features a column, as the reference loops over all features in each mini-batch.

    No row may hold a feature twice, which the reference cannot train on.
    """
    columns = batch.indices.reshape(len(batch), -1) % FOLDED + FOLDED * np.arange(clicks.COLUMNS)
    return replace(batch, indices=columns.ravel().astype(np.int32))


def score(parts, metric, backend, **given):
    """Return the test metric of the last epoch."""
    rows, test = parts
    model = api.fit(rows, resolve(**given), test=test, resources=api.Resources(THREADS, device=backend))
    return model.info["epochs"][-1]["test"][metric]


def scores(parts, metric, seeds, **given):
    """Return for each backend the metric for each seed."""
    return {
        backend: [score(parts, metric, backend, seed=seed, **given) for seed in range(seeds)] for backend in BACKENDS
    }


def apart(found):
    """Return the largest difference of the backends for one seed, and the difference of the reference's seeds."""
    return (
        max(abs(fast - slow) for fast, slow in zip(*found.values(), strict=True)),
        max(found["reference"]) - min(found["reference"]),
    )


def main():
    """Print a line for each data set."""
    made = parser(__doc__.splitlines()[0], rows=20_000)
    made.add_argument("--seeds", type=int, default=3, help="of each (3)")
    made.add_argument("--epochs", type=int, default=3, help="of each (3)")
    made.add_argument("folder", nargs="?", default=os.environ.get("FMKIT_DATA", "../shared/data"))
    options = made.parse_args()
    print_setting()
    if not Path(options.folder).is_dir():
        print(f"there is no folder {options.folder} with the real data: clicks alone")
    for name, (read, predictor_type, metric) in data_sets(Path(options.folder), options.rows).items():
        found = scores(read(), metric, options.seeds, predictor_type=predictor_type, epochs=options.epochs)
        most, seeds = apart(found)
        for backend, values in found.items():
            figure(f"{name}, {backend}", values, "loss")
        print(
            f"{name}: {metric} {min(found['cpu']):.5f} to {max(found['cpu']):.5f}, reference "
            f"{min(found['reference']):.5f} to {max(found['reference']):.5f}; at most {most:.1e} apart for one seed, "
            f"{seeds:.1e} from seed to seed",
            flush=True,
        )


if __name__ == "__main__":
    main()

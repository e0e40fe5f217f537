"""Measure the peak memory of `fm train` a non-zero, beyond parameters, optimizer state and that of a bare run.

Also the peak of `fm convert`, which should be the same for a file and for one with several times its rows.
"""

import statistics
import tempfile
from pathlib import Path

import clicks
from measure import figure, parser, peak_bytes, print_setting, spread

from fmcore.hyper.presets import resolve
from fmcore.io.recordio import codec as recordio
from fmcore.io.text import codec as text
from fmcore.solvers.estimate import parameter_bytes

FACTORS = 8
FEW = 50  # rows of a bare run
FEWER = 4  # times the rows of the smaller file to convert
STREAMED = 1 << 20  # bytes beside the parameters, in which no rows fit


def peak(path, *more):
    """Return the peak memory in bytes of training from this file."""
    return peak_bytes(
        "train",
        path,
        "-o",
        path.with_suffix(".fm"),
        "--predictor-type",
        "binary_classifier",
        "--epochs",
        1,
        "--num-factors",
        FACTORS,
        "--index-base",
        0,
        "--quiet",
        *more,
    )


def write(batch, folder, name):
    """Write the rows as recordIO and as libsvm text; return format -> path."""
    paths = {"recordIO": Path(folder, f"{name}.rec"), "libsvm": Path(folder, f"{name}.svm")}
    paths["recordIO"].write_bytes(recordio.encode(batch, clicks.feature_dim()))
    paths["libsvm"].write_bytes(text.encode_libsvm(batch))
    return paths


def write_few(folder):
    """Write a few rows of a few features."""
    path = Path(folder, "few.svm")
    path.write_text("".join(f"{row % 2} {row % 3}:1 {3 + row % 5}:1\n" for row in range(FEW)))
    return path


def train(paths, bare, batch, options):
    """Print a line for each format, in memory and streamed."""
    parameters = 2 * 4 * batch.feature_dim * (FACTORS + 1)
    hyperparameters = resolve(predictor_type="binary_classifier", num_factors=FACTORS)
    limit = parameter_bytes(hyperparameters, batch.feature_dim) + STREAMED
    print(
        f"{len(batch):,} rows, {len(batch.indices):,} non-zeros, k = {FACTORS}; parameters and state "
        f"{parameters / 1e6:.0f} MB, a bare run {bare / 1e6:.0f} MB; median (range) of {options.runs}"
    )
    for way, more in {"in memory": (), "streamed": ("--memory-limit", limit)}.items():
        for name, path in paths.items():
            peaks = [peak(path, *more) for _ in range(options.runs)]
            each = [(size - parameters - bare) / len(batch.indices) for size in peaks]
            figure(f"{name}, {way}", each, "bytes a non-zero")
            print(
                f"train from {name}, {way}: {spread(each, '.1f')} bytes a non-zero beyond these; "
                f"{statistics.median(peaks) / 1e6:.0f} MB in all",
                flush=True,
            )


def convert(sources, options):
    """Print a line for a libsvm file of fewer rows and for one of all; sources: name -> path."""
    for name, path in sources.items():
        peaks = [
            peak_bytes("convert", path, "-o", path.with_suffix(".out.rec"), "--index-base", 0, "--quiet")
            for _ in range(options.runs)
        ]
        figure(f"convert {name}", peaks, "bytes")
        print(f"convert {name}: {spread([size / 1e6 for size in peaks], '.0f')} MB in all")


def main():
    """Print the lines of both commands."""
    options = parser(__doc__.splitlines()[0], rows=900_000).parse_args()
    print_setting()
    with tempfile.TemporaryDirectory() as folder:
        batch = clicks.generated(options.rows)
        paths = write(batch, folder, "clicks")
        bare = statistics.median(peak(write_few(folder)) for _ in range(options.runs))
        train(paths, bare, batch, options)
        fewer = write(batch.take(slice(len(batch) // FEWER)), folder, "fewer")
        convert({f"a {FEWER}th of the rows": fewer["libsvm"], "all rows": paths["libsvm"]}, options)


if __name__ == "__main__":
    main()

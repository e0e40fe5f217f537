"""Measure `fm predict` as a process, from recordIO to text, beside decoding alone; and ten rows with a large model."""

import tempfile
from pathlib import Path

import clicks
import numpy as np
from measure import FM, medians, parser, print_second_processor, print_setting, process

from fmcore.hyper.presets import resolve
from fmcore.io.options import ReadOptions, Report
from fmcore.io.readers import read_batches
from fmcore.io.recordio import codec as recordio
from fmcore.io.sources import source as sources
from fmcore.model import file as modelfile
from fmcore.model import header as modelheader
from fmcore.model.model import initial

FACTORS = 16
LARGE_DIM = 30_000_000  # x (16 factors + 1) x 4 bytes: 2 GB
FEW = 10
THREADS = (1, 2)


def write_large_model(path, hyperparameters):
    """Write a model of zeros in a sparse file, which takes no space on disk where the file system allows it.

    Its checksum is not that of its numbers: hashing 2 GB would take long, and only --verify compares it.
    """
    zeros = np.zeros(1, np.float32)
    shapes = {"bias": (1,), "linear": (LARGE_DIM,), "factors": (LARGE_DIM, FACTORS)}
    table = modelheader.layout({name: np.broadcast_to(zeros, shape) for name, shape in shapes.items()}, "factors")
    head = modelheader.encode(
        table,
        {
            "feature_dim": LARGE_DIM,
            "info": {},
            "checksum": "",
            "hyperparameters": {**hyperparameters.as_dict(), "feature_dim": LARGE_DIM},
        },
    )
    with path.open("wb") as handle:
        handle.write(head)
        handle.truncate(len(head) + max(tensor.end for tensor in table.values()))


def decode(path, threads):
    """Return a function that reads all rows and discards them."""
    options = ReadOptions(threads=threads)
    return lambda: sum(map(len, read_batches(sources.find([path]), options, Report())))


def many_rows(folder, hyperparameters, options):
    """Print rows a second of scoring a file, with start-up and without, and of decoding it."""
    few, many, model = Path(folder, "few.rec"), Path(folder, "many.rec"), Path(folder, "model.fm")
    batch, dim = clicks.generated(options.rows), clicks.feature_dim()
    many.write_bytes(recordio.encode(batch, dim))
    few.write_bytes(recordio.encode(batch.take(slice(FEW)), dim))
    modelfile.save(initial(hyperparameters), model)
    works = {}
    for n in THREADS:
        for rows in (few, many):
            works[rows, n] = process(*FM, "predict", model, rows, "-o", Path(folder, "scores.txt"), "--threads", n)
        works["decode", n] = decode(many, n)
    times = medians(works, options.runs)
    print(f"fm predict of {len(batch):,} rows, feature_dim {dim:,}, k = {FACTORS}, median of {options.runs}")
    for n in THREADS:
        whole, start = times[many, n], times[few, n]
        print(
            f"{n} thread{'s' * (n > 1)}: {len(batch) / (whole - start) / 1e6:.2f} M rows/s; with start-up "
            f"({start:.2f} s, those of {FEW} rows) {len(batch) / whole / 1e6:.2f} M; decoding alone "
            f"{len(batch) / times['decode', n] / 1e6:.2f} M"
        )


def few_rows(folder, hyperparameters, options):
    """Print the time that ten rows take with a large model."""
    few, large = Path(folder, "few.rec"), Path(folder, "large.fm")
    few.write_bytes(recordio.encode(clicks.generated(FEW), LARGE_DIM))
    write_large_model(large, hyperparameters)
    times = medians(
        {"predict": process(*FM, "predict", large, few), "version": process(*FM, "--version")}, options.runs
    )
    print(
        f"{FEW} rows, model of {large.stat().st_size / 1e9:.1f} GB: {times['predict']:.3f} s, "
        f"{times['predict'] / times['version']:.2f} times fm --version ({times['version']:.3f} s)"
    )


def main():
    """Print both."""
    options = parser(__doc__, rows=1_200_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    hyperparameters = resolve(predictor_type="binary_classifier", num_factors=FACTORS, feature_dim=clicks.feature_dim())
    with tempfile.TemporaryDirectory() as folder:
        many_rows(folder, hyperparameters, options)
        few_rows(folder, hyperparameters, options)


if __name__ == "__main__":
    main()

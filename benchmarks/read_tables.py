"""How fast CSV becomes batches, next to what pyarrow needs to parse it: python benchmarks/read_tables.py [ROWS]."""
import io
import sys
import time
from types import SimpleNamespace

import numpy as np
from pyarrow import csv

from fmcore.io import tables
from fmcore.io.options import ReadOptions, Report, TableOptions
from fmcore.io.vocabulary import Hashing, Vocabulary

NUMERIC, CATEGORICAL = 13, 26
DISTINCT = (3, 10, 100, 1_000, 10_000)  # values of the categorical columns, in turn
REPEATS = 3


def table(rows):
    """The bytes of a CSV file with a header: label, then 13 numeric and 26 categorical columns, equal in every run."""
    rng = np.random.default_rng(20)
    columns = [rng.integers(0, 2, rows).astype(str)]
    columns += [np.char.mod("%.4g", rng.exponential(10, rows)) for _ in range(NUMERIC)]
    columns += [np.char.mod("v%x", rng.zipf(1.3, rows) % DISTINCT[i % len(DISTINCT)]) for i in range(CATEGORICAL)]
    names = ["label", *(f"n{i}" for i in range(NUMERIC)), *(f"c{i}" for i in range(CATEGORICAL))]
    lines = [names, *zip(*(column.tolist() for column in columns), strict=True)]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def rate(rows, work):
    """Rows a second, the best of several runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return rows / min(seconds)


def main():
    """Print the three rates and the ratios."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    data = table(rows)
    categorical = tuple(f"c{i}" for i in range(CATEGORICAL))
    options = ReadOptions(table=TableOptions(label="label", categorical=categorical))
    source = SimpleNamespace(name="benchmark", path=None)

    def read(encoder):
        batches = tables.read(source, io.BytesIO(data), options, Report(), "csv", encoder=encoder)
        assert sum(map(len, batches)) == rows

    alone = rate(rows, lambda: csv.read_csv(io.BytesIO(data)))
    print(f"{len(data) / rows:.0f} bytes a row; pyarrow.csv.read_csv alone: {alone / 1e6:.2f} M rows/s")
    for name, encoder in (("vocabulary", Vocabulary), ("hashing", lambda: Hashing(20))):
        speed = rate(rows, lambda encoder=encoder: read(encoder()))
        print(f"{name}: {speed / 1e6:.2f} M rows/s, {speed / alone:.2f} of read_csv")


if __name__ == "__main__":
    main()

"""Measure how fast CSV becomes batches on one thread, beside the time that pyarrow takes to parse it."""

import io
from types import SimpleNamespace

import numpy as np
from measure import medians, parser, print_setting
from pyarrow import csv

from fmcore.io.options import ReadOptions, Report
from fmcore.io.tables import codec as tables
from fmcore.schema.encoder import Encoder
from fmcore.schema.features import Hashed
from fmcore.schema.options import TableOptions

NUMERIC, CATEGORICAL = 13, 26
DISTINCT = (3, 10, 100, 1_000, 10_000)  # values of the categorical columns, in turn


def table(rows):
    """Return a CSV file with a header: label, then 13 numeric and 26 categorical columns, equal in every run."""
    rng = np.random.default_rng(20)
    columns = [rng.integers(0, 2, rows).astype(str)]
    columns += [np.char.mod("%.4g", rng.exponential(10, rows)) for _ in range(NUMERIC)]
    columns += [np.char.mod("v%x", rng.zipf(1.3, rows) % DISTINCT[i % len(DISTINCT)]) for i in range(CATEGORICAL)]
    names = ["label", *(f"n{i}" for i in range(NUMERIC)), *(f"c{i}" for i in range(CATEGORICAL))]
    lines = [names, *zip(*(column.tolist() for column in columns), strict=True)]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def main():
    """Print a line for pyarrow alone, and one for each way to encode."""
    options = parser(__doc__, rows=100_000).parse_args()
    print_setting()
    data = table(options.rows)
    categorical = tuple(f"c{i}" for i in range(CATEGORICAL))
    read_options = ReadOptions(table=TableOptions(label="label", categorical=categorical))
    source = SimpleNamespace(name="benchmark", path=None)

    def read(encoder):
        batches = tables.read(source, io.BytesIO(data), read_options, Report(), "csv", encoder=encoder)
        assert sum(map(len, batches)) == options.rows

    times = medians(
        {
            "pyarrow.csv.read_csv alone": lambda: csv.read_csv(io.BytesIO(data)),
            "vocabulary": lambda: read(Encoder()),
            "hashing": lambda: read(Encoder(Hashed(20))),
        },
        options.runs,
    )
    print(f"{options.rows:,} rows of {len(data) / options.rows:.0f} bytes, median of {options.runs}")
    for name, time in times.items():
        print(
            f"{name}: {options.rows / time / 1e6:.2f} M rows/s, "
            f"{times['pyarrow.csv.read_csv alone'] / time:.2f} of read_csv"
        )


if __name__ == "__main__":
    main()

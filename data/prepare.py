"""Writes the four CSV files of this folder from their sources: python data/prepare.py rating_final.csv.

rating_final.csv is part of UCI's "Restaurant & consumer data"; the digits come with scikit-learn.
"""

import sys
from pathlib import Path

from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent


def split(name, header, rows, is_test):
    """Write the rows (texts), of which row n from 0 is a test row where is_test(n) holds."""
    for part, wanted in (("train", False), ("test", True)):
        chosen = [row for n, row in enumerate(rows) if is_test(n) == wanted]
        (FOLDER / f"{name}.{part}.csv").write_text("\n".join([header, *chosen, ""]))


def digits():
    """A row a digit: what it is, then its 64 pixels (0 to 16), line by line."""
    data = load_digits()
    table = [[label, *pixels] for label, pixels in zip(data.target, data.data.astype(int), strict=True)]
    return ",".join(["label", *(f"p{n}" for n in range(64))]), [",".join(map(str, row)) for row in table]


def main():
    """Prepare both data sets."""
    split("digits", *digits(), lambda n: n % 5 == 4)
    header, *rows = Path(sys.argv[1]).read_text().split()
    split("restaurants", header, rows, lambda n: n % 10 == 9)


if __name__ == "__main__":
    main()

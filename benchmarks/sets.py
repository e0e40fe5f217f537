"""Data sets for benchmarks: training rows and test rows of one, how they are split, written for `fm`, and read again.

Columns of text are categorical, all others are numeric. What is missing is NaN here and an empty field in a file.
"""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pandas import DataFrame
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from scipy.sparse import csr_matrix, issparse
from sklearn.datasets import dump_svmlight_file

from fmcore import api
from fmcore.io.options import ReadOptions
from fmcore.rows.batch import Batch, concatenate
from fmcore.schema.encoder import Encoder
from fmcore.schema.options import TableOptions

BINARY, NUMBER = "binary_classifier", "regressor"
METRIC = {BINARY: "logloss", NUMBER: "rmse"}


@dataclass(frozen=True)
class Part:
    """Training rows or test rows: X without the label, y the labels, of which classes are 0 and 1."""

    X: DataFrame | csr_matrix
    y: np.ndarray

    def __len__(self):
        return len(self.y)

    def take(self, rows):
        """Return a Part of the rows at these positions."""
        return Part(self.X[rows] if issparse(self.X) else self.X.iloc[rows], self.y[rows])

    @property
    def categorical(self):
        """Return the names of the columns of text."""
        return [] if issparse(self.X) else [name for name in self.X if not is_numeric_dtype(self.X[name])]

    def write(self, stem, label):
        """Write the rows as libsvm text or, with names of columns, as CSV; return the path, the stem with an ending."""
        path = Path(f"{stem}.svm" if issparse(self.X) else f"{stem}.csv")
        if issparse(self.X):
            dump_svmlight_file(self.X, self.y, str(path))
        else:
            self.X.assign(**{label: self.y}).to_csv(path, index=False)
        return path


@dataclass(frozen=True)
class Set:
    """A data set: read(folder) gives its training Part and its test Part; folder: where the real data lie."""

    name: str
    kind: str  # the predictor type
    read: Callable
    label: str = "y"
    quick: bool = True  # whether a quick run has time for it

    @property
    def metric(self):
        """Return the name of what models of it are judged by."""
        return METRIC[self.kind]


def table(frame, label, kind, *, text=(), positive=None):
    """Return a Part of the rows that have a label.

    text: further columns to take as text. positive: the label that is a 1, where they are not 0 and 1 already.
    """
    frame = frame.dropna(subset=[label]).reset_index(drop=True)
    y = frame.pop(label)
    if positive is not None:
        y = y.astype(str).str.strip() == str(positive)
    for name in frame:
        if name in text or not is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype("str").where(frame[name].notna())
        elif is_bool_dtype(frame[name]):
            frame[name] = frame[name].astype(int)
    frame.columns = [re.sub(r"\W+", "_", str(name)) for name in frame]  # commas and stars mean something to `fm`
    return Part(frame, y.to_numpy(np.int64 if kind == BINARY else np.float64))


def every(part, count):
    """Return training rows and test rows: row n is a test row where n % count == count - 1."""
    test = np.arange(len(part)) % count == count - 1
    return part.take(np.flatnonzero(~test)), part.take(np.flatnonzero(test))


def at_random(part):
    """Return training rows and test rows, a fifth that is drawn with a fixed seed, both in the order of the data."""
    order = np.random.default_rng(0).permutation(len(part))
    test = len(part) // 5
    return part.take(np.sort(order[test:])), part.take(np.sort(order[:test]))


def batches(one, folder):
    """Return a set's training rows and its test rows as batches, as fmkit reads them."""
    encoder = Encoder()
    with tempfile.TemporaryDirectory() as work:
        return [batch(part, Path(work, str(number)), encoder) for number, part in enumerate(one.read(folder))]


def batch(part, stem, encoder):
    """Return a Part's rows as one batch. stem: where to write a table meanwhile, which only fmkit's reader encodes."""
    if issparse(part.X):
        X = part.X.astype(np.float32)
        return Batch(X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data, part.y.astype(np.float32))
    options = ReadOptions(table=TableOptions(label="y", categorical=tuple(part.categorical)))
    read, _ = api.Data([str(part.write(stem, "y"))], options).reader(encoder).batches()
    return concatenate(list(read))

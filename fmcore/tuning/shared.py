"""Rows decoded once and shared by processes: batches written to files that each process maps into its memory."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmcore.rows.batch import ARRAYS, Batch
from fmcore.rows.blocks import cut


@dataclass(frozen=True)
class Shared:
    """The rows in `folder`, as `parts` batches. feature_dim: as the rows have it. checksum: CRC-32 of all arrays."""

    folder: str
    parts: int
    rows: int
    feature_dim: int
    checksum: int

    def batches(self):
        """Yield the batches, their arrays mapped and read-only; ids, of no use in training, are left out."""
        for part in range(self.parts):
            arrays = {name: _mapped(Path(self.folder, f"{part}.{name}.npy")) for name in ARRAYS}
            yield Batch(**arrays, ids=None, origin=None)


def share(batches, folder):
    """Write batches into a folder (made anew) and return them as Shared."""
    Path(folder).mkdir()
    parts = rows = feature_dim = checksum = 0
    for batch in cut(batches):
        for name in ARRAYS:
            array = getattr(batch, name)
            if array is not None:
                np.save(Path(folder, f"{parts}.{name}.npy"), array)
                checksum = zlib.crc32(array, checksum)
        parts, rows, feature_dim = parts + 1, rows + len(batch), max(feature_dim, batch.feature_dim)
    return Shared(str(folder), parts, rows, feature_dim, checksum)


def _mapped(path):
    return np.load(path, mmap_mode="r") if path.exists() else None

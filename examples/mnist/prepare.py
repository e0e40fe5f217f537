"""Turns MNIST's IDX files into the two channels of "is this digit a 0?", as SageMaker's notebook has them.

    python examples/mnist/prepare.py IDX_FOLDER CHANNELS

IDX_FOLDER holds train-images-idx3-ubyte and the three other files, as published, gzipped or not. CHANNELS/train gets
the first 50,000 of the 60,000 training digits and CHANNELS/test the 10,000 test digits, as recordIO-protobuf: 784
dense float32 pixels from 0 to 1, row by row, and the label 1 for a 0, else 0.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from fmcore.io.recordio.record_message import record_class

CHANNELS = {"train": ("train", 50_000), "test": ("t10k", 10_000)}  # channel -> begin of the files' names, rows
MAGIC = 0xCED7230A  # of a record's frame


def main(idx_folder, channels):
    """Write both channels."""
    for channel, (prefix, rows) in CHANNELS.items():
        images = idx(idx_folder, f"{prefix}-images-idx3-ubyte")[:rows]
        labels = idx(idx_folder, f"{prefix}-labels-idx1-ubyte")[:rows]
        folder = Path(channels, channel)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = images.reshape(len(images), -1).astype(np.float32) / 255
        write_records(folder / "digits.pbr", pixels, labels == 0)


def idx(folder, name):
    """The uint8 array in an IDX file: 2 zero bytes, type 8, the number of dimensions, each as big-endian uint32."""
    path = Path(folder, name)
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{name}.gz").read_bytes())
    dimensions = data[3]
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_records(path, rows, labels):
    """A file of dense records. rows: float32 (n, features); labels: (n,)."""
    record = record_class()()
    with path.open("wb") as file:
        for row, label in zip(rows, labels, strict=True):
            record.Clear()
            record.features["values"].float32_tensor.values.extend(row.tolist())
            record.label["values"].float32_tensor.values.append(label)
            payload = record.SerializeToString()
            file.write(struct.pack("<2I", MAGIC, len(payload)) + payload + bytes(-len(payload) % 4))


if __name__ == "__main__":
    main(*sys.argv[1:])

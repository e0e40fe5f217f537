"""Speed of the recordIO-protobuf codec on one core, and how google protobuf compares on the same bytes.

Run as: python benchmarks/decode_recordio.py [ROWS]
"""
import io
import statistics
import struct
import sys
import time

import numpy as np

from fmcore.batch import Batch
from fmcore.io import record_message, recordio

FEATURE_DIM = 1_000_000
GOOGLE_ROWS = 20_000


def binary_rows(rows, keys=39, feature_dim=FEATURE_DIM, seed=7):
    """A Batch of `rows` rows of `keys` ascending indices, one from each of as many equal ranges; labels 0 and 1."""
    random = np.random.default_rng(seed)
    width = feature_dim // keys
    indices = np.arange(keys) * width + random.integers(0, width, (rows, keys))
    indptr = np.arange(rows + 1, dtype=np.int64) * keys
    return Batch(indptr, indices.astype(np.int32).ravel(), None, random.integers(0, 2, rows).astype(np.float32))


def median_seconds(work, repeats=5):
    """The median wall time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def decode_all(data):
    """Decode a whole file as a reader does; the number of rows."""
    return sum(len(recordio.decode(chunk).batch) for chunk in recordio.chunks(io.BytesIO(data)))


def payloads(data, count):
    """The first `count` payloads of a file whose records are whole."""
    at, found = 0, []
    for _ in range(count):
        size = struct.unpack_from("<4xI", data, at)[0]
        found.append(data[at + 8:at + 8 + size])
        at += 8 + (size + 3) // 4 * 4
    return found


def report(name, seconds, rows, size, google):
    """One line: MB/s, million records a second, and how many times google protobuf's rate that is."""
    rate = rows / seconds
    speed = size / seconds / 1e6
    print(f"{name}: {speed:.0f} MB/s, {rate / 1e6:.2f} M records/s, {rate / google:.1f} x google protobuf")


def main():
    """Print one line for decoding and one for encoding."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    batch = binary_rows(rows)
    data = recordio.encode(batch, FEATURE_DIM)
    record, some = record_message.record_class(), payloads(data, min(rows, GOOGLE_ROWS))
    messages = [record.FromString(payload) for payload in some]
    parsing = len(some) / median_seconds(lambda: [record.FromString(payload) for payload in some])
    writing = len(some) / median_seconds(lambda: [message.SerializeToString() for message in messages])
    report("decode", median_seconds(lambda: decode_all(data)), rows, len(data), parsing)
    report("encode", median_seconds(lambda: recordio.encode(batch, FEATURE_DIM)), rows, len(data), writing)


if __name__ == "__main__":
    main()

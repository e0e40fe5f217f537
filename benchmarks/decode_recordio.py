"""Measure the recordIO-protobuf codec in memory, beside google protobuf on the same bytes."""

import io
import struct

import clicks
from measure import medians, parser, print_second_processor, print_setting

from fmcore.io.parallel import Workers
from fmcore.io.recordio import codec as recordio
from fmcore.io.recordio import record_message
from fmcore.system.memory import keep_freed

THREADS = (1, 2)
GOOGLE_ROWS = 20_000


def decode_all(data, threads):
    """Decode a whole file as a reader does; return the number of rows."""
    keep_freed()
    with Workers(threads) as workers:
        return sum(len(piece.batch) for piece in workers.map(recordio.decode, recordio.chunks(io.BytesIO(data))))


def payloads(data, count):
    """Return the first `count` payloads of a file whose records are whole."""
    at, found = 0, []
    for _ in range(count):
        size = struct.unpack_from("<4xI", data, at)[0]
        found.append(data[at + 8 : at + 8 + size])
        at += 8 + (size + 3) // 4 * 4
    return found


def main():
    """Print a line for each number of threads that decode, and one for encoding."""
    options = parser(__doc__, rows=600_000).parse_args()
    print_setting()
    print_second_processor(options.runs)
    batch, feature_dim = clicks.generated(options.rows), clicks.feature_dim()
    data = recordio.encode(batch, feature_dim)
    record, some = record_message.record_class(), payloads(data, min(options.rows, GOOGLE_ROWS))
    messages = [record.FromString(payload) for payload in some]
    times = medians(
        {
            **{n: lambda n=n: decode_all(data, n) for n in THREADS},
            "encode": lambda: recordio.encode(batch, feature_dim),
            "google decode": lambda: [record.FromString(payload) for payload in some],
            "google encode": lambda: [message.SerializeToString() for message in messages],
        },
        options.runs,
    )
    print(f"{len(batch):,} records of {clicks.COLUMNS} keys, {len(data) / 1e6:.0f} MB, median of {options.runs}")

    def line(name, time, google):
        print(
            f"{name}: {len(batch) / time / 1e6:.2f} M records/s, {len(data) / time / 1e6:.0f} MB/s, "
            f"{len(batch) / time * google / len(some):.1f} times google protobuf"
        )

    for n in THREADS:
        line(f"decode, {n} thread{'s' * (n > 1)}", times[n], times["google decode"])
    line("encode, 1 thread", times["encode"], times["google encode"])


if __name__ == "__main__":
    main()

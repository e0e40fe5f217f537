"""Speed of the recordIO-protobuf codec on one thread, and how google protobuf compares on the same bytes."""
import io
import struct

import clicks
from measure import parser, print_setting, seconds

from fmcore.io import record_message, recordio

GOOGLE_ROWS = 20_000


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


def report(name, time, rows, size, google):
    """One line: MB/s, million records a second, and how many times google protobuf's rate that is."""
    print(f"{name}: {size / time / 1e6:.0f} MB/s, {rows / time / 1e6:.2f} M records/s, "
          f"{rows / time / google:.1f} times google protobuf")


def main():
    """Print one line for decoding and one for encoding."""
    options = parser(__doc__, rows=200_000).parse_args()
    print_setting()
    rows, feature_dim = options.rows, clicks.feature_dim()
    batch = clicks.generated(rows)
    data = recordio.encode(batch, feature_dim)
    print(f"{rows:,} records, {len(data) / 1e6:.0f} MB, one thread, median of {options.runs}")
    record, some = record_message.record_class(), payloads(data, min(rows, GOOGLE_ROWS))
    messages = [record.FromString(payload) for payload in some]
    parsing = len(some) / seconds(lambda: [record.FromString(payload) for payload in some], options.runs)
    writing = len(some) / seconds(lambda: [message.SerializeToString() for message in messages], options.runs)
    report("decode", seconds(lambda: decode_all(data), options.runs), rows, len(data), parsing)
    report("encode", seconds(lambda: recordio.encode(batch, feature_dim), options.runs), rows, len(data), writing)


if __name__ == "__main__":
    main()

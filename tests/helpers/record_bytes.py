"""recordIO frames and protobuf fields written by hand, for bytes that no library writes."""

import struct

MAGIC = bytes.fromhex("0a23d7ce")


def varint(value, size=1):
    """Return a number as base-128 little-endian, padded to `size` bytes."""
    out = []
    while value or len(out) < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out[:-1], out[-1] & 0x7F])


def field(number, *bodies, size=1):
    """Return a length-delimited field whose length takes at least `size` bytes."""
    body = b"".join(bodies)
    return varint(number << 3 | 2) + varint(len(body), size) + body


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def features(*tensor_fields, kind=2, key=b"values", number=1):
    """Return a map entry of Record with one tensor, Float32 unless kind is another; number 2 is the label map."""
    return field(number, field(1, key), field(2, field(kind, *tensor_fields)))


def sparse(keys, values, *shape):
    """Return the features of a Float32 sparse row."""
    return features(field(1, floats(*values)), field(2, *map(varint, keys)), field(3, *map(varint, shape)))


def label(value, key=b"values"):
    return features(field(1, floats(value)), key=key, number=2)


def frame(payload, part=0):
    head = MAGIC + struct.pack("<I", part << 29 | len(payload))
    return head + payload + bytes(-len(payload) % 4)


def in_parts(payloads):
    """Return one record in several frames."""
    flags = [1, *[2] * (len(payloads) - 2), 3]
    return b"".join(map(frame, payloads, flags))


def split_as_dmlc(payload):
    """Return the frames of dmlc's writer: cut at every 4-byte aligned magic, which is dropped."""
    parts, start = [], 0
    for at in range(0, len(payload) - 3, 4):
        if payload[at : at + 4] == MAGIC:
            parts.append(payload[start:at])
            start = at + 4
    parts.append(payload[start:])
    return in_parts(parts) if len(parts) > 1 else frame(payload)


def record_ends(data):
    """Return 0 and the byte behind each record."""
    ends, at = [0], 0
    while at < len(data):
        word = struct.unpack_from("<4xI", data, at)[0]
        at += 8 + ((word & (1 << 29) - 1) + 3) // 4 * 4
        if word >> 29 in {0, 3}:
            ends.append(at)
    return ends

"""Write the seeds that no editor can: `python -m fuzz.seeds` in tests/. Seeds of text are in corpus/ as they are."""

import bz2
import gzip
import io
from pathlib import Path

import archives
import record_bytes as rb
from models import small_model

from fmcore.model import file as modelfile

CORPUS = Path(__file__).parent / "corpus"


def records():
    """Write payloads in the common form, and in forms that are left to protobuf."""
    ones = rb.sparse([0, 3, 300], [1, 1, 1], 1000)
    real = rb.sparse([0, 7, 70000], [0.5, -2, 1e-40])
    doubles = rb.features(rb.field(1, b"\0\0\0\0\0\0\xf8?"), rb.field(2, b"\x05"), kind=3)
    integers = rb.features(rb.field(1, rb.varint(7), rb.varint(2**64 - 1)), kind=7)
    uid = rb.field(3, b"row")
    return {
        "binary": ones + rb.label(1),
        "real": real + rb.label(0) + rb.label(2.5, b"weight") + uid,
        "dense": rb.features(rb.field(1, rb.floats(0, 2, 0, -1))) + rb.label(3),
        "doubles": doubles + uid,
        "integers": integers + rb.label(1),
        "empty": rb.features(),
        "metadata": rb.field(4, b"a") + ones,
        "long-lengths": rb.field(1, rb.field(1, b"values"), rb.field(2, rb.field(2, b"")), size=5),
        "field-of-number-0": rb.field(0, b"x") + ones,
        "unpacked": rb.features(b"\x0d" + rb.floats(1) + b"\x10\x05"),
        "two-tensors": rb.features() + ones,
        "shape-of-two": rb.sparse([1], [2], 1, 9),
        "uid-of-text": ones + rb.field(3, "é".encode()),
        "uid-not-text": ones + rb.field(3, b"\xff"),
        "huge-key": rb.sparse([2**31 - 2], [1]),
        "key-too-large": rb.sparse([2**64 - 1], [1]),
        "not-finite": rb.sparse([1], [float("nan")]),
    }


def streams():
    """Write frames: whole, in parts, wrong."""
    some = records()
    both = rb.frame(some["binary"]) + rb.frame(some["real"])
    parts = rb.in_parts([some["binary"][:10], some["binary"][10:14], some["binary"][14:]])
    return {
        "two": both,
        "parts": parts + both,
        "magic-within": rb.split_as_dmlc(rb.field(4, rb.MAGIC * 2) + some["dense"]),
        "bad-payloads": rb.frame(b"") + both + rb.frame(b"\xff") + rb.frame(some["key-too-large"]),
        "empty-payloads": rb.frame(b"") * 40,
        "claims-half-a-gigabyte": rb.MAGIC + b"\xff\xff\xff\x1f",
        "cut-off": both[:-5],
        "part-alone": parts[:20],
        "slow-and-fast": rb.frame(some["unpacked"]) + both + rb.frame(some["shape-of-two"]) + rb.frame(some["dense"]),
    }


def compressed():
    """Write the three kinds of compression, two members in one file, and files cut off."""
    plain = b"1 1:1\n0 2:0.5\n" * 4
    packed = {"gzip": gzip.compress(plain, mtime=0), "bzip2": bz2.compress(plain)}
    return packed | {
        "two-members": packed["gzip"] * 2,
        "two-streams": packed["bzip2"] * 2,
        "plain": plain,
        "gzip-cut-off": packed["gzip"][:-9],
        "gzip-and-more": packed["gzip"] + b"\0more",
        "zeros": gzip.compress(bytes(1 << 16), mtime=0),
        "zstd": _zstd(plain),
    }


def models():
    """Write the small model of the tests."""
    file = io.BytesIO()
    modelfile.dump(small_model(), file)
    return {"small": file.getvalue()}


def _tarred(*entries):
    """Return a tar with one block of zeros for its end."""
    data = archives.tarred(*entries).rstrip(b"\0")
    return data + bytes(-len(data) % 512 + 512)


def containers():
    """Write tar, ZIP and gzip around the small archives, and malformed members."""
    inner = archives.zipped(archives.members_of(archives.SPARSE))
    packed = {"params": archives.PARAMS}
    return {
        "sparse": archives.archive_of(archives.SPARSE),
        "dense": archives.archive_of(archives.DENSE),
        "zip": inner,
        "tar": _tarred(("model_algo-1", archives.zipped(packed))),
        "zip-stored": archives.zipped(packed, 0),
        "tar-of-params": _tarred(("model/params", archives.PARAMS)),
        "leads-out": _tarred(("../params", archives.PARAMS)),
        "link": _tarred(archives.entry("params", b"2")),
    }


def arrays():
    """Write lists of arrays: dense, row-sparse, older forms."""
    np_w, np_b = archives.W, archives.B
    sparse = archives.row_sparse((4, 3), [1, 3], archives.V.reshape(4, 3)[:2])
    huge = archives.row_sparse((2**31 - 1, 3), [1, 3], archives.V.reshape(4, 3)[:2])
    return {
        "dense": archives.PARAMS,
        "row-sparse": archives.params({"w0_weight": np_b, "w1_weight": np_w, "v": sparse}),
        "absent-rows-of-gigabytes": archives.params({"w0_weight": np_b, "w1_weight": np_w, "v": huge}),
        "claims-arrays": archives.params({}, count=999),
        "older": (archives.GOLDEN / "older.params").read_bytes(),
    }


def _zstd(data):
    import pyarrow as pa

    return pa.compress(data, codec="zstd", asbytes=True)


def main():
    """Write all seeds."""
    for target, seeds in {
        "record": records(),
        "recordio": streams(),
        "compressed": compressed(),
        "model": models(),
        "archive": containers(),
        "params": arrays(),
    }.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()

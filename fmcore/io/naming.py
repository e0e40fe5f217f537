"""The format of an output by its name: what the name says is what is written, or it is refused."""

import re
from collections.abc import Collection
from pathlib import PurePath

from fmcore.errors import UsageError
from fmcore.io.sources.streams import COMPRESSIONS
from fmcore.system.publish import STDOUT

SUFFIXES = {  # format -> what the names of its files end with, beside .FORMAT
    "csv": (),
    "tsv": (".tab",),
    "json": (),
    "jsonlines": (".jsonl", ".ndjson"),
    "recordio": (".rec",),
    "libsvm": (".svm", ".svmlight"),
    "libffm": (".ffm",),
    "parquet": (".pq", ".parq"),
}
TEXT = ".txt"  # of any format but recordio
OTHERS = re.compile(  # formats and compressions that nothing here writes
    r"\.(arrow|avro|db|feather|h5|hdf5|html?|np[yz]|orc|pickle|pkl|sqlite|xlsx?|xml|ya?ml"
    r"|7z|br|bz|gzip|lz4|lzma|lzo|rar|snappy|sz|tar|tbz2|tgz|txz|xz|z|zip|zstd)"
)


def output_format(path: str, writable: Collection[str], default: str, given: str | None = None) -> str:
    """Return the format to write at `path`: the given one, else the one of its name, else the default.

    writable: the formats that can be written there. The default of a name in .txt is the first of them that is text.
    Raises UsageError where the name is that of another format or compression, or of another format than the one given.
    """
    if path in STDOUT:
        return given or default
    suffix = _suffix(path)
    named = next((name for name in (*SUFFIXES, *writable) if suffix in {f".{name}", *SUFFIXES.get(name, ())}), None)
    if OTHERS.fullmatch(suffix) or named not in (None, *writable):
        raise UsageError(f"{path} is named as {suffix}, which is not written here; expected {_expected(writable)}")
    if suffix == TEXT:
        if given == "recordio":
            raise UsageError(f"{path} is named as text, but --to is recordio; change one of them")
        texts = [default, *writable]
        return given or next(name for name in texts if name != "recordio")
    if named is not None and given not in (None, named):
        raise UsageError(f"{path} is named as {named}, but --to is {given}; change one of them")
    return given or named or default


def _suffix(path: str) -> str:
    """Return the last suffix of a path in small letters, that of a compression left out."""
    name = PurePath(str(path).lower())
    return (name.with_suffix("") if name.suffix in {kind.suffix for kind in COMPRESSIONS} else name).suffix


def _expected(writable: Collection[str]) -> str:
    """Return what names may end with, in words."""
    names = [SUFFIXES[name][0] if SUFFIXES.get(name) else TEXT if name == "text" else f".{name}" for name in writable]
    packed = [kind.suffix for kind in COMPRESSIONS]
    return f"{', '.join(names)}, each perhaps with {', '.join(packed[:-1])} or {packed[-1]} behind"

"""Unpack the containers of a model archive, gzip, tar and ZIP, in memory, within a limit; nothing is written to disk.

An archive is `model.tar.gz`, which holds one ZIP called `model_algo-N` of `params`, `symbol.json` and `meta.json`. A
tar without gzip, the ZIP alone, a folder with the ZIP or its members, and `params` alone are accepted as well.
"""

import gzip
import io
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from fmcore.errors import ModelError
from fmcore.model.archive import tar
from fmcore.model.archive.ndarrays import LIST_MAGIC

PARAMS, SYMBOL, META, INNER = "params", "symbol.json", "meta.json", "model_algo-N"
ROLES = {PARAMS: r"(.*\.)?params", SYMBOL: r"(.*-)?symbol\.json", META: r"meta\.json", INNER: r"model_algo-\d+"}
ALWAYS = 64 << 20  # bytes that an archive of any size may unpack to
RATIO = 100  # a larger archive may unpack to so many times its size
PIECE = 1 << 20  # bytes decompressed at once
LONGEST_TEXT = 1 << 20  # bytes of a member that is JSON; parsed, it takes many times more
ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
    OSError,
    RuntimeError,
    struct.error,
    IndexError,
)
GZIP, ZIP = b"\x1f\x8b", b"PK"  # the first bytes of such files
WITHIN = "raise the limit with --memory-limit"


class ArchiveMember(NamedTuple):
    """A file in an archive: its name, its size when unpacked in bytes, and a function that returns its bytes."""

    name: str
    size: int
    read: object


def default_limit(size):
    """Return the bytes that an archive of `size` bytes may unpack to; weights hardly compress, and stay far below."""
    return max(ALWAYS, RATIO * size)


def unpack(path, limit=None):
    """Return ("params", "symbol.json", "meta.json" -> bytes-like, of the members that exist; the limit in bytes).

    limit: bytes that the archive may unpack to at each level; `default_limit` of its size where None.
    Raises ModelError where the path is not such an archive, is damaged, or would exceed the limit.
    """
    path = Path(path)
    try:
        if path.is_dir():
            members = _folder(path)
            limit = default_limit(sum(member.size for member in members)) if limit is None else limit
            return _read(members, limit), limit
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("not a regular file or folder; save the archive as a file first")
        limit = default_limit(status.st_size) if limit is None else limit
        with path.open("rb") as handle:
            _require_known(handle.read(tar.BLOCK))  # before reading the rest, which may be of any size
            handle.seek(0)
            return _packed(handle.read(), limit), limit
    except OSError as error:
        raise ModelError(error.strerror or str(error)) from None


def _folder(path):
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file()]
    return [ArchiveMember(entry.name, entry.stat().st_size, entry.read_bytes) for entry in files]


def _require_known(head):
    """Raise ModelError where a file's first bytes are not those of an archive."""
    if not head:
        raise ModelError("the file is empty; expected a model archive")
    if not head.startswith((GZIP, LIST_MAGIC, ZIP)) and not tar.is_tar(head):
        raise ModelError(
            "not a model archive; expected model.tar.gz as SageMaker's factorization machines write it, "
            "or the ZIP model_algo-1 in it"
        )


def _packed(data, limit):
    """Return the bytes of the members for the bytes of a file."""
    if data.startswith(GZIP):
        data = _gunzip(data, limit)
        _require_known(data[: tar.BLOCK])
    if data.startswith(LIST_MAGIC):
        return {PARAMS: data}
    if data.startswith(ZIP):
        return _read(_zip(data, limit))
    files = tar.files(data)
    return _read([ArchiveMember(name, len(view), lambda view=view: view) for name, view in files], limit)


def _read(members, limit=None):
    """Return the bytes of the wanted members, or of those in the ZIP model_algo-N among them, unless limit is None."""
    chosen = _chosen(members, (PARAMS, SYMBOL, META) if limit is None else ROLES)
    if PARAMS in chosen:
        return {role: _text_or_params(role, member) for role, member in chosen.items() if role != INNER}
    if INNER not in chosen:
        names = ", ".join(repr(member.name[:80]) for member in members[:5]) or "nothing"
        raise ModelError(f"not a factorization machine: it holds {names}; expected params, or model_algo-1 with params")
    inner = chosen[INNER]
    try:
        return _read(_zip(inner.read(), limit))  # no further ZIP is opened in it: a ZIP can contain itself
    except ModelError as error:
        raise ModelError(f"{_last(inner.name)}: {error}") from None


def _chosen(members, roles):
    """Return a dict of role -> the member that has it."""
    chosen = {}
    for member in members:
        name = _last(member.name)
        role = next((role for role in roles if re.fullmatch(ROLES[role], name)), None)
        if role in chosen:
            raise ModelError(
                f"it holds both {chosen[role].name!r} and {member.name!r}, but a model has only one {role}"
            )
        if role:
            chosen[role] = member
    return chosen


def _last(name):
    """Return a member's name without its folders."""
    return re.split(r"[/\\]", name)[-1]


def _text_or_params(role, member):
    if role != PARAMS and member.size > LONGEST_TEXT:
        raise ModelError(f"{_last(member.name)} takes {member.size:,} bytes; at most {LONGEST_TEXT:,} are read")
    return member.read()


def _gunzip(data, limit):
    out = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            while piece := stream.read(PIECE):
                out += piece
                if len(out) > limit:
                    raise ModelError(f"{len(data):,} bytes of gzip unpack to more than {limit:,}; {WITHIN}")
    except EOFError:
        raise ModelError("cut off: the gzip data ends too early") from None
    except (OSError, ValueError, zlib.error) as error:
        raise ModelError(f"damaged gzip data: {error}") from None
    return out


def _zip(data, limit):
    """Return the files in a ZIP, after checks of all members."""
    data = bytes(data)
    entries = data.count(b"PK\x01\x02")  # the first bytes of each; the library would make an object of each of millions
    if entries > tar.MAX_MEMBERS:
        raise ModelError(f"the ZIP holds up to {entries} members; at most {tar.MAX_MEMBERS} are read")
    try:
        file = zipfile.ZipFile(io.BytesIO(data))
    except ZIP_FAULTS as error:
        raise ModelError(f"not a ZIP, or a damaged one: {error}") from None
    infos = [info for info in file.infolist() if not info.filename.endswith("/")]
    for info in infos:
        _check(info)
    if sum(info.file_size for info in infos) > limit:
        raise ModelError(
            f"the ZIP would unpack to {sum(info.file_size for info in infos):,} bytes, more than {limit:,}; {WITHIN}"
        )
    return [ArchiveMember(info.filename, info.file_size, lambda info=info: _inflated(file, info)) for info in infos]


def _check(info):
    name = info.filename
    tar.require_inside(name)
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ModelError(f"member {name!r} of the ZIP is a link or a device; expected only files")
    if info.flag_bits & 1:
        raise ModelError(f"member {name!r} of the ZIP is encrypted; expected one without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(
            f"member {name!r} of the ZIP has compression {info.compress_type}; expected 0 (stored) or 8 (deflated)"
        )


def _inflated(file, info):
    """Return the bytes of a member, no more than the ZIP's size of it; its checksum is compared."""
    try:
        with file.open(info) as stream:
            data = stream.read(info.file_size)
            stream.read(1)  # reaching the end compares the checksum
    except ZIP_FAULTS as error:
        raise ModelError(f"damaged ZIP, at {info.filename!r}: {error}") from None
    if len(data) != info.file_size:
        raise ModelError(f"damaged ZIP: {info.filename!r} has {len(data)} bytes; expected {info.file_size}")
    return data

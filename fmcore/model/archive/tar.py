"""Read the files of a tar in memory, by its POSIX layout (ustar): headers of 512 bytes, each before its data.

The standard library's reader is not used on archives of unknown origin: it loops forever at a negative size in
versions that are in use (CVE-2025-8194), and reserves the memory that a sparse member or an extended header claims.
"""

import re

from fmcore.errors import ModelError

BLOCK = 512
MAX_MEMBERS = 64
REGULAR, FOLDER, REMARKS = b"0\0007", b"5", b"xgXLK"  # types; remarks hold the name or time of the next member
KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a named pipe"}


def is_tar(data):
    """Return whether the bytes begin with the header of a tar."""
    return len(data) >= BLOCK and any(data[:BLOCK]) and _checksum(data[:BLOCK]) == _octal(data[148:156])


def files(data):
    """Return (name, view of its bytes) of each file. Raise ModelError for every defect, and for links and devices."""
    view, at, found, members = memoryview(data), 0, [], 0
    while any(header := bytes(view[at : at + BLOCK])):
        name, size, kind = _parsed(header, at)
        at += BLOCK
        if size > len(view) - at:
            raise ModelError(f"cut off: member {name!r} of the tar takes {size} bytes, but {len(view) - at} follow")
        if kind in REGULAR:
            found.append((name, view[at : at + size]))
        members += 1
        if members > MAX_MEMBERS:
            raise ModelError(f"the tar holds more than {MAX_MEMBERS} members")
        at += -(-size // BLOCK) * BLOCK
    if len(header) < BLOCK:
        raise ModelError("cut off: the tar has no end mark")
    return found


def require_inside(name):
    """Raise ModelError where a member's name leads out of the archive."""
    parts = re.split(r"[/\\]", name)
    if ".." in parts or not parts[0] or re.match(r"[A-Za-z]:", name):
        raise ModelError(f"member {name!r} has a name that leads out of the archive; the archive is refused")


def _parsed(header, at):
    """Return (name, size, type) of a header, all checked."""
    if _checksum(header) != _octal(header[148:156]):
        raise ModelError(f"damaged: the tar has no valid header at byte {at}")
    name, kind = header[:100].split(b"\0")[0].decode(errors="replace"), header[156:157]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0")[0]):
        name = f"{prefix.decode(errors='replace')}/{name}"
    require_inside(name)
    if kind not in REGULAR + FOLDER + REMARKS:
        raise ModelError(f"member {name!r} of the tar is {KINDS.get(kind, f'of type {kind!r}')}; expected only files")
    size = _size(header[124:136])
    if size is None:
        raise ModelError(f"damaged: member {name!r} of the tar has no valid size")
    return name, size, kind


def _size(field):
    """Return the value of octal digits, or where the first byte is 0x80, of 11 unsigned bytes (GNU, beyond 8 GiB)."""
    return int.from_bytes(field[1:], "big") if field[:1] == b"\x80" else _octal(field)


def _octal(field):
    found = re.fullmatch(rb"[ \0]*([0-7]+)[ \0]*", bytes(field))
    return found and int(found[1], 8)


def _checksum(header):
    """Return the sum of the header's bytes, its own field counted as blanks."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ")

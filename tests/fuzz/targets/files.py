"""What is done with a file before its format is known: decompression, detection, manifests."""

from fuzz.checks import outcome
from fuzz.places import written

from fmcore.errors import DataError, UsageError
from fmcore.io.detect import detect, enough
from fmcore.io.formats import FORMATS
from fmcore.io.sources import source as sources
from fmcore.io.sources import streams

PIECE, PIECES = 1 << 14, 1 << 8  # a small file may hold much more than is read here


def detected(data):
    """Check that the first bytes that are enough show the same format as the whole."""
    whole, _ = outcome(DataError, detect, data)
    assert whole is None or whole in FORMATS
    size = 1
    while size < len(data) and not enough(data[:size]):
        size += 1 + size // 4
    first, _ = outcome(DataError, detect, data[:size])
    assert None in {first, whole} or first == whole


def compressed(data):
    """Check that a file decompresses to the same bytes, or error, whatever the size of the reads."""
    path = str(written("data", data))
    (first, error), (second, other) = (_plain(path, size) for size in (PIECE, PIECE // 4))
    assert (error is None) == (other is None)
    assert first == second or (error and (first.startswith(second) or second.startswith(first)))


def manifest(data):
    """Check that a manifest is refused or names files."""
    path = str(written("a.manifest", data))
    found, _ = outcome((DataError, UsageError), sources.find, [path])
    assert found is None or found


def _plain(path, size):
    """Return (the first bytes, the error that ends them as a text or None)."""
    pieces = []
    stream, error = outcome(DataError, streams.open_source, sources.Source(path))
    if stream is None:
        return b"", str(error)
    with stream:
        for _ in range(PIECE * PIECES // size):
            piece, error = outcome(DataError, stream.read, size)
            if not piece:
                break
            pieces.append(piece)
    return b"".join(pieces), error and str(error)

"""Files for the readers that take a path rather than bytes."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def _folder():
    folder = tempfile.mkdtemp(prefix="fmkit-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def written(name, data):
    """Write the bytes to a new file of that name; return its path. An earlier one, perhaps mapped, is unchanged."""
    path = _folder() / name
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path

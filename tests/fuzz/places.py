"""Files for the readers that want a path rather than bytes."""

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
    """The path of a new file of that name with these bytes; an earlier one may still be mapped, and stays as it was."""
    path = _folder() / name
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path

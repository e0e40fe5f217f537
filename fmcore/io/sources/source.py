"""The inputs that the user names, as a list of sources in a stable order."""

import glob
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fmcore.errors import DataError, UsageError
from fmcore.system.apart import is_url

STDIN = "-"
REMOTE = "is on S3, which cannot be read directly; copy it to this machine first"
CUT_OFF = (
    "it ends after {:,} bytes, but had {:,} when the command began: it was cut off or replaced meanwhile; run "
    "this again on a file that does not change"
)


@dataclass(frozen=True)
class Source:
    """One stream of bytes: a file, a named pipe, or "-" for standard input.

    size: bytes of a regular file, else None.
    """

    path: str
    size: int | None = None

    @property
    def name(self):
        """Return the source's name in messages."""
        return "stdin" if self.path == STDIN else self.path

    @property
    def rereadable(self):
        """Return whether it can be opened again with the same bytes: a regular file, no alias of a descriptor."""
        return self.size is not None and not self.path.startswith(("/dev/", "/proc/"))


def find(names):
    """Return the sources that the names stand for, name after name, as a list of Source.

    A name is a file, a named pipe or another device, "-", a folder (all regular files in and below it, sorted by path;
    names that begin with "." or "_" and manifests are left out), a SageMaker manifest (*.manifest), a glob pattern (its
    matches sorted; ** stands for any depth and matches files alone), or a Source, which stands for itself. Raises
    DataError where a name leads to no file and UsageError where standard input is named twice or a name is empty.
    """
    names = [name if isinstance(name, Source) else os.fspath(name) for name in names]
    if not names:
        raise UsageError("no input is named; expected a file, a folder, a pattern, or - for standard input")
    if "" in names:
        raise UsageError("the name of an input is empty; is a variable of the shell not set?")
    if names.count(STDIN) > 1:
        raise UsageError("standard input (-) is named twice, but can be read once")
    return [source for name in names for source in _expand(name)]


def title(sources):
    """Return the name of several sources in messages: the first one's name, and how many follow."""
    return sources[0].name + (f" and the {len(sources) - 1} after it" if len(sources) > 1 else "")


def require_local(name):
    """Raise UsageError where a name is a URL."""
    if not is_url(name):
        return
    if name.lower().startswith("s3://"):
        raise UsageError(f"{name} {REMOTE}")
    if name.lower().startswith("file://"):
        raise UsageError(f"{name} is a URL, which is not read; name the file by its path")
    raise UsageError(f"{name} is a URL, which is not read; download it first, or pipe it: curl -sL URL | fm ... -")


def _expand(name):
    if isinstance(name, Source):
        return [name]
    if name == STDIN:
        return [Source(STDIN)]
    require_local(name)
    if not os.path.lexists(name) and glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if "**" in name:  # the files of a folder match as well, and must not be read twice
            matches = [match for match in matches if not Path(match).is_dir()]
        if not matches:
            raise DataError("no file matches this pattern", source=name)
        return [source for match in matches for source in _expand(match)]
    source = _source(name)
    if source is None:
        return _folder(name)
    return _manifest(name) if name.endswith(".manifest") else [source]


def _source(path, named_by=None):
    """Return the Source for a path; None where it is a folder."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        problem = "no such file" if named_by is None else f"it lists {path}, but there is no such file"
        raise DataError(problem, source=named_by or path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", source=path) from error
    if stat.S_ISDIR(status.st_mode):
        return None
    return Source(path, status.st_size if stat.S_ISREG(status.st_mode) else None)


def _folder(folder):
    def unreadable(error):
        raise DataError(f"cannot be listed: {error.strerror}", source=error.filename)

    paths = []
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        paths += [Path(parent, name) for name in files if not (_is_hidden(name) or name.endswith(".manifest"))]
    sources = [source for path in sorted(paths) if (source := _source(str(path))).size is not None]
    if not sources:
        raise DataError("the folder holds no file (names that begin with . or _ do not count)", source=folder)
    return sources


def _is_hidden(name):
    return name.startswith((".", "_"))


def _manifest(path):
    """Return the files that [{"prefix": P}, "a", "b"] lists: P + "a" and P + "b", or P/a and P/b where P is a folder.

    A relative P begins at the manifest's folder.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not a readable manifest: {error}", source=path) from error
    shape = 'expected a JSON list: first {"prefix": "..."}, then file names'
    if not (isinstance(entries, list) and entries and isinstance(entries[0], dict)):
        raise DataError(shape, source=path)
    prefix, files = entries[0].get("prefix"), entries[1:]
    if not isinstance(prefix, str) or not all(isinstance(name, str) for name in files):
        raise DataError(shape, source=path)
    if not files:
        raise DataError("the manifest lists no file", source=path)
    if prefix.startswith("s3://"):
        raise DataError(f"its prefix {prefix} {REMOTE}, and set the prefix to that folder", source=path)
    start = os.path.join(os.path.dirname(path), prefix)  # noqa: PTH118, PTH120 - a prefix may end within a name
    if os.path.isdir(start):  # noqa: PTH112 - as above
        start = os.path.join(start, "")  # noqa: PTH118 - as above
    return [_listed(start + name, path) for name in files]


def _listed(path, manifest):
    source = _source(path, named_by=manifest)
    if source is None:
        raise DataError(f"it lists {path}, which is a folder; expected a file", source=manifest)
    return source

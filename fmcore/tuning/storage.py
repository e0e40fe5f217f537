"""The storage of an optuna study: in memory, or in a checked SQLite file, with errors turned into sentences."""

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from time import sleep

from fmcore.errors import ResourceError, UsageError

NAME = "fmkit"  # of the one study in the file
PATIENCE = 15  # seconds to wait for another run that writes
TRIES = 30  # to open a study whose tables another run makes at the same time
IN_CREATION = ("already exists", "UNIQUE constraint failed", "no such table")  # the errors in that case
HEADER = b"SQLite format 3\0"
LONGEST = 1 << 24  # bytes of a value


def require(*, plots=False):
    """Raise UsageError where optuna is not installed, or where `plots` are wanted and plotly is not."""
    try:
        import optuna

        missing = "" if not plots or optuna.visualization.is_available() else "plotly, which --report needs,"
    except ImportError:
        missing = "optuna, which fm tune needs,"
    if missing:
        raise UsageError(f"{missing} is not installed; install it with: pip install 'fmkit[tune]'")


def open_study(path, **settings):
    """Return the optuna study in the file, new or as another run left it; settings: for optuna.create_study.

    path: None keeps it in memory, which takes a tenth of the time. Raises UsageError where the file cannot be a study.
    """
    if path is None:
        import optuna

        return optuna.create_study(storage=optuna.storages.InMemoryStorage(), study_name=NAME, **settings)
    _require_study_file(Path(path))
    with guarded(path):
        for _ in range(TRIES):
            if (study := _opened(path, settings)) is not None:
                return study
            sleep(0.1)
        raise UsageError(f"{path} cannot be used as a study: its tables are not complete; name another file")


@contextmanager
def guarded(path):
    """Turn errors of SQLite and optuna into a UsageError or ResourceError with a sentence."""
    import optuna
    import sqlalchemy

    try:
        yield
    except (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError, sqlite3.DatabaseError) as error:
        raise _refusal(path, error) from None


def close(study):
    """Close the file of a study, if there is one."""
    storage = study._storage  # noqa: SLF001 - optuna offers no other way
    storage.remove_session()
    backend = getattr(storage, "_backend", storage)
    if hasattr(backend, "engine"):
        backend.engine.dispose()


def _opened(path, settings):
    """Return the study, or None while another run is still making its tables."""
    import optuna
    import sqlalchemy

    try:  # `creator`, as the path may hold characters special in a URL; NullPool, so that no connection stays open
        storage = optuna.storages.RDBStorage(
            "sqlite:///study",
            engine_kwargs={"creator": lambda: _connected(path), "poolclass": sqlalchemy.pool.NullPool},
        )
        return optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True, **settings)
    except (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError) as error:
        if any(words in _reason(error) for words in IN_CREATION):
            return None
        raise
    except RuntimeError as error:  # the tables are those of another version
        raise UsageError(f"the study {path} cannot be used: {error}") from None


def _connected(path):
    """Return a connection to a file of unknown origin, in which SQL expressions of the file can do little harm."""
    connection = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    if hasattr(connection, "setlimit"):  # from Python 3.11 on
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    return connection


def _reason(error):
    """Return SQLite's message."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", error))


def _refusal(path, error):
    text = _reason(error)
    if "locked" in text:
        return UsageError(
            f"the study {path} has been locked by another program for {PATIENCE} seconds; end that program, "
            "or name another file with --study"
        )
    if "full" in text:
        return ResourceError(f"the study {path} cannot be written: {text}")
    return UsageError(f"{path} cannot be used as a study: {text}; name another file with --study")


def _require_study_file(path):
    try:
        with path.open("rb") as handle:
            head = handle.read(len(HEADER))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no folder {path.parent}") from None
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if head and head != HEADER:
        raise UsageError(f"{path} is not a study: it is not an SQLite file; name a new file or one made by fm tune")
    if not os.access(path, os.W_OK):
        raise UsageError(f"{path} cannot be written: it is write-protected")
    if head:
        with guarded(path), closing(_connected(path)) as connection:
            _require_ours(path, connection)


def _require_ours(path, connection):
    """Raise UsageError for a database of something else; one just begun has no study yet, or no table."""
    if list(connection.execute("SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index') OR rootpage = 0")):
        raise UsageError(
            f"{path} holds triggers, views or virtual tables, unlike any study of fm tune; name a new file"
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    studies = [name for (name,) in connection.execute("SELECT study_name FROM studies")] if "studies" in tables else []
    if (tables and "studies" not in tables) or (studies and NAME not in studies):
        raise UsageError(f"{path} is a database, but not a study made by fm tune; name a new file")

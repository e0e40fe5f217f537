"""Exceptions for lost workers."""

from __future__ import annotations

from fmcore.errors import FMError

LONGEST = 200  # characters of an engine's message


class Lost(Exception):  # noqa: N818 - not an error: the team handles it
    """A loss of workers, or of a message of theirs; all others have finished their call.

    why: the engine's message, a line.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class DiedError(FMError):
    """A loss of workers that ends training.

    After a checkpoint the same command can resume it, which `resumable` expresses by the exit code.
    """

    RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h

    def resumable(self, path: str) -> DiedError:
        """Return the error for the case that the file `path` holds a checkpoint of this training."""
        error = DiedError(f"{self}; {path} holds what was trained before: run the same command again with --resume")
        error.exit_code = self.RESUMABLE
        return error


def first_line(error: BaseException) -> str:
    """Return the first line of an engine's message, which may have pages; the exception's name where it is empty."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0][:LONGEST]

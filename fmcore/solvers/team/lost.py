"""Workers that are gone."""

from fmcore.errors import FMError

LONGEST = 200  # characters of what an engine says


class Lost(Exception):  # noqa: N818 - a state of affairs, which the team deals with
    """Workers have gone, or a message of theirs; all others have ended what they were asked for.

    why: what the engine says, a line.
    """

    def __init__(self, why):
        super().__init__(why)
        self.why = why


class DiedError(FMError):
    """Workers have gone for good, and training with them.

    After a checkpoint it can be gone on with by the same command, which `resumable` turns the exit code into saying.
    """

    RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h

    def resumable(self, path):
        """The same, where the file `path` holds a checkpoint of this training."""
        error = DiedError(f"{self}; {path} holds what was trained before: run the same command again with --resume")
        error.exit_code = self.RESUMABLE
        return error


def first_line(error):
    """What an engine's exception says first, which may go on for pages; its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0][:LONGEST]

"""The errors that the library raises; each class carries the exit code with which the command line ends."""

import os


class FMError(Exception):
    """Any failure whose message is meant for the user."""

    exit_code = 1


class UsageError(FMError):
    """Options that do not fit together, or a value out of its range."""

    exit_code = 2


class DataError(FMError):
    """Input that does not conform to its format.

    Parameters
    ----------
    problem: what was found and what was expected, one sentence without its place.
    source: the file's name, or "stdin".
    unit: "line" (text), "record" (recordIO) or "row" (CSV, Parquet, JSON).
    number: 1-based count of that unit, or None where the whole file is meant.
    field: the field's name or 1-based position within the unit.
    offset: byte offset of the unit's first byte in the (decompressed) stream.

    """

    exit_code = 3

    def __init__(
        self,
        problem: str,
        *,
        source: str | os.PathLike[str] | None = None,
        unit: str = "line",
        number: int | None = None,
        field: str | int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.source, self.unit, self.number = problem, source, unit, number
        self.field, self.offset = field, offset

    def moved(self, source: str | os.PathLike[str], units: int = 0, offset: int = 0) -> "DataError":
        """Place an error found inside a piece of `source`, which begins after `units` and `offset` bytes."""
        self.source = source
        if self.number is not None:
            self.number += units
        if self.offset is not None:
            self.offset += offset
        return self

    def __str__(self) -> str:
        place = [str(self.source or "input")]
        if self.number is not None:
            place.append(f"{self.unit} {self.number}")
        if self.offset is not None:
            place.append(f"byte {self.offset}")
        if self.field is not None:
            place.append(f"field {self.field}")
        return f"{', '.join(place)}: {self.problem}"


class ModelError(FMError):
    """A model file that is unreadable, damaged or does not fit the data."""

    exit_code = 4


class DivergedError(FMError):
    """Training reached numbers that are not finite; nothing is published.

    what: the problem that was found, and where. advice: what the user can try.
    """

    exit_code = 5

    LOWER = "lower the learning rates, scale the features, or set clip_gradient"

    def __init__(self, what: str, advice: str | None = None) -> None:
        super().__init__(what, advice)
        self.what, self.advice = what, advice

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}" if self.advice else self.what

    def within(self, epoch: int) -> "DivergedError":
        """Return the same error, as found in an epoch (from 1)."""
        return DivergedError(f"in epoch {epoch}, {self.what}", self.advice)


class ResourceError(FMError):
    """Out of memory, disk or another resource."""

    exit_code = 6


class StoppedError(FMError):
    """Training was asked to stop before it had trained anything."""

    exit_code = 143


class PausedError(StoppedError):
    """Training was asked to stop within an epoch, and can be resumed; nothing is published."""

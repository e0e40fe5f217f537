"""A date or time as numbers: a linear part, and where it lies in the year, the week and the day."""

import math
import re
from datetime import datetime

import numpy as np

from fmcore.schema.columns import DATE_PARTS

YEAR, WEEK, DAY = 365.2425 * 86400, 7 * 86400.0, 86400.0  # seconds
SECONDS, MILLISECONDS = 1e11, 1e14  # numbers below are seconds since 1970; below, milliseconds
ISO = re.compile(
    r"([0-9]{4})([-/]?)([0-9]{2})\2([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?: ?(?:Z|z|UTC|([-+])([01][0-9]|2[0-3]):?([0-5][0-9])?))?)?"
)
EXPECTED = "a date (2024-01-31), a time (2024-01-31 23:59:59), or seconds since 1970"


def seconds(text: str) -> float | None:
    """Return the seconds since 2000-01-01, of an ISO date, with or without time, or a Unix time; None for no date.

    Times without a zone count as UTC. A number is seconds since 1970, from 1e11 on milliseconds; 20240131 is a date.
    """
    found = ISO.fullmatch(text)
    if not found:
        return _unix(text)
    year, _, *written, fraction, sign, hours, minutes = found.groups()
    month, day, hour, minute, second = (int(part or 0) for part in written)
    try:
        when = datetime(int(year), month, day, hour, minute, second)  # noqa: DTZ001 - UTC, once the zone is subtracted
    except ValueError:
        return None
    zone = 3600 * int(hours or 0) + 60 * int(minutes or 0)
    since = (when - datetime(2000, 1, 1)).total_seconds() + float(f"0.{fraction or 0}")  # noqa: DTZ001
    return since + zone if sign == "-" else since - zone


def parts(when: np.ndarray) -> np.ndarray:
    """Return float64 (rows, parts), the numbers of DATE_PARTS, for seconds since 2000-01-01, NaN where missing.

    years: since 2000. sin, cos: of the part of the year, of the week from Saturday, of the day that has passed, times
    2 pi.
    """
    made = np.empty((len(when), len(DATE_PARTS)))
    made[:, 0] = when / YEAR
    for place, period in ((1, YEAR), (3, WEEK), (5, DAY)):
        angle = 2 * math.pi * (when % period) / period
        made[:, place], made[:, place + 1] = np.sin(angle), np.cos(angle)
    return made


def _unix(text: str) -> float | None:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    if not math.isfinite(number) or abs(number) >= MILLISECONDS:
        return None
    return (number if abs(number) < SECONDS else number / 1000) - 946684800.0

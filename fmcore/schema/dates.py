"""A date or time as numbers: a linear part, and where it lies in the year, the week and the day."""

import math
from datetime import UTC, datetime

import numpy as np

from fmcore.schema.columns import DATE_PARTS

YEAR, WEEK, DAY = 365.2425 * 86400, 7 * 86400.0, 86400.0  # seconds
SECONDS, MILLISECONDS = 1e11, 1e14  # numbers below are seconds since 1970; below, milliseconds
EXPECTED = "a date (2024-01-31), a time (2024-01-31 23:59:59), or seconds since 1970"


def seconds(text: str) -> float | None:
    """Return the seconds since 2000-01-01, of an ISO date, with or without time, or a Unix time; None for no date.

    Times without a zone count as UTC. A number is seconds since 1970, from 1e11 on milliseconds.
    """
    try:
        when = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return _unix(text)
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return (when - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()


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

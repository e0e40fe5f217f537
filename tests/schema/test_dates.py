import math
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmcore.schema.columns import DATE_PARTS
from fmcore.schema.dates import parts, seconds

DAY = 86400
ZERO = datetime(2000, 1, 1, tzinfo=timezone.utc)


def since(text):
    return (datetime.fromisoformat(text) - ZERO).total_seconds()


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2000-01-01", "2000-01-01 00:00:00+00:00"),
        ("2024-01-31", "2024-01-31 00:00:00+00:00"),
        ("2024/01/31", "2024-01-31 00:00:00+00:00"),
        ("20240131", "2024-01-31 00:00:00+00:00"),
        ("1969-12-31 23:59", "1969-12-31 23:59:00+00:00"),
        ("2024-01-31T23:59:59", "2024-01-31 23:59:59+00:00"),
        ("2024/01/31 23:59:59.125", "2024-01-31 23:59:59.125000+00:00"),
        ("2024-01-31 23:59:59Z", "2024-01-31 23:59:59+00:00"),
        ("2024-01-31 23:59:59 UTC", "2024-01-31 23:59:59+00:00"),
        ("2024-01-31T23:59:59+02:00", "2024-01-31 23:59:59+02:00"),
        ("2024-01-31T23:59:59-0430", "2024-01-31 23:59:59-04:30"),
        ("2024-01-31 23:59:59 +05", "2024-01-31 23:59:59+05:00"),
        ("1706745599", "2024-01-31 23:59:59+00:00"),
        ("1706745599.5", "2024-01-31 23:59:59.500000+00:00"),
        ("1706745599000", "2024-01-31 23:59:59+00:00"),
        ("-1", "1969-12-31 23:59:59+00:00"),
        ("0", "1970-01-01 00:00:00+00:00"),
        ("1.7067456e9", "2024-02-01 00:00:00+00:00"),
    ],
)
def test_dates_times_and_unix_seconds_are_read(text, iso):
    assert seconds(text) == since(iso)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2024-02-30",
        "2024-1-1",
        "2024-01/01",
        "31.01.2024",
        "01/31/2024",
        "24:00",
        "2024-01-31 24:00",
        "2024-01-31 23:60",
        "2024-01-31 23:59:59+25:00",
        "2024-01-31 23",
        "2024-01-31x",
        "1e14",
        "nan",
        "inf",
        "1_0",
        "\u0662\u0660\u0662\u0664-01-31",
    ],
)
def test_texts_that_are_no_date_are_refused(text):
    assert seconds(text) is None


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_every_iso_time_is_read(when):
    assert seconds(str(when)) == pytest.approx((when.replace(tzinfo=timezone.utc) - ZERO).total_seconds(), abs=1e-4)


def test_parts_are_linear_and_cyclic():
    year = 365.2425 * DAY
    when = np.array([0, 10 * year, 3.5 * DAY, 0.25 * DAY, -year, np.nan])
    made = parts(when)
    assert made.shape == (6, len(DATE_PARTS)) == (6, 7)
    np.testing.assert_allclose(made[:5, 0], [0, 10, 3.5 / 365.2425, 0.25 / 365.2425, -1])
    np.testing.assert_allclose(made[0], [0, 0, 1, 0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(made[2, 3:], [0, -1, 0, -1], atol=1e-12)  # half a week later, at noon
    np.testing.assert_allclose(made[3, 5:], [1, 0], atol=1e-12)  # six o'clock
    np.testing.assert_allclose(made[3, 1], math.sin(2 * math.pi * 0.25 / 365.2425))
    np.testing.assert_allclose(made[4, 1:3], [0, 1], atol=1e-12)
    assert np.isnan(made[5]).all()


def test_the_same_hour_of_the_week_has_the_same_parts():
    first, later = (parts(np.array([seconds(text)]))[0] for text in ("2024-01-03 07:30", "2024-01-17 07:30"))
    np.testing.assert_allclose(first[3:], later[3:], atol=1e-9)
    assert not np.allclose(first[:3], later[:3])

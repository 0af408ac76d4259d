# SPDX-License-Identifier: Apache-2.0
"""Clocks after 2037, where Arrow's own functions are an hour off in summer."""

from __future__ import annotations

import datetime
import random
import zoneinfo

import pyarrow as pa
import pytest

from sparkmodel.zones import assume_timezone, local_timestamp

UTC = datetime.timezone.utc
ZONES = ["America/New_York", "Europe/Paris", "Australia/Sydney", "Asia/Kolkata", "UTC"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ZONES)
def test_instants_and_the_clock_on_the_wall_are_as_python_has_them(zone: str, unit: str) -> None:
    rng = random.Random(1)
    first, last = (1700, 2260) if unit == "ns" else (1, 9999)
    instants = [
        datetime.datetime(rng.randrange(first + 1, last), rng.randrange(1, 13), rng.randrange(1, 29), 12, tzinfo=UTC)
        for _ in range(200)
    ]
    instants += [
        datetime.datetime(year, month, 15, tzinfo=UTC) for year in (2036, 2037, 2038, 2050) for month in (1, 7)
    ]
    walls = [at.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None) for at in instants]
    given = pa.array([*instants, None], pa.timestamp(unit, zone))
    assert local_timestamp(given).to_pylist() == [*walls, None]
    back = assume_timezone(pa.array([*walls, None], pa.timestamp(unit)), zone)
    assert back.type == pa.timestamp(unit, zone)
    assert back.cast(pa.timestamp(unit, "UTC")).to_pylist() == [*instants, None]


@pytest.mark.parametrize("year", [2030, 2050])
def test_an_hour_that_comes_twice_is_the_second_and_one_that_never_comes_is_moved_on(year: int) -> None:
    zone = zoneinfo.ZoneInfo("America/New_York")
    first = datetime.datetime(year, 11, 1)
    november = first + datetime.timedelta(days=6 - first.weekday(), hours=1, minutes=30)
    march = datetime.datetime(year, 3, 8)
    march += datetime.timedelta(days=6 - march.weekday(), hours=2, minutes=30)
    twice, never = assume_timezone(pa.array([november, march], pa.timestamp("us")), zone.key).to_pylist()
    assert (twice.utcoffset(), twice.replace(tzinfo=None)) == (datetime.timedelta(hours=-5), november)
    assert never.replace(tzinfo=None) in (march + datetime.timedelta(minutes=30), march + datetime.timedelta(hours=1))


def test_digits_below_a_microsecond_and_days_beyond_pythons_stay() -> None:
    late = pa.array([2_500_000_000 * 10**9 + 1], pa.timestamp("ns", "Europe/Paris"))
    assert local_timestamp(late).cast(pa.int64()).to_pylist() == [(2_500_000_000 + 3600) * 10**9 + 1]
    last = pa.array([253_402_300_800 * 10**6], pa.timestamp("us", "Europe/Paris"))  # the year 10000
    assert local_timestamp(last).cast(pa.int64()).to_pylist() == [(253_402_300_800 + 3600) * 10**6]

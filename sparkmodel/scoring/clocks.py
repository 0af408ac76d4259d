# SPDX-License-Identifier: Apache-2.0
"""Dates, instants, and what the clock on the wall of the session's time zone showed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute

from sparkmodel.zones import assume_timezone, local_timestamp


def date_to_timestamp(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """Midnight on the wall clock."""
    return between_clocks(array.cast(pa.timestamp(type_.unit)), type_, time_zone)


def timestamp_to_date(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """The day on the wall clock, if it is midnight there: else the time of day would be lost."""
    clock = _on_wall(array, time_zone)
    days = pa.compute.floor_temporal(clock, unit="day")
    if not pa.compute.all(pa.compute.equal(days, clock)).as_py():
        raise ValueError("a DATE would lose its time of day")
    return days.cast(type_)


def between_clocks(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """From instants to what the clock on the wall showed, and back, as Spark and pandas do it."""
    if array.type.tz and not type_.tz:
        array = _on_wall(array, time_zone)
    elif type_.tz and not array.type.tz:
        array = assume_timezone(array, time_zone or "UTC")
    return array.cast(type_)


def _on_wall(array: pa.Array, time_zone: str | None) -> pa.Array:
    if not array.type.tz:
        return array
    if time_zone:
        array = array.cast(pa.timestamp(array.type.unit, time_zone))
    return local_timestamp(array)

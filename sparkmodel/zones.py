# SPDX-License-Identifier: Apache-2.0
"""Instants and what the clock on the wall shows, also in the years of which Arrow does not know summer from winter.

Arrow reads the changes of a zone's clock that its file lists, which end in 2037, and not the rule for those after them
(apache/arrow#36110): from 2038 on it would be an hour off for half of the year. Python and Java know the rule.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute

_UTC = datetime.timezone.utc
_LISTED = int(datetime.datetime(2038, 1, 1, tzinfo=_UTC).timestamp())
_LAST = int(datetime.datetime(9999, 12, 30, tzinfo=_UTC).timestamp())  # the end of Python's years, in any zone
_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def local_timestamp(array: pa.Array) -> pa.Array:
    """What the clock shows in the zone of an array of instants."""
    clock = pa.compute.local_timestamp(array)
    zone = array.type.tz
    return _with_late(array, clock, lambda at: _offset_s(at.astimezone(_zone(zone))))


def assume_timezone(array: pa.Array, zone: str) -> pa.Array:
    """The instants at which the clock of a zone shows these times.

    An hour that comes twice is taken the second time, as PySpark does; one that never comes is moved on.
    """
    instants = pa.compute.assume_timezone(array, zone, ambiguous="latest", nonexistent="latest")

    def behind_s(at: datetime.datetime) -> int:
        at = at.replace(tzinfo=_zone(zone))
        return -min(_offset_s(at.replace(fold=fold)) for fold in (0, 1))

    return _with_late(array, instants, behind_s)


def _with_late(given: pa.Array, found: pa.Array, seconds: Callable[[datetime.datetime], int]) -> pa.Array:
    """What Arrow has found, but for times after 2037 those that are given and so many seconds more."""
    per_s = _PER_S[given.type.unit]
    numbers = given.cast(pa.int64())
    late = pa.compute.and_(
        pa.compute.greater_equal(numbers, _LISTED * per_s),
        pa.compute.less(numbers, min(_LAST * per_s, 2**63 - 1)),
    ).fill_null(False)
    if not late.true_count:
        return found
    moved = [
        number + per_s * seconds(datetime.datetime.fromtimestamp(number // per_s, _UTC))
        for number in numbers.filter(late).to_pylist()
    ]
    return pa.compute.replace_with_mask(found, late, pa.array(moved, pa.int64()).cast(found.type))


def _zone(name: str) -> datetime.tzinfo | None:
    zone: datetime.tzinfo | None = pa.scalar(0, pa.timestamp("s", name)).as_py().tzinfo
    return zone


def _offset_s(at: datetime.datetime) -> int:
    return round((at.utcoffset() or datetime.timedelta()).total_seconds())

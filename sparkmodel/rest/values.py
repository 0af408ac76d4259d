# SPDX-License-Identifier: Apache-2.0
"""Predictions as values that JSON has, in the shape that MLflow's scoring server gives them."""

from __future__ import annotations

import base64
import datetime
import decimal
import functools
import json
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparkmodel.schema import is_list
from sparkmodel.zones import local_timestamp

Reader = Callable[[Any], Any]


def ready(values: pa.ChunkedArray, time_zone: str = "UTC") -> list[Any]:
    """One JSON value for each row; NaN and the infinities stay, which orjson writes as null.

    A struct is an object, also a map is; bytes are base64 with its line ends, times and dates ISO 8601, decimals text.

    Args:
        values: The predictions.
        time_zone: In which instants are shown, as the clock on the wall there.
    """
    given = values.to_pylist()
    read = _reader(values.type, time_zone)
    return given if read is None else [None if value is None else read(value) for value in given]


def dumps(value: Any, nan: str = "null") -> bytes:
    """JSON as Python writes it, byte for byte as MLflow's server does.

    Args:
        value: Of what `ready` gives.
        nan: `null`, or `literal` for NaN and Infinity, which are no JSON.
    """
    if nan == "literal":
        return json.dumps(value).encode()
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_without_nan(value)).encode()


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    return value


@functools.lru_cache(maxsize=256)
def _reader(type_: pa.DataType, time_zone: str) -> Reader | None:
    """What makes JSON's value of Python's; None where they are the same."""
    if is_list(type_):
        inner = _reader(type_.value_type, time_zone)
        return inner and (lambda value: [None if one is None else inner(one) for one in value])
    if pa.types.is_map(type_):
        item = _reader(type_.item_type, time_zone) or _same
        return lambda value: {_key(key): None if one is None else item(one) for key, one in value}
    if pa.types.is_struct(type_):
        readers = {field.name: _reader(field.type, time_zone) for field in type_}
        changed = {name: read for name, read in readers.items() if read is not None}
        return functools.partial(_record, changed) if changed else None
    if pa.types.is_timestamp(type_) and type_.tz:
        return functools.partial(_wall_clock, time_zone)
    return next((read for holds, read in _LEAVES if holds(type_)), None)


def _record(readers: dict[str, Reader], value: dict[str, Any]) -> dict[str, Any]:
    return {name: readers[name](one) if one is not None and name in readers else one for name, one in value.items()}


def _wall_clock(time_zone: str, value: datetime.datetime) -> str:
    shown = pa.array([value], pa.timestamp("us", time_zone))
    return str(local_timestamp(shown)[0].as_py().isoformat())


def _same(value: Any) -> Any:
    return value


def _key(key: Any) -> Any:
    return key if isinstance(key, str | int | float | bool) else str(key)


def _base64(value: bytes) -> str:
    return base64.encodebytes(value).decode("ascii")


def _iso(value: datetime.date | datetime.datetime | datetime.time) -> str:
    return value.isoformat()


_LEAVES: tuple[tuple[Callable[[pa.DataType], bool], Reader], ...] = (
    (pa.types.is_binary, _base64),
    (pa.types.is_large_binary, _base64),
    (pa.types.is_fixed_size_binary, _base64),
    (pa.types.is_timestamp, _iso),
    (pa.types.is_date, _iso),
    (pa.types.is_time, _iso),
    (pa.types.is_decimal, lambda value: format(value, "f") if isinstance(value, decimal.Decimal) else str(value)),
    (pa.types.is_duration, lambda value: value.total_seconds()),
)

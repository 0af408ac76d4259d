# SPDX-License-Identifier: Apache-2.0
"""Inference parameters as JSON, and back: what JSON has no form for is an object that says what it is.

`{"$type": "datetime", "value": "2020-01-01T22:00:00-05:00"}`; likewise `date`, `duration` (whole microseconds),
`decimal` and `bytes` (base64). The JVM writes the same.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Callable, Mapping
from typing import Any

_TYPE, _VALUE = "$type", "value"
_MICROSECOND = datetime.timedelta(microseconds=1)

# a datetime is a date, so it comes first
_WRITERS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime.datetime, "datetime", lambda value: value.isoformat()),
    (datetime.date, "date", lambda value: value.isoformat()),
    (datetime.timedelta, "duration", lambda value: value // _MICROSECOND),
    (decimal.Decimal, "decimal", str),
    (bytes, "bytes", lambda value: base64.b64encode(value).decode("ascii")),
    (bytearray, "bytes", lambda value: base64.b64encode(value).decode("ascii")),
)

_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "duration": lambda value: value * _MICROSECOND,
    "decimal": decimal.Decimal,
    "bytes": base64.b64decode,
}


def to_text(params: Mapping[str, Any] | None) -> str:
    """The parameters as a JSON object; empty without any.

    Raises:
        TypeError: a value that no model could be sent.
    """
    return json.dumps(dict(params), default=_plain, sort_keys=True) if params else ""


def from_json(value: Any) -> Any:
    """The parameters that were written, from parsed JSON.

    Raises:
        ValueError: a value is not what it says it is.
    """
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TYPE, _VALUE}:
        if value[_TYPE] not in _READERS:
            raise ValueError(f"'{value[_TYPE]}' is no type of a param")
        return _READERS[value[_TYPE]](value[_VALUE])
    return {key: from_json(one) for key, one in value.items()}


def _plain(value: Any) -> Any:
    """What JSON cannot hold, in a form that it can; NumPy's scalars and arrays are Python's."""
    nanosecond = getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0)
    if isinstance(nanosecond, int) and nanosecond:  # pandas' times, which are Python's with a part more
        raise TypeError(f"{value} has nanoseconds, which params cannot have")
    for kind, name, write in _WRITERS:
        if isinstance(value, kind) and value == value:  # pandas' NaT is a datetime
            return {_TYPE: name, _VALUE: write(value)}
    if hasattr(value, "tolist"):
        return _of_numpy(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent as a param")


def _of_numpy(value: Any) -> Any:
    plain = value.tolist()
    if getattr(getattr(value, "dtype", None), "kind", "") in "mM":
        micros = value.astype(f"{value.dtype.kind}8[us]")
        if (micros != value).any():
            raise TypeError(f"{value} has no whole microseconds")
        return micros.tolist()
    return plain

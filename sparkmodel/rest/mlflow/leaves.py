# SPDX-License-Identifier: Apache-2.0
"""JSON values as Arrow arrays of the types that a signature names; what JSON has no values for comes as text.

Bytes are base64, times and dates ISO 8601, decimals text or numbers. Nothing is lost on the way: what does not fit is
an error.
"""

from __future__ import annotations

import array
import base64
import binascii
import datetime
import decimal
import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list
from sparkmodel.scoring.values import from_values
from sparkmodel.zones import assume_timezone, local_timestamp

_DOUBLE, _FLOATS = pa.float64(), {float}

# what JSON's own values become without a look at each of them
_DIRECT: dict[int, frozenset[type]] = {
    pa.float64().id: frozenset({float, type(None)}),
    pa.int64().id: frozenset({int, type(None)}),
    pa.int32().id: frozenset({int, type(None)}),
    pa.bool_().id: frozenset({bool, type(None)}),
    pa.string().id: frozenset({str, type(None)}),
}


def array_of(values: list[Any], type_: pa.DataType, time_zone: str) -> pa.Array:
    """One JSON value for each row, as `type_`.

    Args:
        values: As JSON has them.
        type_: What the signature names.
        time_zone: In whose wall clock a time with an offset is seen, as an instant is in SQL.

    Raises:
        ValueError: a value does not fit (Arrow's own errors are ValueErrors or TypeErrors too).
    """
    types = set(map(type, values))
    direct = _DIRECT.get(type_.id)
    if direct is not None and types <= direct:
        return pa.array(values, type_)
    if pa.types.is_timestamp(type_):
        return _times(values, type_, time_zone)
    type_ = _without_gaps(values, type_)
    reader = _reader(type_)
    if reader is not None:
        values = [None if value is None else reader(value) for value in values]
    return from_values(values, type_, time_zone)


def doubles_of(columns: Sequence[list[Any]]) -> list[pa.Array] | None:
    """Columns of doubles, made at once in a third of the time; None if a value is none, such as a whole number."""
    if any(set(map(type, values)) != _FLOATS for values in columns):
        return None
    rows = len(columns[0])
    block = pa.py_buffer(array.array("d", itertools.chain.from_iterable(columns)).tobytes())
    size = rows * 8
    return [pa.Array.from_buffers(_DOUBLE, rows, [None, block.slice(i * size, size)], 0) for i in range(len(columns))]


def _without_gaps(values: list[Any], type_: pa.DataType) -> pa.DataType:
    """The type without those fields of objects that may be left out and are, in all rows."""
    if pa.types.is_list(type_) and pa.types.is_nested(type_.value_type):
        inner = [one for value in values if isinstance(value, list) for one in value]
        return pa.list_(_without_gaps(inner, type_.value_type))
    if not pa.types.is_struct(type_):
        return type_
    rows = [value for value in values if isinstance(value, dict)]
    there = set().union(*rows)
    return pa.struct(
        [
            field.with_type(_without_gaps([row.get(field.name) for row in rows], field.type))
            for field in type_
            if field.name in there or not field.nullable
        ]
    )


@functools.lru_cache(maxsize=256)
def _reader(type_: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes Python's value of JSON's; None where they are the same.

    Values that have another shape than the type are left as they are, for `from_values` to tell.
    """
    if is_list(type_):
        inner = _reader(type_.value_type)
        return inner and (lambda value: [_or_none(inner, v) for v in value] if isinstance(value, list) else value)
    if pa.types.is_map(type_):
        item = _reader(type_.item_type)
        return item and (
            lambda value: {k: _or_none(item, v) for k, v in value.items()} if isinstance(value, dict) else value
        )
    if pa.types.is_struct(type_):
        return functools.partial(
            _record,
            {field.name: _reader(field.type) for field in type_},
            frozenset(field.name for field in type_ if field.nullable),
        )
    if pa.types.is_string(type_):
        return _text
    return next((read for holds, read in _LEAVES if holds(type_)), None)


def _record(readers: dict[str, Callable[[Any], Any] | None], optional: frozenset[str], value: Any) -> Any:
    """An object with all fields of its type: of those that may be NULL some may be left out."""
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is no object")
    unknown = [key for key in value if key not in readers]
    missing = [name for name in readers if name not in value and name not in optional]
    if unknown or missing:
        raise ValueError(
            f"an object has the unknown fields {unknown}" if unknown else f"an object has no fields {missing}"
        )
    return {
        name: _or_none(read, value.get(name)) if read is not None else value.get(name) for name, read in readers.items()
    }


def _or_none(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is no text")
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode("".join(_text(value).split()), validate=True)  # MLflow's has line ends
    except binascii.Error as error:
        raise ValueError(f"{_shown(value)} is not base64: {error}") from error


def _date(value: Any) -> datetime.date:
    at = datetime.datetime.fromisoformat(_text(value))
    if at.time() != datetime.time():
        raise ValueError(f"{_shown(value)} has a time of day, which a date would lose")
    return at.date()


def _number(value: Any) -> Any:
    """A decimal's text; floats are taken as they are written, if they keep all digits that may have been written."""
    if isinstance(value, float) and len(decimal.Decimal(repr(value)).as_tuple().digits) > sys.float_info.dig:
        raise ValueError(f"{value!r} may have had more digits than a number keeps: send a decimal as text")
    try:
        return decimal.Decimal(value) if isinstance(value, str) else value
    except decimal.InvalidOperation as error:
        raise ValueError(f"{_shown(value)} is no decimal") from error


def _whole(value: Any) -> Any:
    """A number for a column of whole ones; from 2^53 on, one that is written with a fraction may have lost digits."""
    if isinstance(value, float) and not -(2**53) < value < 2**53:
        raise ValueError(f"{_shown(value)} is no whole number that is exact: write it without a fraction")
    return value


_LEAVES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]], ...] = (
    (pa.types.is_integer, _whole),
    (pa.types.is_binary, _bytes),
    (pa.types.is_large_binary, _bytes),
    (pa.types.is_date, _date),
    (pa.types.is_timestamp, lambda value: datetime.datetime.fromisoformat(_text(value))),  # inside of objects
    (pa.types.is_time, lambda value: datetime.time.fromisoformat(_text(value))),
    (pa.types.is_decimal, _number),
)


def _times(values: list[Any], type_: pa.DataType, time_zone: str) -> pa.Array:
    """Times by the clock on the wall, with all nine digits of their seconds."""
    texts = pa.array([None if value is None else _text(value) for value in values], pa.string())
    zone = type_.tz or time_zone
    made = [_in_unit(texts, unit, zone) for unit in (type_.unit, "us")]  # with nanoseconds there is no year 9999
    found = next((array for array in made if array is not None), None)
    if found is None:
        raise ValueError("not all are times in ISO 8601, such as 2026-01-31T12:00:00")
    return assume_timezone(found, type_.tz) if type_.tz else found


def _in_unit(texts: pa.Array, unit: str, zone: str) -> pa.Array | None:
    try:
        return texts.cast(pa.timestamp(unit))
    except pa.ArrowInvalid:
        pass  # some have an offset
    has_offset = pa.compute.match_substring_regex(texts, r"T.*(Z|[+-]\d\d:?\d\d)$")
    try:
        plain = pa.compute.if_else(has_offset, None, texts).cast(pa.timestamp(unit))
        instants = pa.compute.if_else(has_offset, texts, None).cast(pa.timestamp(unit, zone))
    except pa.ArrowInvalid:
        return None
    return pa.compute.coalesce(plain, local_timestamp(instants))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."

# SPDX-License-Identifier: Apache-2.0
"""What each kind of Python value is in Arrow, before a cast to the declared type.

Values of several kinds in one column are cast kind by kind and put together again, so what becomes of a value never
depends on the rows beside it.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.scoring.casts import cast
from sparkmodel.scoring.dtypes import as_numpy, from_dtype

_MISSING = (type(None), type(pd.NA), type(pd.NaT), type(np.ma.masked))


class _Kind(NamedTuple):
    """How values of a Python type become an array, and what splits those that cannot be in one."""

    make: Callable[[list[Any], pa.DataType], pa.Array]
    split: Callable[[Any], Hashable] | None = None


def is_missing(value: Any) -> bool:
    """Whether a model means nothing by it: None, NA, NaT, NaN."""
    if isinstance(value, _MISSING):
        return True
    if isinstance(value, float | np.floating | decimal.Decimal):
        return bool(value != value)
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))


def from_leaves(values: list[Any], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """Values that are no lists, dicts or objects of several parts, as `type_`.

    Raises:
        ValueError: a value does not fit the type without loss, or is of no known kind.
    """
    types: set[type] = set(map(type, values))
    if any(_kind_of(one) is None for one in types if not issubclass(one, _MISSING)):
        values = [_single(value) for value in values]
        types = set(map(type, values))
    kinds = {one: kind for one in types if not issubclass(one, _MISSING) and (kind := _kind_of(one)) is not None}
    if not kinds:
        return pa.nulls(len(values), type_)
    if any(one in types for one in _MISSING[1:]):
        values = [None if isinstance(value, _MISSING) else value for value in values]
    first = next(iter(kinds.values()))
    if first.split is None and all(kind is first for kind in kinds.values()):
        return cast(first.make(values, type_), type_, time_zone)
    return _by_kind(values, kinds, type_, time_zone)


def _by_kind(values: list[Any], kinds: dict[type, _Kind], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    groups: dict[tuple[_Kind, Hashable], list[int]] = {}
    gaps: list[int] = []
    for i, value in enumerate(values):
        if value is None:
            gaps.append(i)
        else:
            kind = kinds[type(value)]
            groups.setdefault((kind, kind.split(value) if kind.split else None), []).append(i)
    parts, order = [pa.nulls(len(gaps), type_)], list(gaps)
    for (kind, _), places in groups.items():
        parts.append(cast(kind.make([values[i] for i in places], type_), type_, time_zone))
        order += places
    return pa.concat_arrays(parts).take(pa.array(np.argsort(order)))


def _kind_of(type_: type) -> _Kind | None:
    return next((_KINDS[base] for base in type_.__mro__ if base in _KINDS), None)


def _single(value: Any) -> Any:
    """The one value of an array or tensor that has but one, or of an Arrow scalar."""
    if isinstance(value, _MISSING) or _kind_of(type(value)) is not None:
        return value
    if isinstance(value, pa.Scalar):
        return value.as_py()
    array = as_numpy(value)
    if array is not None and array.shape in ((), (1,)):
        value = array.reshape(-1)[0]
    if isinstance(value, _MISSING) or _kind_of(type(value)) is not None:
        return value
    raise ValueError(f"it is a {type(value).__name__}")


def _as(arrow_type: pa.DataType | None) -> _Kind:
    return _Kind(lambda values, type_: pa.array(values, arrow_type))


def _integers(values: list[Any], type_: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid):
        return pa.array([None if v is None else decimal.Decimal(int(v)) for v in values], pa.decimal256(76, 0))


def _decimals(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Decimals of one scale: a text of them would have the most digits of all else."""
    if values[0].is_infinite():
        raise ValueError("it is infinite")
    return pa.array([None if value.is_nan() else value for value in values])


def _numpy(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Numpy's scalars of one dtype."""
    return from_dtype(np.array(values, values[0].dtype), type_)


def _moments(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Python's datetimes, all with or all without a zone."""
    return pa.array(values, pa.timestamp("us", "UTC" if values[0].tzinfo else None))


def _stamps(values: list[Any], type_: pa.DataType) -> pa.Array:
    """The same of pandas, in one unit; Arrow would cut the nanoseconds."""
    made = pa.array(np.array([value.asm8 for value in values]))
    is_instant = getattr(values[0], "tzinfo", None) is not None
    return made.cast(pa.timestamp(made.type.unit, "UTC")) if is_instant else made


_BOOLEANS, _INTEGERS, _BYTES = _as(pa.bool_()), _Kind(_integers), _as(pa.large_binary())
_SCALARS = _Kind(_numpy, lambda value: value.dtype)

# the first of a type's own line of classes counts: numpy has its timedelta64 among the integers, its float64 among
# Python's floats
_KINDS: dict[type, _Kind] = {
    bool: _BOOLEANS,
    int: _INTEGERS,
    float: _as(pa.float64()),
    str: _as(pa.large_string()),
    bytes: _BYTES,
    bytearray: _BYTES,
    memoryview: _Kind(lambda values, type_: pa.array([v if v is None else bytes(v) for v in values])),
    decimal.Decimal: _Kind(_decimals, lambda value: value.as_tuple().exponent),
    datetime.date: _as(pa.date32()),
    datetime.datetime: _Kind(_moments, lambda value: value.tzinfo is None),
    datetime.time: _as(pa.time64("us")),
    datetime.timedelta: _as(pa.duration("us")),
    pd.Timestamp: _Kind(_stamps, lambda value: (value.tzinfo is None, value.unit)),
    pd.Timedelta: _Kind(_stamps, lambda value: value.unit),
    np.bool_: _BOOLEANS,
    np.integer: _INTEGERS,
    np.float32: _as(pa.float32()),
    np.float16: _SCALARS,
    np.longdouble: _SCALARS,
    np.datetime64: _SCALARS,
    np.timedelta64: _SCALARS,
}

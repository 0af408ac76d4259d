# SPDX-License-Identifier: Apache-2.0
"""Arrays of instants in a frame: ndarrays of NumPy's know no zone, and would show the clock of UTC."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from sparkmodel.loaders.batch_inputs import objects
from sparkmodel.schema import is_list


def has_zoned_lists(type_: pa.DataType) -> bool:
    """Whether there are lists of instants in a type, at any depth."""
    if is_list(type_):
        return _is_instant(type_.value_type) or has_zoned_lists(type_.value_type)
    if pa.types.is_map(type_):
        return has_zoned_lists(type_.item_type)
    return pa.types.is_struct(type_) and any(has_zoned_lists(field.type) for field in type_)


def zoned_lists(column: pa.ChunkedArray) -> pd.Series:
    """A column with such lists as Arrow would convert it, but for instants: arrays of `pd.Timestamp` in their zone."""
    return pd.Series(objects([_seen(value, column.type) for value in column.to_pylist()]))


def _seen(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if is_list(type_) and _is_instant(type_.value_type):
        return objects([None if one is None else pd.Timestamp(one) for one in value])
    if not has_zoned_lists(type_):
        return pa.array([value], type_).to_pandas(integer_object_nulls=True, maps_as_pydicts="strict")[0]
    if is_list(type_):
        return objects([_seen(one, type_.value_type) for one in value])
    if pa.types.is_map(type_):
        return {key: _seen(one, type_.item_type) for key, one in value}
    return {field.name: _seen(value[field.name], field.type) for field in type_}


def _is_instant(type_: pa.DataType) -> bool:
    return pa.types.is_timestamp(type_) and type_.tz is not None

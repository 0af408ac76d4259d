# SPDX-License-Identifier: Apache-2.0
"""Instants as what the clock on the wall shows, at every depth of a column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list
from sparkmodel.zones import local_timestamp


def wall_clock(array: pa.Array, *, in_object: bool = False) -> pa.Array:
    """The column with each timestamp in it as what the clock shows in the timestamp's own zone.

    In nanoseconds, which is pandas' and PySpark's unit, where all of them are within its years (1677 to 2262); but not
    in objects: there Arrow would make whole numbers of them.

    Args:
        array: The column.
        in_object: Whether it is a part of structs or maps.
    """
    type_ = array.type
    if pa.types.is_timestamp(type_):
        clock = local_timestamp(array) if type_.tz is not None else array
        return clock.cast(pa.timestamp("us")) if in_object else _in_nanoseconds(clock)
    if not has_timestamp(type_):
        return array
    if is_list(type_):
        values = wall_clock(array.flatten(), in_object=in_object)  # flatten leaves out what NULLs and slices hide
        return pa.ListArray.from_arrays(_offsets(pa.compute.list_value_length(array)), values, mask=array.is_null())
    if pa.types.is_struct(type_):
        parts = [wall_clock(part, in_object=True) for part in array.flatten()]
        names = [field.name for field in type_]
        return pa.StructArray.from_arrays(parts, names=names, mask=array.is_null())
    entries = array.cast(pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)])))
    keys, items = (wall_clock(part, in_object=True) for part in entries.flatten().flatten())
    offsets = _offsets(pa.compute.list_value_length(entries))
    return pa.MapArray.from_arrays(offsets, keys, items, mask=array.is_null())


def has_timestamp(type_: pa.DataType) -> bool:
    """Whether there are timestamps in a type, at any depth."""
    if is_list(type_):
        return has_timestamp(type_.value_type)
    if pa.types.is_map(type_):
        return has_timestamp(type_.key_type) or has_timestamp(type_.item_type)
    if pa.types.is_struct(type_):
        return any(has_timestamp(field.type) for field in type_)
    return bool(pa.types.is_timestamp(type_))


def _in_nanoseconds(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return array


def _offsets(lengths: pa.Array) -> pa.Array:
    ends = pa.compute.cumulative_sum(pa.compute.fill_null(lengths, 0).cast(pa.int64()))
    return pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())

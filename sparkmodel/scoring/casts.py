# SPDX-License-Identifier: Apache-2.0
"""Casts of a model's results that lose nothing: stricter than Arrow's, and the same at every depth."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list, is_number


def cast(array: pa.Array, type_: pa.DataType, time_zone: str = "UTC") -> pa.Array:
    """The array as `type_`.

    Args:
        array: What a model gave, or a column for it.
        type_: The Arrow type that is wanted.
        time_zone: Whose wall clock a timestamp without a zone shows, where an instant is wanted.

    Raises:
        ValueError: a value does not fit (Arrow's own errors are ValueErrors or TypeErrors too).
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type == type_:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), type_)
    if pa.types.is_struct(type_) and pa.types.is_struct(array.type):
        return _cast_struct(array, type_, time_zone)
    if is_list(type_) and is_list(array.type):
        return _cast_list(array, type_, time_zone)
    if pa.types.is_map(type_) and pa.types.is_map(array.type):
        return _cast_map(array, type_, time_zone)
    _check(array, type_)
    if pa.types.is_decimal(type_) and pa.types.is_integer(array.type):
        # Arrow wants room for every value that the integers could have
        array = array.cast(pa.decimal256(76, type_.scale))
    if pa.types.is_timestamp(type_) and pa.types.is_timestamp(array.type):
        array = _between_clocks(array, type_, time_zone)
    result = array.cast(type_)
    _check_overflow(array, result)
    return result


def _between_clocks(array: pa.Array, type_: pa.DataType, time_zone: str) -> pa.Array:
    """From instants to what the clock on the wall showed, and back, as Spark and pandas do it."""
    if array.type.tz and not type_.tz:
        return pa.compute.local_timestamp(array)
    if type_.tz and not array.type.tz:
        # an hour that comes twice is taken the second time, as PySpark does; one that never comes is moved on
        return pa.compute.assume_timezone(array, time_zone, ambiguous="latest", nonexistent="latest")
    return array


def _cast_struct(array: pa.Array, type_: pa.DataType, time_zone: str) -> pa.Array:
    given = {field.name: part for field, part in zip(array.type, array.flatten(), strict=True)}
    missing = [field.name for field in type_ if field.name not in given]
    if missing:  # Arrow would make NULLs of them
        raise ValueError(f"fields {list(given)} have no {missing}")
    parts = [cast(given[field.name], field.type, time_zone) for field in type_]
    return pa.StructArray.from_arrays(parts, fields=list(type_), mask=array.is_null())


def _cast_list(array: pa.Array, type_: pa.DataType, time_zone: str) -> pa.Array:
    """Cast the values and put the lists together again."""
    lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0)
    values = cast(array.flatten(), type_.value_type, time_zone)  # flatten leaves out what NULLs and slices hide
    lists = pa.ListArray.from_arrays(_offsets(lengths), values, mask=array.is_null())
    return lists if lists.type == type_ else lists.cast(type_)


def _cast_map(array: pa.Array, type_: pa.DataType, time_zone: str) -> pa.Array:
    entries = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    keys, items = entries.flatten().flatten()
    lengths = pa.compute.fill_null(pa.compute.list_value_length(entries), 0)
    keys = cast(keys, type_.key_type, time_zone)
    if keys.null_count:
        raise ValueError("a map has a NULL key")
    items = cast(items, type_.item_type, time_zone)
    maps = pa.MapArray.from_arrays(_offsets(lengths), keys, items, mask=array.is_null())
    return maps if maps.type == type_ else maps.cast(type_)


def _offsets(lengths: pa.Array) -> pa.Array:
    ends = pa.compute.cumulative_sum(lengths.cast(pa.int64()))
    return pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())


def _check(array: pa.Array, type_: pa.DataType) -> None:
    given = array.type
    if pa.types.is_boolean(type_) and is_number(given):
        values = array.drop_null().unique().to_pylist()
        if not set(values) <= {0, 1}:  # Arrow takes any number but 0 for true
            raise ValueError(f"{values[:5]} are not all 0 or 1")
    is_text = pa.types.is_string(given) or pa.types.is_large_string(given)
    wants_text = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_binary(type_)
    if is_text and not wants_text:  # Arrow would parse it
        raise ValueError("it is text")
    if pa.types.is_temporal(given) and not (pa.types.is_temporal(type_) or wants_text):
        raise ValueError(f"it is {given}")
    if pa.types.is_temporal(type_) and is_number(given):  # Arrow would count them from 1970
        raise ValueError(f"it is {given}")


def _check_overflow(array: pa.Array, result: pa.Array) -> None:
    if pa.types.is_floating(result.type) and pa.types.is_floating(array.type):
        lost = pa.compute.and_(pa.compute.is_inf(result), pa.compute.is_finite(array))
        if pa.compute.any(lost).as_py():
            raise ValueError(f"a value is out of range for {result.type}")

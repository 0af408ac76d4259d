# SPDX-License-Identifier: Apache-2.0
"""Casts of a model's results that lose nothing: stricter than Arrow's, and the same at every depth."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list, is_number


def cast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """The array as `type_`.

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
        return _cast_struct(array, type_)
    if is_list(type_) and is_list(array.type):
        return _cast_list(array, type_)
    _check(array, type_)
    result = array.cast(type_)
    _check_overflow(array, result)
    return result


def _cast_struct(array: pa.Array, type_: pa.DataType) -> pa.Array:
    given = {field.name: part for field, part in zip(array.type, array.flatten(), strict=True)}
    missing = [field.name for field in type_ if field.name not in given]
    if missing:  # Arrow would make NULLs of them
        raise ValueError(f"fields {list(given)} have no {missing}")
    parts = [cast(given[field.name], field.type) for field in type_]
    return pa.StructArray.from_arrays(parts, fields=list(type_), mask=array.is_null())


def _cast_list(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Cast the values and put the lists together again."""
    lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0)
    ends = pa.compute.cumulative_sum(lengths.cast(pa.int64()))
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())
    values = cast(array.flatten(), type_.value_type)  # flatten leaves out what NULLs and slices hide
    lists = pa.ListArray.from_arrays(offsets, values, mask=array.is_null())
    return lists if lists.type == type_ else lists.cast(type_)


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


def _check_overflow(array: pa.Array, result: pa.Array) -> None:
    if pa.types.is_floating(result.type) and pa.types.is_floating(array.type):
        lost = pa.compute.and_(pa.compute.is_inf(result), pa.compute.is_finite(array))
        if pa.compute.any(lost).as_py():
            raise ValueError(f"a value is out of range for {result.type}")

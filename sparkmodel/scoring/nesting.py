# SPDX-License-Identifier: Apache-2.0
"""Structs, lists and maps out of their parts."""

from __future__ import annotations

import functools

import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list


def make_struct(parts: list[pa.Array], type_: pa.StructType, missing: pa.Array) -> pa.StructArray:
    """Put fields together; `missing` is true for rows that are NULL as a whole.

    Raises:
        ValueError: a field that is NOT NULL is NULL in a row that is not.
    """
    for field, part in zip(type_, parts, strict=True):
        if not field.nullable and part.null_count:
            gaps = pa.compute.and_(part.is_null(), pa.compute.invert(missing))
            if pa.compute.any(gaps).as_py():
                raise ValueError(f"'{field.name}' is NOT NULL and missing")
    return pa.StructArray.from_arrays(parts, fields=list(type_), mask=missing)


def make_list(values: pa.Array, lengths: pa.Array, missing: pa.Array, type_: pa.DataType) -> pa.Array:
    """Cut values into lists of these lengths."""
    lists = pa.ListArray.from_arrays(_offsets(lengths), values, mask=missing)
    return lists if lists.type == type_ else lists.cast(type_)


def make_map(keys: pa.Array, items: pa.Array, lengths: pa.Array, missing: pa.Array, type_: pa.DataType) -> pa.Array:
    """Cut keys and items into maps of these lengths.

    Raises:
        ValueError: a key is NULL.
    """
    if keys.null_count:
        raise ValueError("a map has a NULL key")
    maps = pa.MapArray.from_arrays(_offsets(lengths), keys, items, mask=missing)
    return maps if maps.type == type_ else maps.cast(type_)


@functools.lru_cache(maxsize=256)
def has_required(type_: pa.DataType) -> bool:
    """Whether some struct in it has a field that is NOT NULL."""
    if pa.types.is_struct(type_):
        return any(not field.nullable or has_required(field.type) for field in type_)
    if pa.types.is_map(type_):
        return has_required(type_.key_type) or has_required(type_.item_type)
    return is_list(type_) and has_required(type_.value_type)


def _offsets(lengths: pa.Array) -> pa.Array:
    ends = pa.compute.cumulative_sum(lengths.cast(pa.int64()))
    return pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())

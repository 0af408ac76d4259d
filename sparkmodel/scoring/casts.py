# SPDX-License-Identifier: Apache-2.0
"""Casts between Arrow types that lose nothing: one table of what becomes of what, the same at every depth.

Values of a model reach this table whatever container they came in, so there is one policy of loss: a pair of types
that is not in the table is refused, and so is a value that the function of its pair cannot keep.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list
from sparkmodel.scoring.clocks import between_clocks, date_to_timestamp, timestamp_to_date
from sparkmodel.scoring.names import find_fields
from sparkmodel.scoring.nesting import has_required, make_list, make_map, make_struct

Rule = Callable[[pa.Array, pa.DataType, str | None], pa.Array]

_FAMILIES: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
    ("boolean", pa.types.is_boolean),
    ("integer", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("decimal", pa.types.is_decimal),
    ("text", lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_)),
    ("bytes", lambda type_: pa.types.is_binary(type_) or pa.types.is_large_binary(type_)),
    ("bytes", pa.types.is_fixed_size_binary),
    ("date", pa.types.is_date),
    ("timestamp", pa.types.is_timestamp),
    ("time", pa.types.is_time),
    ("duration", pa.types.is_duration),
    ("list", is_list),
    ("struct", pa.types.is_struct),
    ("map", pa.types.is_map),
)


def cast(array: pa.Array, type_: pa.DataType, time_zone: str | None = None) -> pa.Array:
    """The array as `type_`.

    Args:
        array: What a model gave, or a column for it.
        type_: The Arrow type that is wanted.
        time_zone: Whose wall clock a date or a timestamp without a zone shows; None takes the zone of the instants
            themselves, and UTC where there is none.

    Raises:
        ValueError: a value does not fit (Arrow's own errors are ValueErrors or TypeErrors too).
    """
    array = _decoded(array)
    if array.type == type_ and not has_required(type_):
        return array
    given, wanted = _family(array.type), _family(type_)
    if given == "float" and wanted != "float":
        array = _without_nan(array)
    if array.null_count == len(array):  # nothing is there that could be lost
        return pa.nulls(len(array), type_)
    if wanted == "struct" and given != "struct" and type_.num_fields == 1:  # one column for the one field
        return make_struct([cast(array, type_.field(0).type, time_zone)], type_, array.is_null())
    rule = _RULES.get((given, wanted))
    if rule is None:
        raise ValueError(f"it is {'text' if given == 'text' else array.type}")
    return rule(array, type_, time_zone)


def _decoded(array: pa.Array) -> pa.Array:
    """One array, without the encodings that Arrow has for saving room."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # a struct of several chunks
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_run_end_encoded(array.type):
        array = pa.compute.run_end_decode(array)
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    if pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    return array


def _family(type_: pa.DataType) -> str:
    return next((name for name, holds in _FAMILIES if holds(type_)), str(type_))


def _without_nan(array: pa.Array) -> pa.Array:
    """NaN is a number of floats only; for other types it is how pandas writes a gap."""
    is_nan = pa.compute.is_nan(array)
    if not pa.compute.any(is_nan).as_py():
        return array
    return pa.compute.replace_with_mask(array, pa.compute.fill_null(is_nan, False), pa.scalar(None, array.type))


def _plain(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """Arrow's own cast, which checks ranges and fractions."""
    return array.cast(type_)


def _truth(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    if pa.types.is_float16(array.type):  # Arrow can do little with it
        array = array.cast(pa.float32())
    values = array.drop_null().unique().to_pylist()
    if not set(values) <= {0, 1}:  # Arrow takes any number but 0 for true
        raise ValueError(f"{values[:5]} are not all 0 or 1")
    return array.cast(pa.int8()).cast(type_)


def _integer_to_float(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    try:
        return array.cast(type_)
    except pa.ArrowInvalid:  # it refuses all that are large, not only those that a float cannot hold
        return _exact(array, type_)


def _exact(array: pa.Array, type_: pa.DataType) -> pa.Array:
    result = array.cast(type_, safe=False)
    for given, made in zip(array.to_pylist(), result.to_pylist(), strict=True):
        if given is not None and int(made) != given:
            raise ValueError(f"{type_} has no number {given}")
    return result


def _float_to_float(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """The nearest float: that is how floats are, but a number must not become infinite."""
    result = array.cast(type_)
    lost = pa.compute.and_(pa.compute.is_inf(result), pa.compute.is_finite(array))
    if pa.compute.any(lost).as_py():
        raise ValueError(f"a value is out of range for {type_}")
    return result


def _decimal_to_float(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    if array.type.scale <= 0:
        return _exact(array, type_)
    return _float_to_float(array.cast(pa.float64()), type_, time_zone)


def _to_decimal(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """By way of a decimal with room for every value, since Arrow asks for it; floats as they are written."""
    if pa.types.is_float16(array.type):
        array = pa.array([None if value is None else str(np.float16(value)) for value in array.to_pylist()])
    elif pa.types.is_floating(array.type):  # 0.1 is 0.1 and no longer number; Arrow's cast would round
        array = array.cast(pa.string())
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    return array.cast(pa.decimal256(76, type_.scale)).cast(type_)


def _decimal_to_boolean(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    return _truth(array.cast(pa.int64()), type_, time_zone)


def _struct(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    names = [field.name for field in array.type]
    places = find_fields([field.name for field in type_], names)
    if None in places:  # Arrow would make NULLs of them
        missing = [field.name for field, place in zip(type_, places, strict=True) if place is None]
        raise ValueError(f"fields {names} have no {missing}")
    given = array.flatten()
    parts = [cast(given[place], field.type, time_zone) for place, field in zip(places, type_, strict=True)]
    return make_struct(parts, type_, array.is_null())


def _list(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0)
    values = cast(array.flatten(), type_.value_type, time_zone)  # flatten leaves out what NULLs and slices hide
    return make_list(values, lengths, array.is_null(), type_)


def _map(array: pa.Array, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    entries = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    keys, items = entries.flatten().flatten()
    lengths = pa.compute.fill_null(pa.compute.list_value_length(entries), 0)
    keys, items = cast(keys, type_.key_type, time_zone), cast(items, type_.item_type, time_zone)
    return make_map(keys, items, lengths, array.is_null(), type_)


# what is given, what is wanted; what Arrow would guess is left out: texts and bytes as numbers, numbers as times
_RULES: dict[tuple[str, str], Rule] = {
    ("boolean", "boolean"): _plain,
    ("boolean", "integer"): _plain,
    ("boolean", "float"): _plain,
    ("boolean", "decimal"): _to_decimal,
    ("boolean", "text"): _plain,
    ("integer", "boolean"): _truth,
    ("integer", "integer"): _plain,
    ("integer", "float"): _integer_to_float,
    ("integer", "decimal"): _to_decimal,
    ("integer", "text"): _plain,
    ("float", "boolean"): _truth,
    ("float", "integer"): _plain,
    ("float", "float"): _float_to_float,
    ("float", "decimal"): _to_decimal,
    ("float", "text"): _plain,
    ("decimal", "boolean"): _decimal_to_boolean,
    ("decimal", "integer"): _plain,
    ("decimal", "float"): _decimal_to_float,
    ("decimal", "decimal"): _plain,
    ("decimal", "text"): _plain,
    ("text", "text"): _plain,
    ("text", "bytes"): _plain,
    ("bytes", "bytes"): _plain,
    ("bytes", "text"): _plain,
    ("date", "date"): _plain,
    ("date", "timestamp"): date_to_timestamp,
    ("date", "text"): _plain,
    ("timestamp", "timestamp"): between_clocks,
    ("timestamp", "date"): timestamp_to_date,
    ("timestamp", "text"): _plain,
    ("time", "time"): _plain,
    ("time", "text"): _plain,
    ("duration", "duration"): _plain,
    ("list", "list"): _list,
    ("struct", "struct"): _struct,
    ("map", "map"): _map,
}
